import json
import re
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

from support import REPOSITORY

from labkit import box, network, sshd
from labkit.machine import REGISTRY_ADDRESS, REPOSITORY_ADDRESS, Result

PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class _Guest:
    """Keeps what it is given in place of a machine."""

    def __init__(self):
        self.files, self.scripts = {}, []

    def put(self, path, content, mode=0o644):
        self.files[path] = content

    def get(self, path):
        return self.files[path].encode()

    def run(self, script, limit=60):
        self.scripts.append(script)
        return Result(0, "", "")


class Packed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        image = Path(scratch.name) / "image"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "2G"], check=True)
        cls.image = image.read_bytes()
        cls.path = Path(scratch.name) / "made.box"
        box.pack(image, cls.path)
        with tarfile.open(cls.path, "r:gz") as archive:
            cls.members = {member.name: archive.extractfile(member).read() for member in archive}

    def test_it_holds_what_vagrant_libvirt_reads(self):
        self.assertEqual(set(self.members), {"metadata.json", "Vagrantfile", "box.img"})
        self.assertEqual(self.members["box.img"], self.image)

    def test_metadata_tells_provider_format_and_the_size_of_the_disk(self):
        self.assertEqual(json.loads(self.members["metadata.json"]),
                         {"provider": "libvirt", "format": "qcow2", "virtual_size": 2})

    def test_its_vagrantfile_is_on_the_network_of_the_services(self):
        text = self.members["Vagrantfile"].decode()
        self.assertIn(f'management_network_name = "{network.NAME}"', text)
        self.assertIn(f'management_network_address = "{network.ADDRESS}"', text)

    def test_no_private_key_is_in_it(self):
        self.assertRegex(b"-----BEGIN OPENSSH PRIVATE KEY-----", PRIVATE)
        for name, content in self.members.items():
            self.assertNotRegex(content, PRIVATE, name)


class Guest(unittest.TestCase):
    def test_the_key_is_the_one_that_everybody_has(self):
        # The fingerprint of Vagrant's insecure key.
        done = subprocess.run(["ssh-keygen", "-l", "-E", "md5", "-f", "-"], input=box.KEY, text=True, capture_output=True)
        self.assertIn("MD5:dd:3b:b8:2e:85:04:06:e9:ab:ff:a8:0a:c0:04:6e:d6", done.stdout)

    def test_no_host_key_is_put_into_it(self):
        guest = _Guest()
        with patch.object(sshd, "programs", return_value=b""):
            box._furnish(guest, Path("/nowhere"))
        self.assertIn("/etc/ssh/sshd_config", guest.files)
        self.assertNotIn(sshd.HOST_KEY, guest.files)
        self.assertEqual([script for script in guest.scripts if "rc-service sshd start" in script], [])

    def test_the_service_makes_a_host_key_once(self):
        with tempfile.TemporaryDirectory() as root:
            key = Path(root) / "key"
            function = box._SERVICE_KEY.replace(sshd.HOST_KEY, str(key)).replace("/run/sshd", f"{root}/run")
            seen = []
            for _ in range(2):
                subprocess.run(["sh", "-ec", f"{function}\nstart_pre"], check=True)
                seen.append(key.read_bytes())
            self.assertRegex(seen[0], PRIVATE)
            self.assertEqual(seen[0], seen[1])


class Network(unittest.TestCase):
    def test_the_host_has_the_addresses_that_guests_know_and_leases_none_of_them(self):
        tree = ElementTree.fromstring(network._XML)
        held = [entry.get("address") for entry in tree.findall("ip")]
        self.assertEqual(held, ["10.0.2.1", REGISTRY_ADDRESS, REPOSITORY_ADDRESS])
        leases = tree.find("ip/dhcp/range")
        last = [int(leases.get(end).rsplit(".", 1)[1]) for end in ("start", "end")]
        for address in held:
            number = int(address.rsplit(".", 1)[1])
            self.assertFalse(last[0] <= number <= last[1], address)

    def test_nothing_leads_out_of_it(self):
        self.assertIsNone(ElementTree.fromstring(network._XML).find("forward"))

    def test_guests_look_for_the_servers_there(self):
        hosts = (REPOSITORY / "scripts/labkit/guest/base/etc/hosts").read_text()
        for address in (REGISTRY_ADDRESS, REPOSITORY_ADDRESS):
            self.assertRegex(hosts, rf"(?m)^{re.escape(address)}\s")


if __name__ == "__main__":
    unittest.main()
