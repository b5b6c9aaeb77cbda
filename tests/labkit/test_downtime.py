"""What is read from a client's pings, and the wire between two machines."""

import json
import socket
import tempfile
import unittest
from pathlib import Path

from support import REPOSITORY  # noqa: F401  (finds labkit)

from labkit import downtime, gaps
from labkit.machine import Hardware, Machine

PINGS = """\
100.10 PING 10.8.0.1 (10.8.0.1): 56 data bytes
100.11 64 bytes from 10.8.0.1: seq=0 ttl=64 time=0.9 ms
100.31 64 bytes from 10.8.0.1: seq=1 ttl=64 time=0.8 ms
101.90 64 bytes from 10.8.0.1: seq=2 ttl=64 time=900.0 ms
103.00 ping: sendto: Network unreachable
118.40 64 bytes from 10.8.0.1: seq=70 ttl=64 time=1.1 ms
118.40 64 bytes from 10.8.0.1: seq=71 ttl=64 time=1.1 ms
118.6"""


class Reading(unittest.TestCase):
    def test_answers_alone_count(self):
        self.assertEqual(gaps.answers(PINGS), [100.11, 100.31, 101.90, 118.40, 118.40])

    def test_a_gap_is_from_the_last_answer_to_the_first(self):
        found = gaps.silences(gaps.answers(PINGS))
        self.assertEqual(found, [gaps.Gap(101.90, 118.40)])
        self.assertAlmostEqual(found[0].seconds, 16.5)

    def test_every_gap_of_two_seconds_and_more(self):
        self.assertEqual(gaps.silences([9.0, 1.0, 2.9, 4.9]), [gaps.Gap(2.9, 4.9), gaps.Gap(4.9, 9.0)])
        self.assertEqual(gaps.silences([]), [])

    def test_what_answers_after_a_moment(self):
        self.assertEqual(gaps.first_after([3.0, 1.0, 2.0], 1.0), 2.0)
        self.assertIsNone(gaps.first_after([1.0], 1.0))


class Steps(unittest.TestCase):
    def test_of_awg_install(self):
        started = json.dumps({"type": "step-started", "step": "compose"})
        done = json.dumps({"type": "step-done", "step": "compose", "ms": 1500})
        text = f"10.00 {started}\n11.50 {done}\n12.00 no event\n12.10 {{broken"
        self.assertEqual(gaps.steps(text), [gaps.Part("compose", 10.0, 11.5)])

    def test_of_a_script(self):
        text = "1.0 step: down\n2.0  Container wg-easy  Stopped\n3.0 step: up\n4.5 step: end\n9.0 after"
        self.assertEqual(gaps.steps(text), [gaps.Part("down", 1.0, 3.0), gaps.Part("up", 3.0, 4.5)])

    def test_the_longest_of_a_gap_in_their_order(self):
        parts = [gaps.Part("before", 0, 4), gaps.Part("into it", 4, 6), gaps.Part("short", 6, 6.1),
                 gaps.Part("long", 7, 9), gaps.Part("after", 10, 20)]
        self.assertEqual([part.what for part in gaps.longest(parts, gaps.Gap(5, 10), 2)], ["into it", "long"])


class Table(unittest.TestCase):
    def test_medians_of_both_clients(self):
        took = {("a", "x"): [{"client": 5, "anew": 1}, {"client": 7, "anew": 2}, {"client": 90, "anew": 3}],
                ("a", "y"): [{"client": 14, "anew": 0}]}
        self.assertEqual(downtime.table(took, ("a",), ("x", "y"), ("ours", "theirs")), [
            "| case | ours | theirs | ratio |", "|---|---|---|---|",
            "| a, a client that goes on | 7.0 s | 14.0 s | 0.50 |",
            "| a, a client that connects anew | 2.0 s | 0.0 s |  |"])


class Wire(unittest.TestCase):
    def devices(self, wire):
        with tempfile.TemporaryDirectory() as place:
            command = Machine(place, Path(place, "disk"), Hardware(wire=wire))._command()
        return [word for word in command if "wire" in word]

    def test_both_ends_meet_and_differ(self):
        (one, one_card), (other, other_card) = self.devices((4001, 4002)), self.devices((4002, 4001))
        self.assertIn("udp=127.0.0.1:4002,localaddr=127.0.0.1:4001", one)
        self.assertIn("udp=127.0.0.1:4001,localaddr=127.0.0.1:4002", other)
        self.assertNotEqual(one_card, other_card)

    def test_a_machine_has_none_unless_asked(self):
        self.assertEqual(self.devices(None), [])

    def test_two_ports_that_are_free(self):
        ports = downtime._free_ports()
        self.assertNotEqual(*ports)
        for port in ports:
            with socket.socket(type=socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", port))


if __name__ == "__main__":
    unittest.main()
