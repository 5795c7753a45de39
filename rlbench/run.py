"""`python -m rlbench.run`: the same as `rlbench run`."""

import sys

from rlbench.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
