import base64
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from support import lab_cache

from labkit import debs, images, material, standin

MAX_COMPRESSED = 16 << 20
PASSWORD = "correct:horse'battery"
START = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PORT": "51821", "EXPERIMENTAL_AWG": "true",
    "OVERRIDE_AUTO_AWG": "awg", "DISABLE_IPV6": "true", "DISABLE_VERSION_CHECK": "true",
}
INITIAL = {
    "INIT_ENABLED": "true", "INIT_USERNAME": "admin", "INIT_PASSWORD": PASSWORD,
    "INIT_HOST": "vpn.example.org", "INIT_PORT": "51999", "INIT_DNS": "9.9.9.9, 1.1.1.1",
    "INIT_IPV4_CIDR": "10.9.0.0/24", "INIT_IPV6_CIDR": "fd00:9::/112",
}


def manifest_of(layout):
    def blob(descriptor):
        path = layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")
        return json.loads(path.read_text())

    top = json.loads((layout / "index.json").read_text())["manifests"][0]
    manifest = blob(blob(top)["manifests"][0])
    return manifest, blob(manifest["config"])


def unpack(layout, dest):
    for layer in manifest_of(layout)[0]["layers"]:
        path = layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
        with tarfile.open(path) as archive:
            # Python before 3.11.4 knows no filters and trusts the archive anyway.
            archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            archive.extractall(dest)


class Built(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("changing the root directory needs root")
        try:
            cls.images = images.build(material.find(lab_cache()), lab_cache())
        except (debs.Unavailable, material.Unavailable) as error:
            raise unittest.SkipTest(f"what the images need cannot be had: {error}") from None
        cls.home = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.home)
        cls.upstream, cls.module, cls.older = (cls.home / name for name in ("upstream", "module", "older"))
        unpack(cls.images[images.UPSTREAM], cls.upstream)
        unpack(cls.images[images.OLDER], cls.older)
        unpack(cls.images[images.WITH_MODULE[0]], cls.module)

    def inside(self, root, *command, **environment):
        return subprocess.run(
            ["chroot", root, *command], env={**START, **environment}, text=True,
            capture_output=True, timeout=30)

    def function(self, call, **environment):
        """One function of the server, called by itself."""
        done = self.inside(self.upstream, "/bin/bash", "-c", f". /app/server; {call}", **environment)
        return done.stdout.strip()


class Content(Built):
    def test_small_enough_for_an_emulated_machine(self):
        for layout in self.images.values():
            self.assertLess(images.size(layout), MAX_COMPRESSED)

    def test_every_program_finds_its_libraries(self):
        programs = [path for path in self.upstream.rglob("*")
                    if path.is_file() and not path.is_symlink()
                    and path.read_bytes()[:4] == b"\x7fELF"]
        self.assertGreater(len(programs), 30)
        for path in programs:
            inner = "/" + str(path.relative_to(self.upstream))
            said = self.inside(self.upstream, "/lib64/ld-linux-x86-64.so.2", "--list", inner)
            self.assertNotIn("not found", said.stdout + said.stderr, inner)

    def test_upstream_has_userspace_and_no_module(self):
        for name in ("awg", "awg-quick", "wg", "wg-quick", "amneziawg-go", "modinfo", "ip"):
            self.assertIsNotNone(shutil.which(name, path=self.path_in(self.upstream)), name)
        self.assertEqual(list((self.upstream / "lib/modules").iterdir()), [])

    def test_what_a_proof_of_the_module_calls_is_there(self):
        for name in ("sh", "ip", "ping", "sleep", "awg", "grep", "cat", "kill", "sed"):
            for root in (self.upstream, self.module, self.older):
                self.assertIsNotNone(shutil.which(name, path=self.path_in(root)), name)

    def test_older_tools_ask_for_another_family_and_the_same_sockets(self):
        tools, older = ((root / "usr/libexec/awg").read_bytes() for root in (self.upstream, self.older))
        self.assertNotEqual(older, tools)
        self.assertNotIn(b"\0amneziawg\0", older)
        self.assertIn(b"/var/run/amneziawg/%s.sock", older)
        with self.assertRaisesRegex(standin.Failed, "0 times"):
            images.other_generation(older)

    def test_the_broken_one_ends_at_once_and_says_why(self):
        broken = self.home / "broken"
        unpack(self.images[images.BROKEN], broken)
        said = self.inside(broken, "/app/server")
        self.assertEqual(said.returncode, 1)
        self.assertIn("SQLITE_CORRUPT: database disk image is malformed", said.stderr)

    def test_the_other_has_a_module_and_no_userspace(self):
        self.assertTrue((self.module / "lib/modules/amneziawg.ko").is_file())
        version = (self.module / "etc/amneziawg-kernel-version.txt").read_text()
        self.assertEqual(version, "6.12.50\n")
        for name in ("amneziawg-go", "wireguard-go"):
            self.assertIsNone(shutil.which(name, path=self.path_in(self.module)), name)

    def path_in(self, root):
        return ":".join(str(root / part) for part in ("usr/sbin", "usr/bin", "sbin", "bin"))

    def test_legacy_iptables_is_the_chosen_one(self):
        for program in ("iptables", "ip6tables"):
            self.assertIn("legacy", self.inside(self.upstream, program, "--version").stdout)
            nft = self.inside(self.upstream, f"{program}-nft", "--version").stdout
            self.assertIn("nf_tables", nft)

    def test_health_check_asks_wg_as_the_real_one_does(self):
        _, config = manifest_of(self.images[images.UPSTREAM])
        self.assertIn("/usr/bin/wg show", config["config"]["Healthcheck"]["Test"][1])


