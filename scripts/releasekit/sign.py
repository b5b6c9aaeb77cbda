"""minisign over the list of checksums."""

import subprocess
import tempfile
from pathlib import Path

from . import Problem


class Signer:
    """A secret key, tried when it is named: a release is not built for minutes to find that it is the wrong file."""

    def __init__(self, minisign, key, password_file=None):
        self.minisign, self.key = minisign, key
        self.password = password_file.read_text().partition("\n")[0] + "\n" if password_file else None
        with tempfile.TemporaryDirectory() as scratch:
            public = Path(scratch, "public")
            self._run("-R", "-s", key, "-p", public)
            self.public = public.read_text().splitlines()[1]

    def sign(self, path, comment):
        """Writes PATH.minisig, then verifies it. The comment is all that is said beside the checksums: no time."""
        self._run("-S", "-s", self.key, "-t", comment, "-c", "signature of awg-install's release", "-m", path)
        # minisign leaves the mode to the umask; everybody may read a signature.
        path.with_name(f"{path.name}.minisig").chmod(0o644)
        self._run("-V", "-P", self.public, "-m", path)
        return f"minisign -V -P {self.public} -m {path.name}"

    def _run(self, *arguments):
        try:
            done = subprocess.run([str(word) for word in (self.minisign, *arguments)], input=self.password or "",
                                  capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise Problem(f"{self.minisign} is not there: install the package minisign") from error
        if done.returncode != 0:
            hint = "" if self.password else "; a key with a password needs --password-file"
            raise Problem(f"minisign with {self.key}: {done.stderr.strip() or done.stdout.strip()}{hint}")
        return done.stdout
