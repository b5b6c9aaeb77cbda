"""What a release says of itself: the line that fetches it, Alpine's recipe, the list of its parts."""

import json
import re
import shlex

from . import Problem

_PLACE = re.compile(r"@([A-Z0-9]+)@")
# What stands in a shell's double quotes, in the recipe, or in a line to be copied.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/@%+=,-]+")


def address(url, version):
    """The directory that the files will be fetched from: an address of this version and no other."""
    if not _ADDRESS.fullmatch(url):
        raise Problem(f"--url: {url!r} is no plain http or https address")
    if version not in url:
        raise Problem(f"--url: {url} does not name the version {version}; what is there would change under its checksum")
    return url.rstrip("/")


def fetch_line(url, name, sha256):
    """One line for a fresh Alpine host's BusyBox: fetches, verifies, runs. Nothing runs that has another checksum."""
    file = shlex.quote(name)
    return (f"wget -O {file} {shlex.quote(f'{url}/{name}')} && echo '{sha256}  {name}' | sha256sum -c && "
            f"chmod +x {file} && ./{file}")


def filled(template, values):
    """The template with every @NAME@ replaced. One that is unknown, or a value that is not used, is an error."""
    wanted = set(_PLACE.findall(template))
    if wanted != set(values):
        raise Problem(f"the recipe and what fills it differ: {', '.join(sorted(wanted ^ set(values)))}")
    for name, value in values.items():
        # The recipe is a shell script; these end a string or begin something else in it.
        if not value or re.search(r'["`$\\\n]', value):
            raise Problem(f"{name}: {value!r} cannot stand in the recipe")
    return _PLACE.sub(lambda place: values[place[1]], template)


def parts(made, source):
    """The list of parts as cargo-cyclonedx made it, without the place where that was."""
    text = made.replace(f"path+file://{source}", "path+file:///awg-install")
    if str(source) in text:
        raise Problem(f"the list of parts names {source}")
    listed = json.loads(text)
    if "serialNumber" in listed:
        raise Problem("the list of parts has a random serial number: SOURCE_DATE_EPOCH was not heeded")
    if listed.get("bomFormat") != "CycloneDX" or not listed.get("components"):
        raise Problem("the list of parts is no CycloneDX document, or empty")
    return text