class Decisions(Built):
    def test_choice_of_the_programs(self):
        cases = [
            ({"EXPERIMENTAL_AWG": "", "OVERRIDE_AUTO_AWG": "awg"}, "wg"),
            ({"EXPERIMENTAL_AWG": "TRUE", "OVERRIDE_AUTO_AWG": "awg"}, "wg"),
            ({"OVERRIDE_AUTO_AWG": "awg"}, "awg"),
            ({"OVERRIDE_AUTO_AWG": "AWG"}, "awg"),
            ({"OVERRIDE_AUTO_AWG": "wg"}, "wg"),
            ({"OVERRIDE_AUTO_AWG": ""}, "wg"),
            ({"OVERRIDE_AUTO_AWG": "kernel"}, "wg"),
        ]
        for environment, chosen in cases:
            self.assertEqual(self.function("detect_executable", **environment), chosen, environment)

    def test_an_indexed_module_is_found_and_a_bare_one_is_not(self):
        release = os.uname().release
        modules = self.upstream / "lib/modules" / release
        self.addCleanup(shutil.rmtree, modules)
        modules.mkdir()
        shutil.copy(self.module / "lib/modules/amneziawg.ko", modules)
        self.assertEqual(self.function("detect_executable", OVERRIDE_AUTO_AWG=""), "wg")
        (modules / "modules.order").touch()
        (modules / "modules.builtin").touch()
        indexed = self.inside(self.upstream, "/sbin/depmod", release)
        self.assertEqual(indexed.returncode, 0, indexed.stderr)
        self.assertEqual(self.function("detect_executable", OVERRIDE_AUTO_AWG=""), "awg")

    def test_passwords_of_v14_end_it(self):
        for name in ("PASSWORD", "PASSWORD_HASH"):
            done = self.inside(self.upstream, "/app/server", **{name: "x"})
            self.assertEqual(done.returncode, 1)
            self.assertIn("invalid Configuration", done.stderr)

    def test_first_addresses(self):
        for cidr, first in (("10.8.0.0/24", "10.8.0.1/24"), ("172.16.9.7/12", "172.16.0.1/12")):
            self.assertEqual(self.function(f"first_ipv4 {cidr}"), first)
        for cidr, first in (("fd00:9::/112", "fd00:9::1/112"),
                            ("fdcc:ad94:bacf:61a4::cafe:0/112", "fdcc:ad94:bacf:61a4::cafe:1/112")):
            self.assertEqual(self.function(f"first_ipv6 {cidr}"), first)


