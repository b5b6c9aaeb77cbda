"""What `lab idle` makes of bench-idle's words, of a receipt, and of its figures."""

import subprocess
import unittest
from pathlib import Path

from support import REPOSITORY  # noqa: F401  (finds labkit)

from labkit import idle, same_state

SAID = """awg-install --unattended: 1 runs
wall  median 27.3 ms, 27.3 to 27.3 ms
cpu   median 20.5 ms, with all that was started
exit  0
processes started: 2
programs started: 2
  1 /sbin/ip6tables-save
  1 /sbin/iptables-save
opened for writing: 3
  2 /var/log/awg-install.log
  1 /etc/a name with spaces
made, renamed or removed: 1
  1 /run/x
connections: 3
  2 AF_UNIX /var/run/docker.sock
  1 AF_INET
"""


class Figures(unittest.TestCase):
    def test_what_bench_idle_prints_is_understood(self):
        seen = idle.Figures.read(SAID)
        self.assertEqual((seen.wall, seen.cpu, seen.processes), (0.0273, 0.0205, 2))
        self.assertEqual(seen.lists["programs started"], ["/sbin/ip6tables-save", "/sbin/iptables-save"])
        self.assertEqual(seen.written, ["/etc/a name with spaces", "/run/x"])
        self.assertEqual(seen.connections, ["AF_INET"])

    def test_the_script_itself(self):
        ran = subprocess.run([REPOSITORY / "scripts/bench-idle", "--runs", "2", "--binary", "sh", "--", "-c", "sleep 0.05"],
                             text=True, capture_output=True, check=True)
        seen = idle.Figures.read(ran.stdout)
        self.assertGreaterEqual(seen.wall, 0.05)
        self.assertLess(seen.cpu, seen.wall)
        if seen.processes is not None:
            self.assertEqual((seen.written, seen.connections), ([], []))

    def test_without_strace_there_are_no_counts(self):
        self.assertIsNone(idle.Figures.read(SAID.partition("exit")[0]).processes)


class Tables(unittest.TestCase):
    def test_a_goal_is_met_or_missed(self):
        rows, missed = idle.compared(0.5, 2.0, 50.0, 30)
        self.assertEqual(rows[2:], ["| on the host | 500 ms | 50.0 s | 100 | 100 | met |",
                                    "| both over ssh | 2.00 s | 50.0 s | 25 | | for scale |"])
        self.assertFalse(missed)
        self.assertTrue(idle.compared(0.51, 2.0, 50.0, 30)[1])

    def test_the_emulation_is_taken_out_of_the_wall_time(self):
        traced = idle.Figures.read(SAID.replace("  1 /etc/a name with spaces\n", "").replace("  1 /run/x\n", "")
                                   .replace("  1 AF_INET\n", ""))
        rows, missed = idle.by_itself(0.3, 0.2, 0.002, 0.02, traced, [])
        self.assertIn("| wall, divided by 10.0 | 30 ms | 50 ms | met |", rows)
        self.assertFalse(missed, rows)
        for worse in ({"wall": 0.6}, {"changes": ["new      /x"]}, {"traced": idle.Figures.read(SAID)}):
            given = {"wall": 0.3, "cpu": 0.2, "native": 0.002, "emulated": 0.02, "traced": traced, "changes": [], **worse}
            self.assertTrue(idle.by_itself(**given)[1], worse)


class SameState(unittest.TestCase):
    RECEIPT = {"steps": [
        {"id": "write:/etc/a", "prior": [{"change": "file", "path": "/etc/a"}]},
        {"id": "write:/etc/a"}, {"id": "install-self"}, {"id": "module:6.1-0-lts"},
        {"id": "repository:http://mirror/v3.22/community"}, {"id": "packages:docker,kmod"}, {"id": "kernel:6.1-0-lts"},
        {"id": "hold:linux-lts"}, {"id": "enable:docker:default"}, {"id": "enable:gone:default"}, {"id": "start:docker"},
        {"id": "load:tun,wg"}, {"id": "sysctl", "prior": [{"change": "sysctl", "name": "net.ipv4.ip_forward", "was": "0"}]},
        {"id": "firewall"}, {"id": "default:6.1-0-lts"}, {"id": "pull:image"}, {"id": "compose"}, {"id": "finish"}]}

    def test_each_file_once(self):
        self.assertEqual(same_state.files(self.RECEIPT),
                         ["/etc/a", "/usr/local/sbin/awg-install", "/lib/modules/6.1-0-lts/extra/amneziawg.ko"])
        task = same_state.copy("a", Path("/kept"), "/etc/a", 0o100600)
        self.assertEqual(task["ansible.builtin.copy"], {"src": "/kept", "dest": "/etc/a", "mode": "0600"})

    def test_what_is_no_file_is_asked_for(self):
        tasks = same_state.asks(self.RECEIPT, ["docker"])
        asked = [" ".join(task["ansible.builtin.command"]["argv"]) for task in tasks if "ansible.builtin.command" in task]
        self.assertEqual(asked, [
            "apk info --installed docker kmod", "apk info --installed linux-lts", "grep ^linux-lts= /etc/apk/world",
            "modprobe -a tun wg", "/opt/wg-easy/firewall.sh check", "docker image inspect image",
            "docker container inspect wg-easy", "sysctl -n net.ipv4.ip_forward"])
        services = [task["ansible.builtin.service"] for task in tasks if "ansible.builtin.service" in task]
        self.assertEqual(services, [{"name": "docker", "use": "service", "enabled": True},
                                    {"name": "docker", "use": "service", "state": "started"}])
        lines = [task["ansible.builtin.lineinfile"]["line"] for task in tasks if "ansible.builtin.lineinfile" in task]
        self.assertEqual(lines, ["http://mirror/v3.22/community", "default=lts"])
        self.assertTrue(all(task["changed_when"] is False for task in tasks if "ansible.builtin.command" in task))


if __name__ == "__main__":
    unittest.main()
