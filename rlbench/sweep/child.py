"""Becomes a run that ends with the sweep that started it, on its share of the cores:
`python -m rlbench.sweep.child PARENT CORES FLAGS...`. Imports no jax.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replaces this process by `python -m rlbench.run FLAGS...`.

    PARENT is a process number; CORES are numbers with commas between them, or empty.
    """
    parent, cores, *flags = sys.argv[1:]
    if sys.platform == "linux":
        # Else a killed sweep would leave runs behind that nobody owns.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the sweep has ended")
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    os.execv(sys.executable, [sys.executable, "-m", "rlbench.run", *flags])


if __name__ == "__main__":
    main()
