"""Run directories as data: found, read with distrust, and brought into one order. Imports no jax.

A directory that cannot be read is a finding: it is listed with the reason, the others are compared.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench import seal
from rlbench.bounds import is_number
from rlbench.config import cell_hash
from rlbench.errors import UsageError
from rlbench.files import MAX_JSON, MAX_METRICS, parse_json, read_bytes
from rlbench.store import METRICS, STATUSES, run_directories

READ = ("config.json", "status.json", METRICS, "provenance.json")
Floats = npt.NDArray[np.float64]


class UnreadableError(Exception):
    """A run directory that cannot be counted; the message says why."""


@dataclass(frozen=True)
class Curve:
    """A run's evaluations, in order; every array is (evaluations,).

    Attributes:
        steps: simulated env steps of training so far.
        live: those of episodes that had not ended.
        seconds: training seconds so far.
        returns: mean return over the evaluation's episodes, finite.
    """

    steps: Floats
    live: Floats
    seconds: Floats
    returns: Floats


@dataclass(frozen=True)
class Run:
    """One run directory.

    Attributes:
        name: where it is, relative to the folder that was searched.
        path: the directory.
        config: config.json.
        provenance: provenance.json; empty if it is missing.
        status: status.json; empty if it is missing.
        curve: evaluations with a finite mean.
        final_std: over the last evaluation's episodes.
        final_episodes: their number.
        final_finite: whether the last evaluation has a finite mean.
        digest: of the files, to order runs and to tell copies.
    """

    name: str
    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    status: dict[str, Any]
    curve: Curve
    final_std: float
    final_episodes: int
    final_finite: bool
    digest: str

    @property
    def env(self) -> str:
        """Full id of the environment."""
        return str(self.config["env"])

    @property
    def algo(self) -> str:
        """Name of the algorithm."""
        return str(self.config["algo"])

    @property
    def seed(self) -> int:
        """Root of its random streams."""
        return int(self.config["seed"])

    @property
    def state(self) -> str:
        """Its status; `running` if it has none, as for a run that was killed at once."""
        return str(self.status.get("status", "running"))

    @property
    def cell(self) -> str:
        """8 hex digits over all of the configuration that is no label: equal for all seeds."""
        return cell_hash(self.config)

    def total(self, name: str) -> float:
        """A number of status.json, NaN where there is none."""
        return number(self.status.get(name))

    def memory(self, name: str) -> float:
        """Bytes, NaN where the record has none."""
        told = self.status.get("memory")
        return number(told.get(name)) if isinstance(told, dict) else math.nan


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        runs: in an order that does not depend on the order of the search.
        unreadable: (name, reason) of directories that are not counted, in order.
    """

    runs: tuple[Run, ...]
    unreadable: tuple[tuple[str, str], ...] = ()


def number(value: Any) -> float:
    """A finite number, or NaN for anything else."""
    return float(value) if is_number(value) and math.isfinite(value) else math.nan


def find_runs(
    paths: Sequence[str | Path], tell: Callable[[int, int], None] = lambda done, of: None
) -> Found:
    """Every run below the paths, each counted once.

    Args:
        paths: run directories, or folders that hold some at any depth; links are not followed.
        tell: called with the number of directories read so far, and of all.

    Raises:
        UsageError: a path does not exist, or none holds a run directory.
    """
    names = _names([Path(path) for path in paths])
    runs, unreadable = [], []
    for i, (path, name) in enumerate(names.items()):
        tell(i, len(names))
        try:
            runs.append(read_run(path, name))
        except UnreadableError as error:
            unreadable.append((name, str(error)))
    if not runs and not unreadable:
        where = ", ".join(map(str, paths))
        raise UsageError(f"there is no run directory in {where}; `rlbench run` makes one")
    runs.sort(key=lambda run: (run.env, run.algo, run.cell, run.seed, *_age(run)))
    return Found(tuple(runs), tuple(sorted(unreadable)))


def _names(roots: Sequence[Path]) -> dict[Path, str]:
    """Directories of runs by what they are called: their path within the folder that was given."""
    names: dict[Path, str] = {}
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root} is not a directory; give run directories or folders of them")
        for path in run_directories(root):
            name = path.relative_to(root).as_posix()
            # One that is below two of the folders has the longer name, whatever their order.
            known = names.get(path.resolve(), "")
            name = root.resolve().name if name == "." else name
            names[path.resolve()] = max(known, name, key=lambda text: (len(text), text))
    return names


def _age(run: Run) -> tuple[str, str, str]:
    return str(run.status.get("started", "")), run.digest, run.name


