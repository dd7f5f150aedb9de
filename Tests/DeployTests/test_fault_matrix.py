"""The page of the fault matrix matches the tests: rows, names and results are as the sources and the last runs have them."""
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class FaultMatrix(unittest.TestCase):
    def test_the_page_matches_the_sources(self):
        run = subprocess.run([sys.executable, ROOT / "deploy/tools/fault_matrix.py", "--check"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
