import unittest

from support import REPOSITORY  # noqa: F401  (finds labkit)

from labkit import provisioning


class Parts(unittest.TestCase):
    def test_a_part_lasts_until_the_next_begins(self):
        said = "12.50 package index\nfetch http://a/APKINDEX.tar.gz\n14.00 kernel\n(1/9) Installing kmod\n30.25 restart\n"
        self.assertEqual(provisioning.parts(said), [("package index", 1500.0), ("kernel", 16250.0)])

    def test_what_was_not_begun_is_not_there(self):
        self.assertEqual(provisioning.parts(""), [])
        self.assertEqual(provisioning.parts("1.00 docker\nERROR: 2.00 of it\n"), [])
