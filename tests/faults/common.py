"""What all kinds of faults share: commands as processes, and what was tried and lost."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from rlbench.cli import main
from rlbench.crash import VARIABLE
from tests.faults.forks import Forked
from tests.records import RUN, SMALL, find, learned

forked = False
"""Whether commands are forked (the short form) or started in an interpreter of their own."""
ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
SECONDS = 300.0
"""A command that takes longer hangs."""
HANGS = 120
"""The same, of one in this process."""
SHORT = [*RUN, "--algo", "eggroll", *SMALL, "--budget", "2e4"]
"""A run of a dozen updates."""


@dataclass
class Tally:
    """What was tried of one kind.

    Attributes:
        what: the kind.
        tried: how many.
        lost: of each that was not as it should be, how.
        seconds: it took.
    """

    what: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, problem: str = "") -> None:
        """One more was tried; what was lost is told at once."""
        self.tried += 1
        if problem:
            self.lost.append(problem)
            print(f"LOST {self.what}: {problem}", file=sys.stderr, flush=True)


def start(*argv: str, crash: str = "", cwd: Path = ROOT) -> subprocess.Popen[str] | Forked:
    """A command, going on."""
    variables = {"PYTHONPATH": str(ROOT)} | ({VARIABLE: crash} if crash else {})
    if forked:
        return Forked(list(argv), variables, cwd)
    return subprocess.Popen(
        [sys.executable, "-m", "rlbench", *argv],
        cwd=cwd,
        env=os.environ | variables,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def rlbench(*argv: str, crash: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command, ended: its status, stdout and stderr."""
    process = start(*argv, crash=crash, cwd=cwd)
    try:
        out, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        errors += f"\nhangs: no end after {SECONDS:.0f} s"
    return subprocess.CompletedProcess(argv, process.poll(), out, errors)


def sound(*folders: Path) -> str:
    """What `rlbench verify` has against them; empty if nothing."""
    done = rlbench("verify", *map(str, folders))
    return "" if done.returncode == 0 else f"verify says: {done.stdout}{done.stderr}"


def result(out: Path) -> str:
    """What a run has learned, as text; why that cannot be told, where it cannot."""
    try:
        return repr(learned(find(out)))
    except Exception as error:
        return f"no result: {type(error).__name__}: {error}"


def told_badly(done: subprocess.CompletedProcess[str], statuses: Iterable[int]) -> str:
    """How a command that was to end with a sentence did not; empty if it did."""
    if done.returncode not in statuses:
        return f"status {done.returncode}: {done.stderr[-300:]}"
    if "Traceback" in done.stderr:
        return f"a traceback: {done.stderr[-300:]}"
    if done.returncode and not re.search(r"^rlbench: .", done.stderr, re.M):
        return f"status {done.returncode} without a sentence: {done.stderr[-300:]}"
    return ""


class Hangs(BaseException):
    """It took too long."""


def _hangs(number: int, frame: object) -> None:
    raise Hangs


def inside(*argv: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, one at a time: a hundred times as fast."""
    out, errors = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(HANGS)
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            status = main(list(argv))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            status = 1
        finally:
            signal.alarm(0)
    return subprocess.CompletedProcess(argv, status, out.getvalue(), errors.getvalue())


def each(
    tally: Tally,
    jobs: Iterable[Callable[[], str]],
    most: int,
    every: int = 10,
    at_once: int = AT_ONCE,
) -> None:
    """Runs jobs, some at once; each returns what was lost, or nothing. Tells how far it is."""
    begun = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        # One at a time stay in the main thread, the only one that an alarm reaches.
        run_all = map if at_once == 1 else pool.map
        for problem in run_all(lambda job: job(), jobs):
            tally.count(problem)
            if tally.tried % every == 0 or tally.tried == most:
                tell(tally, most, begun)


def tell(tally: Tally, most: int, begun: float) -> None:
    """A line of progress."""
    took = time.monotonic() - begun
    left = took / tally.tried * max(most - tally.tried, 0)
    print(
        f"{tally.what}: {tally.tried:,} of {most:,}, {len(tally.lost)} lost, "
        f"{tally.tried / took:.2g}/s, ETA {left:.0f} s",
        file=sys.stderr,
        flush=True,
    )
