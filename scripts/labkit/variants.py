"""Images that differ from another one only in what they say of themselves."""

import gzip
import hashlib
import io
import json
import tarfile

ARM64 = "lab/wg-easy-arm64:15"
NEWER = "lab/wg-easy-16:edge"


def made(layout, directory):
    """Makes the variants of an image (OCI layout); reference -> OCI layout directory."""
    labels = {"org.opencontainers.image.title": "wg-easy", "org.opencontainers.image.version": "16.0.1"}
    return {
        ARM64: _variant(layout, directory / "arm64", {"architecture": "arm64"}, {}),
        NEWER: _variant(layout, directory / "newer", {}, {"Labels": labels}),
    }


def enlarged(layout, home, content):
    """The image with one more layer, which holds a file of this content."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("usr/share/large")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return _variant(layout, home, {}, {}, [plain.getvalue()])


def _variant(layout, home, platform, config, more=()):
    blobs = home / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    top = _read(layout / "index.json")["manifests"][0]
    index = _read(_blob(layout, top))
    manifest = _read(_blob(layout, index["manifests"][0]))
    image = _read(_blob(layout, manifest["config"]))
    image.update(platform)
    image["config"].update(config)
    for layer in manifest["layers"]:
        (blobs / layer["digest"].removeprefix("sha256:")).hardlink_to(_blob(layout, layer))
    for plain in more:
        packed = gzip.compress(plain, 1, mtime=0)
        digest = hashlib.sha256(packed).hexdigest()
        (blobs / digest).write_bytes(packed)
        kind = manifest["layers"][0]["mediaType"]
        manifest["layers"].append({"mediaType": kind, "digest": f"sha256:{digest}", "size": len(packed)})
        image["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(plain).hexdigest()}")
        image["history"].append(image["history"][-1])
    manifest["config"].update(_write(blobs, image))
    entry = index["manifests"][0]
    entry.update(_write(blobs, manifest))
    entry["platform"].update(platform)
    top.update(_write(blobs, index))
    (home / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return home


def _blob(layout, descriptor):
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")


def _read(path):
    return json.loads(path.read_text())


def _write(blobs, value):
    content = json.dumps(value, separators=(",", ":")).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}
