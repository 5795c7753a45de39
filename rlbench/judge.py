"""`rlbench play`: an exported policy in another library's version of its task, or in ours, and
whether it scores there what its run says.

Exit status 0 says that it played; whether the two agree is for the reader, as one comparison of
twenty of equals is outside its 95 % interval.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import tyro

from rlbench import files, registry, store
from rlbench.comparison import Sample, agree, interval_of_difference, interval_of_mean, sample
from rlbench.errors import UsageError
from rlbench.exported import ExportedPolicy, is_export, read_export
from rlbench.flags import flag, parse_flags, whole
from rlbench.options import check_device, refuse_code, set_up_jax
from rlbench.stages import Stages
from rlbench.verdict import Verdict, show, to_json


@dataclass(frozen=True)
class PlayOptions:
    """Play complete episodes with a run's final policy, and hold its score against the run's."""

    run: Annotated[str, tyro.conf.Positional, flag("RUN", "required")] = ""
    """A run directory, or an export."""
    env: Annotated[str, flag("ENV", "default: the policy's own")] = ""
    """Where: one of `rlbench list envs`, or Gymnasium's own, such as gymnasium/CartPole-v1."""
    episodes: Annotated[str, flag("INT", "default: 100")] = "100"
    """Complete episodes."""
    seed: Annotated[str, flag("INT", "default: 0")] = "0"
    """Of the first start state; never one of the run's evaluation."""
    out: Annotated[str, flag("FILE", "default: none")] = ""
    """JSON file for every episode's return and the comparison."""
    overwrite: Annotated[bool, flag("", "")] = False
    """Replace that file."""
    allow_code: Annotated[bool, flag("", "")] = False
    """Import the agent and environment of a run that names them as package.module:Class."""


class Judge(Protocol):
    """Another library's version of a task."""

    id: str
    library: str
    max_steps: int | None

    def play(
        self, episodes: int, seed: int, tell: Callable[[int, int], None]
    ) -> tuple[list[float], list[int]]:
        """Undiscounted returns and lengths of complete episodes."""
        ...


def play_command(argv: Sequence[str], prog: str) -> int:
    """`play`: plays, compares, shows."""
    options = parse_flags(PlayOptions, argv, prog)
    if not options.run:
        raise UsageError("say which run directory or export: `rlbench play RUN`")
    episodes, seed = whole(options.episodes, "--episodes"), whole(options.seed, "--seed")
    if episodes < 1:
        raise UsageError(f"--episodes must be at least 1, not {episodes}")
    if not 0 <= seed < 2**31:
        raise UsageError(f"--seed must be an integer from 0 to 2^31 - 1, not {seed}")
    out = _checked_out(options)
    policy = read_policy(Path(options.run), options.allow_code)
    if not options.env and not options.allow_code:
        refuse_code([policy.card.env], options.run)
    verdict = hear(policy, options.env or policy.card.env, episodes, seed)
    show(policy.card, verdict)
    if out:
        text = files.to_json(to_json(policy.card, verdict), indent=2) + "\n"
        with files.writing(out):
            files.replace_file(out, text.encode(), "report")
        print(f"written to {out}")
    return 0


def _checked_out(options: PlayOptions) -> Path | None:
    if not options.out:
        return None
    out = Path(options.out)
    if out.is_dir():
        raise UsageError(f"{out} is a folder; --out takes a file")
    if out.exists() and not options.overwrite:
        raise UsageError(f"{out} exists; --overwrite replaces it")
    if not out.parent.exists():
        raise UsageError(f"cannot write to {out}: there is no folder {out.parent}")
    store.check_writable(out.parent, True, "")
    return out


def read_policy(path: Path, allow_code: bool = False) -> ExportedPolicy:
    """The policy of an export, or of a run directory (which takes jax).

    Raises:
        UsageError: it is neither, or damaged.
    """
    if is_export(path):
        return read_export(path)
    if not (path / "config.json").exists():
        raise UsageError(f"{path} is neither a run directory nor an export of one")
    from rlbench.export import export_run

    return export_run(path, allow_code)


def hear(policy: ExportedPolicy, env: str, episodes: int, seed: int) -> Verdict:
    """Plays in one environment, and compares with the run's final evaluation.

    Args:
        policy: who plays.
        env: an environment of ours, or `<judge>/<its name>`.
        episodes: complete ones.
        seed: of the first.

    Raises:
        UsageError: no such environment, or its spaces are not the policy's.
    """
    final = policy.card.final_return
    run = Sample(final.mean, final.std, final.episodes)
    judge, notes = find_judge(policy, env)
    stages, start = Stages(), time.monotonic()

    def tell(done: int, steps: int) -> None:
        stages.tell(*(("playing", done, episodes, "episodes") if steps else ("compiling",)))

    with stages.shown():
        returns, lengths = judge.play(episodes, seed, tell)
    seconds = time.monotonic() - start
    played = sample(returns)
    return Verdict(
        env=judge.id,
        library=judge.library,
        seed=seed,
        returns=returns,
        lengths=lengths,
        seconds=seconds,
        played=played,
        played_interval=interval_of_mean(played),
        run=run,
        run_interval=interval_of_mean(run),
        difference=played.mean - run.mean,
        difference_interval=interval_of_difference(played, run),
        agree=agree(played, run),
        notes=notes,
    )


def find_judge(policy: ExportedPolicy, env: str) -> tuple[Judge, list[str]]:
    """Where it is played, and how that is known to differ from where it was trained.

    Raises:
        UsageError: no such environment, or its spaces are not the policy's.
    """
    table, card = registry.read_table("rlbench.envs", "judges.toml"), policy.card
    library, _, name = env.partition("/")
    judge: Judge
    if library in table["judge"]:
        judge = registry.resolve(table["judge"][library]["make"])(name, policy)
    else:
        entry = registry.find_env(env)
        check_device(entry, set_up_jax({}, entry.host_devices))
        from rlbench.replay import Replay

        judge = Replay(policy, entry)
    pair = (card.env, judge.id)
    notes = [row["note"] for row in table["differs"] if (row["env"], row["judge"]) == pair]
    if judge.max_steps != card.max_steps:
        notes.append(
            f"an episode has at most {judge.max_steps} env steps in {judge.id}, and "
            f"{card.max_steps} in {card.env}"
        )
    return judge, notes
