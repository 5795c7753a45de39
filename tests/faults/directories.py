"""Run directories as a stranger might send them: no command ends in a traceback, does what they say
to the terminal, or touches anything else.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlbench.files import json_digest
from rlbench.seal import FILES, KEY, sealed
from tests.faults.common import SHORT, Tally, inside, rlbench, tell, told_badly
from tests.faults.configs import STRANGE

EVERY = 25
"""Commands that take seconds are tried on one in so many."""
HUGE = 1 << 24
"""Bytes of a file that is not read here either."""
CANARY = "nobody touches this"
SWEEP = """
about = "a sweep"
[[cell]]
env = "cartpole"
algo = ["eggroll", "open_es"]
seeds = [1]
budget = 20000
set = { pop_size = 4, hidden = [[8]] }
eval_episodes = 4
"""


def directories(folder: Path, many: int, seed: int) -> Tally:
    """Alters good ones, and gives the results to every command that reads them."""
    tally, chance = Tally("an altered run directory or sweep"), random.Random(seed)
    folder.mkdir(exist_ok=True)
    good = _good(folder / "good")
    begun = time.monotonic()
    for i in range(many):
        here = folder / "altered"
        shutil.copytree(good, here / "out", symlinks=True)
        (here / "canary").write_text(CANARY)
        told = [_alter(here, chance) for _ in range(chance.choice((1, 1, 2, 4)))]
        problems = [*_commands(here, i % EVERY == 0, chance)]
        if (here / "canary").read_text() != CANARY:
            problems.append("a file beside the folder was changed")
        tally.count(f"{told}: {'; '.join(problems)}" if problems else "")
        if tally.tried % 100 == 0:
            tell(tally, many, begun)
        shutil.rmtree(here)
    return tally


def _good(out: Path) -> Path:
    """A sweep, a run that is ok, one that was interrupted, one that was killed, an export."""
    file = out.with_suffix(".toml")
    file.write_text(SWEEP)
    for suite, crash in (
        ("ok", ""),
        ("full", "metrics.sync@4=ENOSPC"),
        ("dead", "metrics.write@4"),
    ):
        rlbench(*SHORT, "--out", str(out), "--suite", suite, crash=crash)
    (run,) = out.glob("ok/*/*/seed-*")
    for argv in (["sweep", str(file), "--out", str(out)], ["export", str(run)]):
        done = rlbench(*argv)
        assert done.returncode == 0, done.stderr
    return out


def _commands(here: Path, dear: bool, chance: random.Random) -> list[str]:
    """Every command that reads what is there; what was wrong with how it ended."""
    out = here / "out"
    runs = sorted(p for p in out.glob("*/*/*/seed-*") if p.is_dir())
    run = str(chance.choice(runs)) if runs else str(out)
    tries: list[list[str]] = [["verify", str(out)], *(["show", str(p)] for p in runs)]
    tries += [["compare", str(out / "ok"), str(out / "full")]]
    tries += [["export", run, "--to", "tensorboard", "--overwrite"]]
    tries += [["export", run, "--overwrite"]] * (chance.random() < 0.2)
    slow = [["report", str(out), "--out", str(here / "report")], ["resume", run, "--quiet"]]
    slow += [["play", run, "--episodes", "2"], ["play", f"{run}/export", "--episodes", "2"]]
    slow += [["sweep", str(here.parent / "good.toml"), "--out", str(out), "--dry-run"]]
    slow += [["run", "--config", f"{run}/config.json", "--out", str(here / "again"), "--quiet"]]
    problems = []
    for argv in [*tries, *(slow if dear else [])]:
        done = (rlbench if argv in slow else inside)(*argv)
        said = argv[0] == "verify" and done.returncode == 5 and ": " in done.stdout
        problem = "" if said else told_badly(done, (0, 2, 3, 4))
        if not problem and any(c in done.stdout + done.stderr for c in "\x1b\x07\x9b"):
            problem = "it passed a control character on to the terminal"
        problems += [f"{' '.join(argv)}: {problem}"] * bool(problem)
    return problems


def _alter(here: Path, chance: random.Random) -> str:
    """Does something to one file; says what."""
    plain = (p for p in (here / "out").rglob("*") if p.is_file() and not p.is_symlink())
    files = sorted(p for p in plain if p.stat().st_size < HUGE)
    if not files:
        return "nothing left"
    # A checkpoint has as many files as all the rest.
    few = [p for p in files if "checkpoints" not in p.parts]
    file = chance.choice(few if few and chance.random() < 0.8 else files)
    change = chance.choice(CHANGES)
    change(file, here, chance)
    return f"{change.__name__} {file.relative_to(here)}"


def flip(file: Path, here: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes() or b"x")
    for _ in range(chance.choice((1, 1, 8))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def cut(file: Path, here: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: chance.randrange(len(data) + 1)])


def delete(file: Path, here: Path, chance: random.Random) -> None:
    file.unlink()


def noise(file: Path, here: Path, chance: random.Random) -> None:
    file.write_bytes(chance.randbytes(chance.choice((0, 10, 5000))))


def other_json(file: Path, here: Path, chance: random.Random) -> None:
    texts = ("null", "[]", "3", '"x"', "{}", "[" * 100_000, "1" * 10_000, '{"a": NaN}', "1e999")
    file.write_text(chance.choice(texts))


def folder(file: Path, here: Path, chance: random.Random) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path, here: Path, chance: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def link(file: Path, here: Path, chance: random.Random) -> None:
    targets = ("/dev/zero", "/etc/passwd", str(file), "..", str(here / "canary"), "nowhere")
    file.unlink()
    file.symlink_to(chance.choice(targets))


def huge(file: Path, here: Path, chance: random.Random) -> None:
    with file.open("r+b") as sparse:
        sparse.truncate(1 << 36)


def _small(file: Path) -> bytes:
    return file.read_bytes() if file.stat().st_size < HUGE else b""


def doubled(file: Path, here: Path, chance: random.Random) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    chance.shuffle(lines)
    file.write_bytes(b"".join([*lines, *lines]))


def swapped(file: Path, here: Path, chance: random.Random) -> None:
    others = sorted(p for p in file.parent.iterdir() if p.is_file() and not p.is_symlink())
    other = chance.choice(others)
    one, two = file.read_bytes(), _small(other)
    file.write_bytes(two)
    other.write_bytes(one)


def value(file: Path, here: Path, chance: random.Random) -> None:
    """Something strange in a table, sealed anew: as a stranger would, who means it."""
    tables = [file.parent / n for n in ("config.json", "provenance.json", "status.json")]
    tables = [p for p in tables if p.is_file() and not p.is_symlink()] or [file]
    target = chance.choice(tables)
    try:
        table = json.loads(_small(target))
        _strange(table, chance)
        if isinstance(table, dict) and KEY in table:
            table.pop(FILES, None)
            table = sealed(table)
        target.write_text(json.dumps(table))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return
    status = file.parent / "status.json"
    if target.name != "status.json" and status in tables:
        try:
            content = json.loads(_small(status))
            content.pop(FILES, None)
            status.write_text(json.dumps(sealed(content)))
        except (ValueError, AttributeError, TypeError, RecursionError):
            return


def checkpoint(file: Path, here: Path, chance: random.Random) -> None:
    """The same in where a checkpoint says that the record was."""
    seals = sorted((here / "out").rglob("checkpoints/*.json"))
    if seals:
        target = chance.choice(seals)
        try:
            content = json.loads(_small(target))["content"]
            _strange(content, chance)
            seal = {"content": content, "sha256": json_digest(content)}
            target.write_text(json.dumps(seal))
        except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
            return


def row(file: Path, here: Path, chance: random.Random) -> None:
    """The same in a row of metrics.jsonl."""
    rows = file.parent / "metrics.jsonl"
    if not rows.is_file() or rows.is_symlink():
        return
    lines = _small(rows).splitlines()
    if lines:
        i = chance.randrange(len(lines))
        try:
            table = json.loads(lines[i])
            _strange(table, chance)
            lines[i] = json.dumps(table).encode()
        except (ValueError, TypeError, OverflowError):
            return
    rows.write_bytes(b"\n".join(lines) + b"\n")
    value(file, here, chance)


def _strange(table: Any, chance: random.Random) -> None:
    """Changes a value at some depth."""
    names = list(table) if isinstance(table, dict) else list(range(len(table)))
    if not names:
        return
    name = chance.choice(names)
    if isinstance(table[name], dict | list) and table[name] and chance.random() < 0.7:
        return _strange(table[name], chance)
    if isinstance(table, dict) and chance.random() < 0.1:
        del table[name]
        return None
    table[name] = chance.choice((*STRANGE, "../../canary", "/etc/passwd", "evil:Agent"))
    return None


CHANGES: tuple[Callable[[Path, Path, random.Random], None], ...] = (
    *(flip, cut, delete, noise, other_json, folder, pipe, link, huge, doubled, swapped),
    *(value,) * 6,
    *(row,) * 3,
    *(checkpoint,) * 2,
)