class Started(Built):
    """The whole server in namespaces of its own, with userspace AmneziaWG."""

    def setUp(self):
        ready = subprocess.run(
            ["unshare", "--net", "chroot", self.upstream, "iptables", "-t", "nat", "-L", "-n"],
            capture_output=True, text=True)
        if ready.returncode != 0:
            self.skipTest(f"no legacy iptables here: {ready.stderr.strip()}")
        if not Path("/dev/net/tun").exists():
            self.skipTest("no /dev/net/tun here")
        self.data = self.upstream / "etc/wireguard"
        self.server = None
        self.addCleanup(self.clear)

    def clear(self):
        self.stop()
        for path in self.data.iterdir():
            path.unlink()

    def start(self, devices=True, **environment):
        """Runs the server as the first process of new namespaces."""
        bare = "mount -t tmpfs none dev && mknod dev/null c 1 3 && mknod dev/urandom c 1 9 && "
        bind = "mount --rbind /dev dev && " if devices else bare
        script = (f"cd {self.upstream} && {bind}mount -t proc proc proc && mount -t sysfs sys sys && "
                  "ip link set lo up && exec chroot . /usr/bin/dumb-init /app/server")
        self.log = self.home / "log"
        with open(self.log, "w") as log:
            self.server = subprocess.Popen(
                ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
                env={**START, **environment}, stdout=log, stderr=log)

    def stop(self):
        if self.server:
            self.signal("-TERM")
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
            self.server = None

    def signal(self, name):
        child = self.child()
        if child:
            subprocess.run(["kill", name, child], stderr=subprocess.DEVNULL)

    def child(self):
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        return children.read_text().split()[0] if children.exists() and children.read_text() else None

    def wait_for(self, text, limit=20):
        end = time.monotonic() + limit
        while text not in self.log.read_text():
            if time.monotonic() > end or self.server.poll() is not None:
                self.fail(f"no {text!r} in:\n{self.log.read_text()}")
            time.sleep(0.05)

    def within(self, *command):
        return subprocess.run(
            ["nsenter", "-t", self.child(), "-n", "-m", "-p", "-r", *command],
            capture_output=True, text=True, timeout=20,
            env={"PATH": START["PATH"]})

    def get(self, path, credentials=None, method="GET", body=""):
        """Status, head and body, by BusyBox nc from inside the namespaces."""
        lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}"]
        if credentials:
            lines.append("Authorization: Basic " + base64.b64encode(credentials.encode()).decode())
        done = subprocess.run(
            ["nsenter", "-t", self.child(), "-n", "-m", "-r",
             "/usr/bin/nc", "-w", "5", "127.0.0.1", "51821"],
            input="\r\n".join(lines) + "\r\n\r\n" + body, capture_output=True, text=True, timeout=20,
            env={"PATH": START["PATH"]})
        head, _, body = done.stdout.partition("\n\n")  # universal newlines
        return int(head.split()[1]), head, body

    def test_userspace_from_first_start_to_second(self):
        self.start(**INITIAL)
        self.wait_for("started successfully")
        log = self.log.read_text()
        self.assertIn("CMD $ awg-quick up wg0", log)
        self.assertNotIn(PASSWORD, log)
        self.assertIn(" tun ", self.within("ip", "-d", "link", "show", "wg0").stdout)
        self.assertIn("listening port: 51999", self.within("awg", "show", "wg0").stdout)
        self.assertEqual(self.within("wg", "show").stdout, "")  # why the health check fails
        self.assertIn("MASQUERADE", self.within("iptables", "-t", "nat", "-S").stdout)
        self.assertEqual(self.get("/")[0], 302)
        self.assertIn("Location: /login", self.get("/")[1])
        self.assertEqual(self.get("/login")[0], 200)
        self.assertIn('"isAwg":true', self.get("/api/information")[2])
        self.assertEqual(self.get("/api/client")[0], 401)
        self.assertEqual(self.get("/api/client", "admin:wrong password")[0], 401)
        self.assertEqual(self.get("/api/client", f"admin:{PASSWORD}")[0], 200)
        created = self.get("/api/client", f"admin:{PASSWORD}", "POST", '{"name": "O\'Neil"}')
        self.assertEqual(created[0], 200, created[2])
        self.assertIn("allowed ips: 10.9.0.2/32", self.within("awg", "show", "wg0").stdout)
        clients = json.loads(self.get("/api/client", f"admin:{PASSWORD}")[2])
        self.assertEqual([client["name"] for client in clients], ["O'Neil"])
        self.within("ip", "link", "del", "wg0")
        self.assertEqual(self.get("/api/client", f"admin:{PASSWORD}")[0], 500)
        self.assertTrue((self.data / "wg-easy.db-wal").exists())
        self.stop()
        for path in self.data.glob("wg-easy.db*"):
            self.assertNotIn(PASSWORD.encode(), path.read_bytes())
        with sqlite3.connect(self.data / "wg-easy.db") as database:
            dns, host = database.execute("SELECT default_dns, host FROM user_configs_table").fetchone()
        self.assertEqual((json.loads(dns), host), (["9.9.9.9", "1.1.1.1"], "vpn.example.org"))

        self.start(**{**INITIAL, "INIT_PORT": "52000", "INIT_IPV4_CIDR": "10.7.0.0/24"})
        self.wait_for("started successfully")
        conf = (self.data / "wg0.conf").read_text()
        self.assertIn("ListenPort = 51999", conf)
        self.assertIn("Address = 10.9.0.1/24", conf)
        self.assertIn("# Client: O'Neil (1)", conf)
        self.assertIn("allowed ips: 10.9.0.2/32", self.within("awg", "show", "wg0").stdout)

    def test_older_tools_run_with_userspace(self):
        self.upstream = self.older
        self.data = self.older / "etc/wireguard"
        self.start(**INITIAL)
        self.wait_for("started successfully")
        self.assertIn("listening port: 51999", self.within("awg", "show", "wg0").stdout)

    def test_without_an_administrator_it_asks_for_setup(self):
        self.start()
        self.wait_for("started successfully")
        self.assertIn("Location: /setup/1", self.get("/")[1])
        self.assertEqual(self.get("/setup/1")[0], 200)

    def test_three_of_the_four_make_no_administrator(self):
        self.start(**{**INITIAL, "INIT_HOST": ""})
        self.wait_for("started successfully")
        self.assertIn("Location: /setup/1", self.get("/")[1])

    def test_an_interface_that_cannot_come_up_ends_it(self):
        self.start(devices=False, **INITIAL)
        self.assertEqual(self.server.wait(20), 1)
        log = self.log.read_text()
        self.assertIn("Error: Command failed: awg-quick up wg0", log)
        self.assertIn("/dev/net/tun does not exist", log)

    def test_a_failing_rule_ends_it(self):
        rule = self.upstream / "usr/sbin/xtables-legacy-multi"
        hidden = rule.with_suffix(".hidden")
        rule.rename(hidden)
        self.addCleanup(hidden.rename, rule)
        self.start(**INITIAL)
        self.assertEqual(self.server.wait(20), 1)
        self.assertIn("iptables", self.log.read_text().split("Command failed")[1])


if __name__ == "__main__":
    unittest.main()
