# /// honest
# shows = "unittest, with its result on stderr and its exit code"
# exit = 1
# stderr_contains = ["test_wrong", "Ran 2 tests", "FAILED (failures=1)"]
# ///
import unittest


class Arithmetic(unittest.TestCase):
    def test_right(self):
        self.assertEqual(1 + 1, 2)

    def test_wrong(self):
        self.assertEqual(1 + 1, 3)


if __name__ == "__main__":
    unittest.main()