def _read(path: Path, name: str) -> bytes | None:
    try:
        return read_bytes(path / name, MAX_METRICS if name == METRICS else MAX_JSON)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableError(f"{name} cannot be read: {error.strerror}") from None


def _table(content: bytes | None, name: str) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        data = parse_json(content)
    except ValueError:
        raise UnreadableError(f"{name} is not JSON") from None
    if not isinstance(data, dict):
        raise UnreadableError(f"{name} does not hold a table")
    if told := seal.flaw(data):
        raise UnreadableError(f"{name} is not what was written: {told}")
    return data


def read_run(path: Path, name: str) -> Run:
    """One run directory; unknown fields are kept, and a torn last line is cut.

    Raises:
        UnreadableError: without a configuration, or with a file that is not what it should be.
    """
    contents = [_read(path, file) for file in READ]
    config, status = _table(contents[0], READ[0]), _table(contents[1], READ[1])
    if contents[0] is None:
        raise UnreadableError("config.json is missing")
    if contents[1] is None and contents[2]:
        raise UnreadableError("status.json is missing, and metrics.jsonl is there")
    _check(config, status)
    if told := seal.flaw_of_files(status, dict(zip(READ, contents, strict=True))):
        raise UnreadableError(told)
    curve, last = _evaluations(contents[2] or b"")
    finite = last is not None and not math.isnan(number(last.get("return_mean")))
    returns = last.get("returns") if last else None
    run = Run(
        name=name,
        path=path,
        config=config,
        provenance=_table(contents[3], "provenance.json"),
        status=status,
        curve=curve,
        final_std=number(last.get("return_std")) if last else math.nan,
        final_episodes=len(returns) if isinstance(returns, list) else 0,
        final_finite=finite,
        digest=hashlib.sha256(b"\0".join(x or b"" for x in contents)).hexdigest(),
    )
    if run.state == "ok" and not finite:
        raise UnreadableError("its status is ok, but it holds no final evaluation")
    return run


def _check(config: dict[str, Any], status: dict[str, Any]) -> None:
    for key in ("env", "algo"):
        if not isinstance(config.get(key), str) or not config[key]:
            raise UnreadableError(f"config.json has no {key!r}")
    seed = config.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UnreadableError("config.json has no whole 'seed'")
    for key in ("settings", "network"):
        if not isinstance(config.get(key, {}), dict):
            raise UnreadableError(f"{key!r} of config.json is not a table")
    if status and status.get("status") not in STATUSES:
        raise UnreadableError("status.json has no known status")


def _evaluations(content: bytes) -> tuple[Curve, dict[str, Any] | None]:
    """The curve, and the last evaluation's row."""
    rows, points = None, []
    for i, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        if b'"evaluation"' not in line:
            continue  # thousands of update rows are not looked into
        try:
            row = parse_json(line)
        except ValueError:
            raise UnreadableError(f"line {i} of metrics.jsonl is not JSON") from None
        if not isinstance(row, dict) or row.get("kind") != "evaluation":
            continue
        rows = row
        names = ("simulated_env_steps", "live_env_steps", "train_seconds", "return_mean")
        point = [number(row.get(name)) for name in names]
        if not math.isnan(point[0]) and not math.isnan(point[3]):
            points.append(point)
    table = np.array(points, dtype=np.float64).reshape(-1, 4)
    if (np.diff(table[:, 0]) < 0).any():
        raise UnreadableError("env steps go backwards in metrics.jsonl")
    return Curve(*(np.ascontiguousarray(column) for column in table.T)), rows


def without_copies(runs: Iterable[Run]) -> tuple[tuple[Run, ...], tuple[tuple[Run, str], ...]]:
    """One run a cell and seed, and those left out with the reason.

    A seed counts once: a finished run before one that is not, else the one that started first.
    """
    kept: dict[tuple[str, int], Run] = {}
    left: list[tuple[Run, str]] = []
    order = {"ok": 0, "diverged": 1, "failed": 2}
    for run in sorted(runs, key=lambda run: (order.get(run.state, 3), *_age(run))):
        first = kept.setdefault((run.cell, run.seed), run)
        if first is not run:
            same = run.status.get("state_sha256") == first.status.get("state_sha256")
            how = "with the same result" if same and run.state == first.state else "once more"
            left.append((run, f"seed {run.seed} of this cell {how}; {first.name} is counted"))
    return tuple(kept.values()), tuple(sorted(left, key=lambda item: (item[0].name, item[1])))
