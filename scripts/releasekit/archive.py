"""Archives and checksums that depend on nothing but what goes in."""

import gzip
import hashlib
import io
import tarfile


def tar_gz(top, members, when):
    """A tar.gz of `members` (name -> (content, mode)) below the directory `top`, all of them root's and from `when`."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in sorted(members.items()):
            header = tarfile.TarInfo(f"{top}/{name}")
            header.size, header.mode, header.mtime = len(content), mode, when
            header.uname = header.gname = "root"
            archive.addfile(header, io.BytesIO(content))
    return compressed(plain.getvalue())


def compressed(content):
    """gzip without a name and without a time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def sums(directory, names):
    """What sha256sum prints for these files."""
    return "".join(f"{sha256(directory / name)}  {name}\n" for name in sorted(names))


def sha256(path):
    return _digest(path, "sha256")


def sha512(path):
    return _digest(path, "sha512")


def _digest(path, algorithm):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
