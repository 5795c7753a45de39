"""Every named crash point: killed there, a command that is given again ends as if undisturbed."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlbench.crash import POINTS, STEPS
from tests.faults.common import SHORT, Tally, each, find, result, rlbench, sound, told_badly
from tests.faults.damage import flip

SWEEP = """
about = "two cells"
[[cell]]
env = "cartpole"
algo = "random"
seeds = [1, 2]
budget = 20000
set = { episodes = 8 }
eval_episodes = 4
"""
"""What is killed is the sweep: `random` compiles the least, and each seed ends in its own state."""
TUNING = """
about = "two trials"
[[cell]]
env = "cartpole"
algo = "eggroll"
seeds = [1000]
budget = 20000
set = { pop_size = 4, hidden = [[8]] }
eval_episodes = 4
[cell.random]
trials = 2
learning_rate = { log_uniform = [0.001, 0.1] }
"""


@dataclass(frozen=True)
class Scene:
    """Something to be killed in.

    Attributes:
        before: makes what there is before; given a folder.
        argv: the command that is killed.
        again: the command that is given afterwards.
        outcome: what must be as in an undisturbed folder, as text.
    """

    before: Callable[[Path], object]
    argv: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    outcome: Callable[[Path], str]


def _nothing(folder: Path) -> None:
    folder.mkdir(parents=True)


def _run(folder: Path) -> list[str]:
    return [*SHORT, "--out", str(folder / "out")]


def _a_run(folder: Path) -> None:
    _nothing(folder)
    done = rlbench(*_run(folder))
    assert done.returncode == 0, done.stderr


def _killed_run(folder: Path, damaged: bool = False) -> None:
    """Killed when its third checkpoint was whole; perhaps that one is damaged now."""
    _nothing(folder)
    rlbench(*_run(folder), crash="checkpoint.prune@3")
    if damaged:
        steps = find(folder / "out") / "checkpoints"
        newest = max(int(p.name) for p in steps.iterdir() if p.name.isdecimal())
        files = sorted(p for p in (steps / str(newest)).rglob("*") if p.is_file())
        flip(files[-1], random.Random(0))


def _resume(folder: Path) -> list[str]:
    return ["resume", str(find(folder / "out")), "--quiet"]


def _learned(folder: Path) -> str:
    return result(folder / "out")


def _file(name: str, text: str, folder: Path) -> None:
    _nothing(folder)
    (folder / f"{name}.toml").write_text(text)


def _swept(command: str, name: str, folder: Path) -> list[str]:
    return [command, str(folder / f"{name}.toml"), "--out", str(folder / "out")]


def _runs(folder: Path) -> str:
    """Of a sweep: what every run learned; and what was written beside them."""
    runs = sorted((folder / "out").glob("*/*/*/seed-*"))
    found = [str(p.relative_to(folder)) for p in runs]
    return repr([found, [_state(p) for p in runs], _contents(folder / "out", "*/settings.toml")])


def _state(run: Path) -> str:
    from rlbench.store import read_run

    return str(read_run(run).status.get("state_sha256"))


def _contents(folder: Path, pattern: str) -> list[tuple[str, bytes]]:
    paths = sorted(p for p in folder.glob(pattern) if p.is_file())
    return [(str(p.relative_to(folder)), p.read_bytes()) for p in paths]


def _report(folder: Path) -> list[str]:
    # In the folder, so that the page's command is the same everywhere.
    return ["report", "out", "--out", "report"]


def _export(folder: Path) -> list[str]:
    return ["export", str(find(folder / "out")), "--out", str(folder / "export"), "--overwrite"]


def _reproduce(folder: Path) -> list[str]:
    return ["reproduce", "marginals", "--scale", "small", "--out", str(folder / "out")]


def _reproduced(folder: Path) -> str:
    """What was measured, and what was made of it."""
    from rlbench.reproduce.record import read

    (out,) = (folder / "out").glob("reproduce/*") if (folder / "out").is_dir() else [folder]
    cases = (read(out) or {"cases": []})["cases"]
    drawn = [_contents(out, f"*.{kind}") for kind in ("csv", "svg", "png", "pdf")]
    # The rest of the verdict has times and the load.
    told = (out / "verdict.md").read_text() if (out / "verdict.md").is_file() else ""
    judged = [line for line in told.splitlines() if line.startswith("- **")]
    return repr([[case["samples"] for case in cases], drawn, judged])


def _half_swept(folder: Path) -> None:
    """A claim whose owner was killed."""
    _file("cells", SWEEP, folder)
    rlbench(*_swept("sweep", "cells", folder), crash="done.json.create")


def _tuned(folder: Path) -> None:
    """All but the file of the winners."""
    _file("search", TUNING, folder)
    rlbench(*_swept("tune", "search", folder), crash="settings.toml.create")


RUNNING = Scene(_nothing, _run, lambda f: [*_run(f), "--resume"], _learned)
REPLACING = Scene(
    _a_run, lambda f: [*_run(f), "--overwrite"], lambda f: [*_run(f), "--overwrite"], _learned
)
RESUMING = Scene(_killed_run, _resume, _resume, _learned)
MENDING = Scene(partial(_killed_run, damaged=True), _resume, _resume, _learned)
SWEEPING = Scene(partial(_file, "cells", SWEEP), *[partial(_swept, "sweep", "cells")] * 2, _runs)
TAKING = Scene(_half_swept, *[partial(_swept, "sweep", "cells")] * 2, _runs)
TUNED = Scene(_tuned, *[partial(_swept, "tune", "search")] * 2, _runs)
REPORTING = Scene(_a_run, _report, _report, lambda f: repr(_contents(f / "report", "**/*")))
REPRODUCING = Scene(_nothing, _reproduce, _reproduce, _reproduced)
EXPORTING = Scene(_a_run, _export, _export, lambda f: repr(_contents(f / "export", "*")))


def scenes() -> list[tuple[Scene, str]]:
    """Every point with the scene in which it is passed; some in several, or for the n-th time."""
    of = {
        **dict.fromkeys(("sweep.json", "owner.json", "done.json"), SWEEPING),
        **{"settings.toml": TUNED, "report": REPORTING, "export": EXPORTING},
        **dict.fromkeys(("reproduction.json", "figure"), REPRODUCING),
        **{"run.replace": REPLACING, "run.make": REPLACING, "claim.made": SWEEPING},
        **{"claim.over": TAKING, "checkpoint.aside": MENDING},
        **{"resume.truncate": RESUMING, "resume.truncated": RESUMING},
    }
    firsts = [(of.get(p) or of.get(p.rpartition(".")[0]) or RUNNING, p) for p in sorted(POINTS)]
    final = [(RUNNING, f"status.json.{step}@2") for step in STEPS]
    later = [(RUNNING, f"{p}@3") for p in ("checkpoint.save", "checkpoint.saved", "metrics.write")]
    resumed = [
        (RESUMING, f"{file}.json.{step}") for file in ("status", "provenance") for step in STEPS
    ]
    return [*firsts, *later, *final, *resumed]


def points(folder: Path, quick: bool) -> Tally:
    """Kills a command at each of them, and gives it again.

    If it is to be quick, once each and where rows follow a checkpoint.
    """
    tally = Tally(
        "SIGKILL at a named crash point (run, resume, overwrite, sweep, tune, reproduce, report, "
        "export)"
    )
    jobs = scenes()[: len(POINTS) + 3] if quick else scenes()
    stage = Stage(folder, [scene for scene, _ in jobs])
    tries = [partial(stage.killed, scene, point, i) for i, (scene, point) in enumerate(jobs)]
    each(tally, tries, len(tries))
    return tally


class Stage:
    """Scenes with what there is before them, made once, and how they end undisturbed."""

    def __init__(self, folder: Path, scenes: list[Scene]) -> None:
        self.folder = folder
        self.before: dict[int, Path] = {}
        self.wanted: dict[int, str] = {}
        for scene in dict.fromkeys(scenes):
            before = folder / f"before-{len(self.before)}"
            scene.before(before)
            self.before[id(scene)] = before
            calm = self.copy(scene, folder / f"calm-{len(self.before)}")
            done = rlbench(*scene.argv(calm), cwd=calm)
            assert done.returncode == 0, done.stderr
            self.wanted[id(scene)] = scene.outcome(calm)

    def copy(self, scene: Scene, to: Path) -> Path:
        """What there is before, elsewhere."""
        shutil.copytree(self.before[id(scene)], to)
        return to

    def killed(self, scene: Scene, point: str, number: int) -> str:
        """Kills the scene at the point; what was lost."""
        here = self.copy(scene, self.folder / f"killed-{number}")
        done = rlbench(*scene.argv(here), crash=point, cwd=here)
        # A sweep lives on when a run of it is killed, and runs it again.
        if done.returncode != -9:
            return f"{point}: it was never passed: {done.stderr[-200:]}"
        return self.ends_well(scene, here, point)

    def refused(self, scene: Scene, point: str, code: str, number: int) -> str:
        """Has the disk refuse from the point on; what was lost."""
        here = self.copy(scene, self.folder / f"refused-{number}")
        done = rlbench(*scene.argv(here), crash=f"{point}={code}", cwd=here)
        if problem := told_badly(done, (0, 2, 3, 4)):
            return f"{point}={code}: {problem}"
        return self.ends_well(scene, here, f"{point}={code}")

    def ends_well(self, scene: Scene, here: Path, what: str) -> str:
        """Gives the command again, undisturbed."""
        runs = here / "out"
        if list(runs.glob("*/*/*/seed-*")) and (problem := sound(runs)) and scene is not MENDING:
            return f"{what}: {problem}"
        if scene.outcome(here) != self.wanted[id(scene)] or scene is REPLACING:
            done = rlbench(*scene.again(here), cwd=here)
            if problem := told_badly(done, (0,)):
                return f"{what}, then: {problem}"
        if scene.outcome(here) != self.wanted[id(scene)]:
            return f"{what}: another outcome: {scene.outcome(here)[:200]}"
        problem = sound(runs)
        shutil.rmtree(here, ignore_errors=True)
        return f"{what}: {problem}" if problem else ""
