"""The command line: `rlbench run`, `list`, `show`, `check`, `export`, `play`, `render`, `bench`.

Exit codes: 0 done, 2 a mistake in what was asked for (nothing was written), 3 the run failed or
diverged, 4 it was interrupted, 5 what was checked is not as it should be.
"""

import errno
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import tyro

from rlbench.errors import RunError, UsageError, nearest
from rlbench.files import check_utf8
from rlbench.flags import flag, number, parse_flags, size, value_of
from rlbench.hosts.team import Alone, join
from rlbench.options import RunOptions, merge, resolve
from rlbench.registry import resolve as resolve_name

if TYPE_CHECKING:
    from rlbench.runner import Care

NO_PATH = {errno.ENAMETOOLONG: "a path is too long", errno.ELOOP: "links lead in a circle"}
"""What the system says of words that cannot be a path at all, whatever was to be done with it."""
PATH_LETTERS = 60
EXIT = {"ok": 0, "failed": 3, "diverged": 3, "skipped": 3, "interrupted": 4}
COMMANDS = {
    "run": "train one algorithm on one environment, and record the run",
    "resume": "resume RUN: go on with a run that was not finished",
    "list": "list envs | agents",
    "show": "show RUN: one run directory in the terminal",
    "sweep": "sweep FILE: many runs: resumable, on one machine or several",
    "tune": "tune FILE: search settings, the same trials for every algorithm; write the best",
    "report": "report RUNS... --out DIR: compare runs; tables, figures and a page",
    "compare": "compare RUNS_A RUNS_B: two sets of runs in the terminal",
    "check": "check NAME: hold an agent or an environment, yours too, to the contract",
    "export": "export RUN: its policy as safetensors with a card; --to tensorboard: its metrics",
    "play": "play RUN | EXPORT: complete episodes, in Gymnasium's version of the task or in ours",
    "render": "render RUN: one episode of its policy in motion, as gif, mp4 or html",
    "verify": "verify PATH...: whether run directories and sweeps are what was written",
    "doctor": "what this machine can do, and what is known to go wrong here, with remedies",
    "bench": "measure speed, start-up and memory, as ratios side by side",
    "reproduce": "reproduce NAME | all | list: the paper's claims: figure, data, verdict",
}

ELSEWHERE = {
    "report": "rlbench.analysis.report:report_command",
    "compare": "rlbench.analysis.compare:compare_command",
    "check": "rlbench.testing.command:check_command",
    "play": "rlbench.judge:play_command",
    "render": "rlbench.render:render_command",
    "sweep": "rlbench.sweep.command:sweep_command",
    "tune": "rlbench.tune.command:tune_command",
    "verify": "rlbench.verify.command:verify_command",
    "doctor": "rlbench.doctor.command:doctor_command",
    "bench": "rlbench.bench.options:bench_command",
    "reproduce": "rlbench.reproduce.command:reproduce_command",
}
"""Commands whose module is imported when one of them is called."""


def usage() -> str:
    """The top-level help."""
    lines = [f"  {name:9} {about}" for name, about in COMMANDS.items()]
    return "usage: rlbench COMMAND ...\n\n" + "\n".join(lines) + "\n\nrlbench run --help has more."


class StopOnSignal:
    """Notes the first SIGINT or SIGTERM; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        """Takes the signals over."""
        self.stopped = False
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write("\nstopping after this update; once more to stop at once\n")

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.stopped


def run_flags(argv: Sequence[str], prog: str) -> RunOptions:
    """The flags of `run`.

    Raises:
        UsageError: one is wrong.
    """
    try:
        return parse_flags(RunOptions, argv, prog)
    except SystemExit as end:
        from rlbench.help import show_settings

        algo = value_of(argv, "--algo")
        if end.code in (0, None) and algo:
            profile = value_of(argv, "--settings") or "laptop"
            show_settings(algo, value_of(argv, "--env"), profile)
        raise


def run_command(argv: Sequence[str], prog: str = "rlbench run") -> int:
    """Resolves, runs, summarises; `--algo ALGO --help` also shows the agent's settings."""
    options = run_flags(argv, prog)
    if options.hosts:
        merge(options)  # what can be told without the others is told before they are waited for
    team = join(options.hosts, options.host_index, options.quiet)
    try:
        return _run(options, shlex.join(["python", "-m", "rlbench.run", *argv]), team)
    except (RunError, UsageError, KeyboardInterrupt) as error:
        code = _tell(error)
        team.leave(code, str(error) or "interrupted")
        return code
    except Exception as error:  # ours to mend, and yet the other processes must not wait
        if team.count > 1:
            traceback.print_exc()
            team.leave(EXIT["failed"], f"{type(error).__name__}: {error}")
        raise


def _run(options: RunOptions, command: str, team: Alone, path: Path | None = None) -> int:
    """The run, in the directory that its configuration says unless another is given."""
    config = resolve(options, team.start_jax)
    team.same(config.to_json())
    from rlbench import runner, store
    from rlbench.analysis import summary
    from rlbench.display import Display
    from rlbench.prepare import prepare

    path, care = path or store.run_path(Path(options.out), config), _care(options)
    if team.index:
        prepared = prepare(config)
        runner.take_part(prepared, path, StopOnSignal(), team, care)
        return _took_part(options.quiet, team)
    store.check_writable(path, options.overwrite or options.resume, command)
    prepared = prepare(config)
    try:
        with Display(config, options.quiet) as display:
            record = runner.run(prepared, path, display.update, StopOnSignal(), team, care)
    except RunError as error:
        where = "" if str(path) in str(error) else f"; what there is is in {path}"
        raise RunError(f"{error}{where}", error.details) from None
    status = record.status["status"]
    if status == "skipped":
        print(f"rlbench: not begun: {record.status['reason']}", file=sys.stderr)
    if options.quiet:
        print(path)
    elif status != "skipped":
        summary.show(record)
    team.end(status, path)
    return EXIT[status]


