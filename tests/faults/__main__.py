"""The command: every kind of fault, a table at the end; exit status 1 if anything was lost."""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rlbench.machine import processor
from tests.faults import common, configs, damage, directories, disk, kills, points, values, workers
from tests.faults.common import Tally

KINDS = {
    "kills": lambda folder, size, seed: [kills.kills(folder, size.kills, seed)],
    "points": lambda folder, size, seed: [points.points(folder, size is QUICK)],
    "disk": lambda folder, size, seed: disk.disk(folder, size.refusals, size.sizes, seed),
    "damage": lambda folder, size, seed: damage.damage(folder, size.flips, seed),
    "configs": lambda folder, size, seed: [configs.configs(folder, size.configs, seed)],
    "directories": lambda folder, size, seed: [
        directories.directories(folder, size.directories, seed)
    ],
    "values": lambda folder, size, seed: [values.values(folder, size.values_every, seed)],
    "workers": lambda folder, size, seed: [workers.workers(folder, size.workers, seed)],
}
SIZES = {
    "kills": (200, 20),
    "refusals": (0, 8),
    "sizes": (12, 2),
    "flips": (20, 2),
    "configs": (5_000, 500),
    "directories": (1_000, 200),
    "values_every": (1, 10),
    "workers": (20, 2),
}
"""In full, and in the short form."""
FULL, QUICK = (argparse.Namespace(**{name: two[i] for name, two in SIZES.items()}) for i in (0, 1))


def table(tallies: list[Tally]) -> str:
    """Markdown."""
    rows = [f"| {t.what} | {t.tried:,} | {len(t.lost):,} |" for t in tallies]
    return "\n".join(["| fault | tried | lost |", "|---|---:|---:|", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form that CI runs")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, with commas between them")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run")
    parser.add_argument("--out", default="build/faults", help="for faults.json and faults.md")
    asked = parser.parse_args()
    kinds = asked.only.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown kind {min(unknown)!r}; choose from {', '.join(KINDS)}")
    common.forked = asked.quick
    seed = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    print(f"faults, seed {seed}: {', '.join(kinds)}", file=sys.stderr)
    tallies = []
    for kind in kinds:
        folder, begun = Path(tempfile.mkdtemp(prefix=f"faults-{kind}-")), time.monotonic()
        found = KINDS[kind](folder, QUICK if asked.quick else FULL, seed)
        for tally in found:
            tally.seconds = (time.monotonic() - begun) / len(found)
        tallies += found
        shutil.rmtree(folder, ignore_errors=True)
        record(tallies, Path(asked.out), seed)  # an hour's work, whatever becomes of the next kind
    return told(tallies, Path(asked.out))


def record(tallies: list[Tally], out: Path, seed: int) -> None:
    """Writes the table, and every fault that lost something."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "faults.md").write_text(table(tallies) + "\n")
    facts = {"seed": seed, "processor": processor(), "faults": [vars(t) for t in tallies]}
    (out / "faults.json").write_text(json.dumps(facts, indent=1) + "\n")


def told(tallies: list[Tally], out: Path) -> int:
    """Prints the table; the exit status."""
    print(table(tallies))
    lost = [f"{t.what}: {problem}" for t in tallies for problem in t.lost]
    print("\n".join(f"LOST {line}" for line in lost[:50]))
    seconds = sum(t.seconds for t in tallies)
    print(f"{sum(t.tried for t in tallies):,} faults, {len(lost)} lost, {seconds:.0f} s; {out}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
