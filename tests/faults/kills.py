"""SIGKILL at random moments: a run that is gone on with ends in the bits of an undisturbed one."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from rlbench.store import CHECKPOINTS
from tests.faults.common import AT_ONCE, Tally, result, rlbench, sound, start, tell
from tests.records import RUN, RUNS, find

FROM_START = 0.3
"""Share of the kills at any moment since the start; others come soon after a new checkpoint."""
STARTING = 6.0
AFTER = 0.5


def kills(folder: Path, many: int, seed: int) -> Tally:
    """Kills runs of three algorithms again and again, until so many kills have hit."""
    tally = Tally("SIGKILL of a run at a random moment (eggroll, open_es, ppo)")
    wanted = {algo: _undisturbed(folder / "undisturbed" / algo, algo) for algo in RUNS}
    begun, turns = time.monotonic(), count()

    def keep_killing(worker: int) -> None:
        while tally.tried < many:
            turn = next(turns)
            algo = sorted(RUNS)[turn % len(RUNS)]
            chance = random.Random(f"{seed} {turn}")
            hits, problem = _one_run(folder / str(turn), algo, chance, wanted[algo])
            tally.tried += hits
            tally.lost += [problem] * bool(problem)
            if hits:
                tell(tally, many, begun)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(keep_killing, range(AT_ONCE)))
    return tally


def _command(algo: str, out: Path) -> list[str]:
    return [*RUN, "--algo", algo, *RUNS[algo], "--out", str(out)]


def _undisturbed(out: Path, algo: str) -> str:
    done = rlbench(*_command(algo, out))
    assert done.returncode == 0, done.stderr
    return result(out)


def _one_run(out: Path, algo: str, chance: random.Random, wanted: str) -> tuple[int, str]:
    """One run, killed up to six times on its way; how often, and what was lost."""
    hits = 0
    for _ in range(6):
        process = start(*_again(algo, out, chance))
        if chance.random() < FROM_START:
            time.sleep(chance.uniform(0.0, STARTING))
        else:
            _wait_for_checkpoint(out, process)
            time.sleep(chance.uniform(0.0, AFTER))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break
        hits += 1
    if result(out).startswith("no result"):
        done = rlbench(*_command(algo, out), "--resume")
        if done.returncode:
            return hits, f"{algo}: status {done.returncode}: {done.stderr[-300:]}"
    if result(out) != wanted:
        return hits, f"{algo} ended in other bits: {result(out)[:200]}"
    return hits, sound(out)


def _again(algo: str, out: Path, chance: random.Random) -> list[str]:
    """Either way to go on; the first start included."""
    if list(out.glob("adhoc/*/*/seed-*")) and chance.random() < 0.5:
        return ["resume", str(find(out)), "--quiet"]
    return [*_command(algo, out), "--resume"]


def _wait_for_checkpoint(out: Path, process) -> None:
    known = set(out.glob(f"adhoc/*/*/seed-*/{CHECKPOINTS}/*.json"))
    while process.poll() is None:
        if set(out.glob(f"adhoc/*/*/seed-*/{CHECKPOINTS}/*.json")) - known:
            return
        time.sleep(0.01)
