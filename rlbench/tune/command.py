"""`rlbench tune FILE`: the same search for every algorithm, and its winners as a settings file."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from rlbench import store
from rlbench.errors import UsageError, nearest
from rlbench.files import writing
from rlbench.flags import flag, parse_flags
from rlbench.sweep import board, plan
from rlbench.sweep.cells import SweepFile
from rlbench.sweep.claims import Claims
from rlbench.sweep.command import find_file
from rlbench.sweep.engines import check_engine, check_jobs, engine_of, work
from rlbench.sweep.plan import Job
from rlbench.sweep.resolver import Resolver
from rlbench.sweep.workers import Workers
from rlbench.tune import search
from rlbench.tune.outcome import Ended, Trial, outcome, ranked, show
from rlbench.tune.winners import write_winners

SAMPLERS = ("random", "tpe")
WINNERS = "settings.toml"


@dataclass(frozen=True)
class TuneOptions:
    """Search settings for every env and algo of a sweep file that draws them; write the best.

    Trials, seeds and env steps are the same for every algorithm. The same command goes on after
    any end; several of these processes may work on one --out.
    """

    file: Annotated[str, tyro.conf.Positional, flag("FILE", "required")] = ""
    """A TOML file whose cells have [cell.random], or the name of one that is shipped."""
    sampler: Annotated[str, flag("random|tpe", "default: random")] = "random"
    """How trials are chosen: at random, as the paper does, or by Optuna's TPE (the extra tune)."""
    jobs: Annotated[str, flag("INT", "default: one a core")] = ""
    """Runs at a time, each on its share of the cores."""
    engine: Annotated[str, flag("local|ray", "default: local")] = ""
    """Where runs are made, as for `rlbench sweep`."""
    address: Annotated[str, flag("ADDR", "default: RAY_ADDRESS, else a new one here")] = ""
    """With --engine ray: the cluster."""
    out: Annotated[str, flag("DIR", "default: results")] = "results"
    """Directory for run directories; the search's are below its name."""
    dry_run: Annotated[bool, flag("", "")] = False
    """Show the plan and how long it may take, and write nothing."""
    amend: Annotated[bool, flag("", "")] = False
    """Go on although the file says something else than when the search began."""


def tune_command(argv: Sequence[str], prog: str) -> int:
    """`tune`: searches what is left, and writes the winners when nothing is."""
    options = parse_flags(TuneOptions, argv, prog)
    if not options.file:
        raise UsageError("say which file to search: `rlbench tune FILE`, such as paper_tuning")
    if options.sampler not in SAMPLERS:
        raise UsageError(
            f"unknown sampler {options.sampler!r}; {nearest(options.sampler, SAMPLERS)}"
        )
    if options.sampler == "tpe" and find_spec("optuna") is None:
        raise UsageError("--sampler tpe needs Optuna: pip install 'rlbench[tune]'")
    file = find_file(options.file)
    store.check_name(file.name, "the sweep file's name")
    search.check_fair(file)
    check_engine(options.engine, options.address)
    check_jobs(options.engine, options.jobs)
    root = Path(options.out) / file.name
    store.check_writable(root, True, "")
    with Resolver() as ask:
        if options.sampler == "random":
            return _random(options, file, root, ask)
        return _tpe(options, file, root, ask)


def _random(options: TuneOptions, file: SweepFile, root: Path, ask: Resolver) -> int:
    sweep, jobs, redrawn = search.draw(file, ask)
    search.check_budgets(jobs)
    with engine_of(options.engine, options.address, options.jobs, jobs) as engine:
        states = Claims.look(root, [job.id for job in jobs])
        board.show_plan(jobs, states, engine.at_once)
        _tell_redrawn(redrawn)
        if options.dry_run:
            return 0
        plan.record(root, sweep.about, plan.told(jobs), options.amend)
        with Claims(root) as claims, board.Board(jobs, states, engine.at_once) as shown:
            stopped = work(Workers(root, jobs, claims, engine, shown.tell))
    by_trial: dict[tuple[str, str], dict[int, list[Job]]] = defaultdict(lambda: defaultdict(list))
    for cell, job in zip(sweep.cells, jobs, strict=True):
        by_trial[job.env, job.algo][cell.trial or 0].append(job)
    trials = {
        key: [Trial(n, tuple(jobs)) for n, jobs in found.items()] for key, found in by_trial.items()
    }
    return _end(file, root, "random", trials, redrawn, stopped)


def _tell_redrawn(redrawn: dict[str, int]) -> None:
    for name, count in redrawn.items():
        print(f"{name}: {count} draws that the budget cannot hold were drawn again")


def _tpe(options: TuneOptions, file: SweepFile, root: Path, ask: Resolver) -> int:
    from rlbench.tune.tpe import Proposals

    like = search.draw(search.shortened(file), ask)[1]
    search.check_budgets(like)
    if options.dry_run:
        for group in file.groups:
            print(f"{group.algo} on {group.env}: {search.described(group)}")
        return 0
    cells = {f"{g.env} {g.algo}": f"tpe, {search.described(g)}" for g in file.groups}
    total = sum(group.space.trials * len(group.seeds) for group in file.groups if group.space)
    with engine_of(options.engine, options.address, options.jobs, like) as engine:
        plan.record(root, file.about, cells, options.amend)
        proposals = Proposals(file, root, ask)
        begun = [job for s in proposals.studies for t in proposals.trials(s) for job in t.jobs]
        states = Claims.look(root, [job.id for job in begun])
        with Claims(root) as claims, board.Board(begun, states, engine.at_once, total) as shown:

            def tell(job: Job, what: str) -> None:
                shown.tell(job, what)
                proposals.told(job, what)

            stopped = work(Workers(root, proposals, claims, engine, tell))
    trials = {(s.group.env, s.group.algo): proposals.trials(s) for s in proposals.studies}
    redrawn = {f"{s.group.env} {s.group.algo}": s.redrawn() for s in proposals.studies}
    return _end(file, root, "tpe", trials, redrawn, stopped)


def _end(
    file: SweepFile,
    root: Path,
    sampler: str,
    trials: Mapping[tuple[str, str], Sequence[Trial]],
    redrawn: Mapping[str, int],
    stopped: bool,
) -> int:
    """Shows what was found, and writes the winners if nothing is left."""
    searches, left = [], 0
    for group in file.groups:
        assert group.space
        found = [outcome(root, trial) for trial in trials[group.env, group.algo]]
        over = tuple(x for x in found if x is not None)
        left += group.space.trials - len(over)
        names, again = tuple(group.space.distributions), redrawn.get(f"{group.env} {group.algo}", 0)
        searches.append(Ended(group.env, group.algo, names, over, again))
    show(searches)
    if left:
        print(f"{left:,} trials are left; the same command goes on with them")
        return 4 if stopped else 0
    none = [f"{one.algo} on {one.env}" for one in searches if not ranked(one.outcomes)]
    with writing(root / WINNERS):
        write_winners(root / WINNERS, root, sampler, searches)
    if none:
        print(f"no trial ended well, so there are no settings, for {', '.join(none)}")
    print(
        f"to report them, on other seeds: rlbench run --env … --algo … --settings {root / WINNERS}"
    )
    print(f"written to {root / WINNERS}")
    return 3 if none else 0