def _care(options: RunOptions) -> "Care":
    from rlbench.runner import CHECKPOINT_SECONDS, Care

    every, limit = options.checkpoint_seconds, options.max_memory
    seconds = number(every, "--checkpoint-seconds") if every else CHECKPOINT_SECONDS
    if not seconds >= 0:
        raise UsageError(f"--checkpoint-seconds must not be negative, as {every} is")
    most = size(limit, "--max-memory") if limit else None
    return Care(options.resume, options.overwrite, seconds, most)


def _took_part(quiet: bool, team: Alone) -> int:
    status, path = team.outcome()
    if not quiet:
        print(f"process {team.index} of {team.count}: {status}; process 0 wrote {path}")
    return EXIT[status]


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a run that was not finished, from its last checkpoint, to the same bits."""

    run: Annotated[str, tyro.conf.Positional, flag("RUN", "required")] = ""
    """The run directory."""
    allow_code: Annotated[bool, flag("", "")] = False
    """Import the agent and environment of a run that names them as package.module:Class."""
    overwrite: Annotated[bool, flag("", "")] = False
    """Run it anew, and replace what is there, if it cannot be gone on with."""
    quiet: Annotated[bool, flag("", "")] = False
    """Print nothing but the path of the run directory."""


def resume_command(argv: Sequence[str], prog: str) -> int:
    """`resume RUN`."""
    given = parse_flags(ResumeOptions, argv, prog)
    if not given.run:
        raise UsageError("say which run directory: `rlbench resume RUN`")
    from rlbench import store

    path = Path(given.run)
    store.read_run(path)
    options = RunOptions(
        config=str(path / "config.json"),
        resume=True,
        overwrite=given.overwrite,
        allow_code=given.allow_code,
        quiet=given.quiet,
    )
    return _run(options, f"rlbench resume {given.run}", Alone(), path)


def list_command(argv: Sequence[str]) -> int:
    """`list envs` and `list agents`, without importing jax."""
    from rlbench.display import show_agents, show_envs

    kinds = {"envs": show_envs, "agents": show_agents}
    if len(argv) != 1 or argv[0] not in kinds:
        raise UsageError("say what to list: `rlbench list envs` or `rlbench list agents`")
    kinds[argv[0]]()
    return 0


def show_command(argv: Sequence[str]) -> int:
    """`show RUN`, without importing jax."""
    from rlbench import store
    from rlbench.analysis import summary

    if len(argv) != 1:
        raise UsageError("say which run directory: `rlbench show RUN`")
    record = store.read_run(Path(argv[0]))
    try:
        summary.show(record, whole=True)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise UsageError(f"{argv[0]} is damaged or of another version ({told})") from None
    return 0


def _to_tensorboard(run: Path, out: Path | None, overwrite: bool) -> str:
    from rlbench.analysis.tensorboard import export_tensorboard

    return export_tensorboard(run, out, overwrite)


def main(argv: Sequence[str] | None = None, prog: str = "rlbench") -> int:
    """Runs a command and returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        check_utf8(arguments)
        if not arguments or arguments[0] in ("-h", "--help"):
            print(usage())
            return 0
        command, rest = arguments[0], arguments[1:]
        if command == "run":
            return run_command(rest, f"{prog} run")
        if command == "resume":
            return resume_command(rest, f"{prog} resume")
        if command == "list":
            return list_command(rest)
        if command == "show":
            return show_command(rest)
        if command == "export":
            from rlbench.export import export_command

            return export_command(rest, f"{prog} export", {"tensorboard": _to_tensorboard})
        if command in ELSEWHERE:
            return int(resolve_name(ELSEWHERE[command])(rest, f"{prog} {command}"))
        raise UsageError(f"unknown command {command!r}; {nearest(command, COMMANDS)}")
    except (RunError, UsageError, KeyboardInterrupt) as error:
        return _tell(error)
    except OSError as error:
        if error.errno not in NO_PATH:
            raise
        name = str(error.filename)
        shown = name if len(name) <= PATH_LETTERS else f"{name[:PATH_LETTERS]}…"
        return _tell(UsageError(f"{NO_PATH[error.errno]}: {shown}; give another path"))


def _tell(error: BaseException) -> int:
    """Prints what ended a command; its exit status."""
    if isinstance(error, KeyboardInterrupt):
        print("rlbench: interrupted", file=sys.stderr)
        return EXIT["interrupted"]
    from rlbench.display import printable

    details = error.details.splitlines() if isinstance(error, RunError | UsageError) else []
    told = f"rlbench: {error}".splitlines()
    ran = isinstance(error, RunError)
    for line in (*details, *told) if ran else (*told, *details):
        # It may quote a file, and a terminal must not obey that.
        print(printable(line), file=sys.stderr)
    return EXIT["failed"] if ran else 2
