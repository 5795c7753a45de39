"""Settings proposed by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms
for Hyper-Parameter Optimization"), one study an env and algo. Imports no jax.

The studies are in OUT/NAME/.sweep/trials.journal. Several processes may work on them: every look
at them, and every change, is made under one lock. A trial whose process died is run again, by the
next process that finds its claim dead.
"""

import hashlib
import json
import math
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from rlbench.errors import UsageError
from rlbench.sweep import claims, plan
from rlbench.sweep.board import ENDED
from rlbench.sweep.cells import Group, SweepFile
from rlbench.sweep.plan import Job
from rlbench.sweep.resolver import Resolver
from rlbench.tune.outcome import Trial, outcome
from rlbench.tune.search import MOST_REDRAWS

JOURNAL = "trials.journal"
THROWN_AWAY = "thrown_away"
"""Why a proposal is no trial: the budget cannot hold it, or it was tried before."""
STUBBORN = 20
"""Proposals in a row that are no trial, after which they are random."""
WORST = -math.inf
"""What a failed trial is told to be, and settings that the budget cannot hold: of what it is told
nothing, the sampler thinks well."""


class _Held:
    """The journal's own lock: ours is held already, and ends with its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def _distributions(group: Group) -> dict[str, BaseDistribution]:
    """As Optuna has them; choices as JSON, as it takes no lists."""
    assert group.space
    found: dict[str, BaseDistribution] = {}
    for name, given in group.space.distributions.items():
        if given.kind == "choice":
            found[name] = CategoricalDistribution([json.dumps(x) for x in given.values])
        else:
            low, high = given.values
            found[name] = FloatDistribution(low, high, log=given.kind == "log_uniform")
    return found


class Study:
    """The trials of one env and algo."""

    def __init__(self, group: Group, root: Path, storage: JournalStorage, ask: Resolver) -> None:
        """Takes OUT/NAME; the study is made, or found."""
        assert group.space
        self.group, self.wanted, self._root, self._ask = group, group.space.trials, root, ask
        self._distributions = _distributions(group)
        self._study = optuna.create_study(
            storage=storage,
            study_name=f"{group.env} {group.algo}",
            direction="maximize",
            load_if_exists=True,
        )

    def _all(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def counted(self) -> list[FrozenTrial]:
        """Those that are trials."""
        return [trial for trial in self._all() if THROWN_AWAY not in trial.user_attrs]

    def redrawn(self) -> int:
        """How many proposals the budget could not hold, or were tried before."""
        return len(self._all()) - len(self.counted())

    def _known(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        cells = self._cells(params)
        return self._ask([[*cell.flags, "--suite", self._root.name] for cell in cells])

    def _cells(self, params: dict[str, Any]) -> list[Any]:
        fixed = {name: values[0] for name, values in self.group.grid.items()}
        chosen = {k: json.loads(v) if isinstance(v, str) else v for k, v in params.items()}
        return [self.group.cell({**fixed, **chosen}, seed) for seed in self.group.seeds]

    def trial(self, found: FrozenTrial) -> Trial:
        """The trial, with its runs."""
        both = zip(self._cells(found.params), self._known(found.params), strict=True)
        jobs = tuple(plan.make_job(cell, self._root.name, known) for cell, known in both)
        return Trial(found.number, jobs)

    def propose(self) -> Trial | None:
        """The next trial; None if all that were asked for have begun.

        Raises:
            UsageError: hardly anything that is proposed can be tried.
        """
        if len(self.counted()) >= self.wanted:
            return None
        for again in range(MOST_REDRAWS):
            begun = self.counted()
            asked = self._next(at_random=again >= STUBBORN)
            wrong = next((k for k in self._known(asked.params) if "error" in k), None)
            if wrong and not wrong["over_budget"]:
                raise UsageError(f"{wrong['error']} (in {self.group.where})")
            twin = next((t for t in begun if t.params == asked.params), None)
            if not wrong and not twin:
                return self.trial(self._study.get_trials(deepcopy=False)[asked.number])
            asked.set_user_attr(THROWN_AWAY, "over budget" if wrong else "tried before")
            known = twin.value if twin and twin.state == TrialState.COMPLETE else WORST
            self._study.tell(asked.number, WORST if wrong else known)
        raise UsageError(
            f"{MOST_REDRAWS} proposals in a row for {self.group.algo} on {self.group.env} were "
            "tried before or need more than the budget; the space is too small for so many trials"
        )

    def _next(self, at_random: bool) -> optuna.Trial:
        # A sampler for every proposal: one that starts anew after a kill would begin with the same
        # random settings again.
        assert self.group.space
        number, name = len(self._all()), f"{self.group.env}\0{self.group.algo}"
        words = hashlib.sha256(name.encode()).digest()
        numbers = [self.group.space.seed, number, *np.frombuffer(words, np.uint32).tolist()]
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        kind = optuna.samplers.RandomSampler if at_random else optuna.samplers.TPESampler
        self._study.sampler = kind(seed=seed)
        return self._study.ask(self._distributions)

    def unsettled(self) -> list[Trial]:
        """Trials that have begun and whose score is not told."""
        return [self.trial(t) for t in self.counted() if t.state == TrialState.RUNNING]

    def settle(self, trial: Trial) -> None:
        """Tells the score of a trial, if its runs have ended."""
        ended = outcome(self._root, trial)
        if ended is not None:
            self._study.tell(trial.number, WORST if ended.score is None else ended.score)


class Proposals:
    """The jobs of a search, one after the other, for `rlbench.sweep.local.Workers`."""

    def __init__(self, file: SweepFile, root: Path, ask: Resolver) -> None:
        """Takes OUT/NAME, which is there."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder = root / claims.FOLDER
        folder.mkdir(exist_ok=True)
        self._thread_lock, self._file_lock = threading.RLock(), FileLock(folder / "trials.lock")
        self._waiting: deque[Job] = deque()
        self._handed: set[str] = set()
        with self._alone():
            _mend(folder / JOURNAL)
            backend = JournalFileBackend(str(folder / JOURNAL), lock_obj=cast(Any, _Held()))
            storage = JournalStorage(backend)
            self.studies = [Study(group, root, storage, ask) for group in file.groups]
            for study in self.studies:
                for trial in study.unsettled():
                    study.settle(trial)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._thread_lock, self._file_lock:
            yield

    def __iter__(self) -> Iterator[Job]:
        return self

    def __next__(self) -> Job:
        with self._alone():
            job = self._left_behind() or self._proposed()
        if job is None:
            raise StopIteration
        self._handed.add(job.id)
        return job

    def _left_behind(self) -> Job | None:
        """A run of a trial that has begun: whoever took it may be dead, which its claim tells."""
        if self._waiting:
            return self._waiting.popleft()
        for study in self.studies:
            for trial in study.unsettled():
                for job in trial.jobs:
                    if job.id not in self._handed:
                        return job
        return None

    def _proposed(self) -> Job | None:
        """The first run of a new trial, of the search that has begun the fewest."""
        for study in sorted(self.studies, key=lambda study: len(study.counted())):
            trial = study.propose()
            if trial:
                self._waiting.extend(trial.jobs[1:])
                return trial.jobs[0]
        return None

    def told(self, job: Job, what: str) -> None:
        """A run has ended."""
        if what not in ENDED:
            return
        with self._alone():
            for study in self.studies:
                if (study.group.env, study.group.algo) == (job.env, job.algo):
                    for trial in study.unsettled():
                        study.settle(trial)

    def trials(self, study: Study) -> list[Trial]:
        """All of a search that have begun."""
        with self._alone():
            return [study.trial(found) for found in study.counted()]


def _mend(path: Path) -> None:
    """Cuts a torn last line, to which Optuna would append another."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
