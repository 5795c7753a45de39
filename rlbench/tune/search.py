"""What is searched for, and that every algorithm is given the same. Imports no jax.

A search is a sweep file whose cells draw settings (`[cell.random]`, `[algo.NAME.random]`).
"""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from rlbench.errors import UsageError
from rlbench.network import Network
from rlbench.sweep import plan
from rlbench.sweep.cells import Group, Sweep, SweepFile, expand
from rlbench.sweep.plan import Job
from rlbench.sweep.resolver import Resolver

MOST_REDRAWS = 100
"""Of one trial, or of all trials of a search of which none fits: more would be a budget that holds
hardly anything of the space."""


def check_fair(file: SweepFile) -> None:
    """Refuses a search that does not treat every algorithm alike.

    Raises:
        UsageError: a cell searches for nothing or for more than the space; or trials or seeds
            differ between algorithms.
    """
    first: dict[str, Group] = {}
    seen: set[tuple[str, str]] = set()
    for group in file.groups:
        if group.space is None:
            raise UsageError(
                f"{group.where} searches for nothing; give it [cell.random] or "
                f"[algo.{group.algo}.random], or run it with `rlbench sweep`"
            )
        if (group.env, group.algo) in seen:
            raise UsageError(f"{file.name} searches twice for {group.algo} on {group.env}")
        seen.add((group.env, group.algo))
        _check_space(group)
        other = first.setdefault(group.env, group)
        assert other.space
        for what, mine, theirs in (
            ("trials", group.space.trials, other.space.trials),
            ("seeds", list(group.seeds), list(other.seeds)),
        ):
            if mine != theirs:
                raise UsageError(
                    f"on {group.env} {group.algo} has {what} {mine} and {other.algo} {theirs}; "
                    "every algorithm must have the same"
                )


def _check_space(group: Group) -> None:
    assert group.space
    for name, values in group.grid.items():
        if len(values) > 1:
            raise UsageError(
                f"{name!r} of {group.where} is a grid; a search draws it in `random`, or sets it"
            )
    for field in fields(Network):
        if field.name in group.space.distributions:
            raise UsageError(
                f"{field.name!r} of {group.where} is the policy network's, which all algorithms "
                "of a comparison share; set it instead"
            )


def check_budgets(jobs: Sequence[Job]) -> None:
    """Refuses trials of unequal length.

    Raises:
        UsageError: a budget in seconds, or algorithms with different ones on an environment.
    """
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(job.env, job)
        if job.budget_env_steps is None or job.budget_seconds is not None:
            raise UsageError(
                f"{job.algo} on {job.env} has a budget in seconds; a search needs one in env "
                "steps, as every algorithm must have the same"
            )
        if job.budget_env_steps != other.budget_env_steps:
            raise UsageError(
                f"on {job.env} {job.algo} has a budget of {job.budget_env_steps:,} env steps and "
                f"{other.algo} of {other.budget_env_steps:,}; every algorithm must have the same"
            )


def draw(file: SweepFile, ask: Resolver) -> tuple[Sweep, tuple[Job, ...], dict[str, int]]:
    """Random settings for every trial; those that the budget cannot hold are drawn again.

    Args:
        file: what is searched.
        ask: knows what a budget holds.

    Returns:
        The cells, the same ready to run, and by "ENV ALGO" how many draws were thrown away.

    Raises:
        UsageError: nothing that was drawn fits the budget, or a cell cannot be.
    """
    redrawn: dict[tuple[str, str, int], int] = {}
    while True:
        sweep = expand(file, redrawn)
        found = plan.resolve(sweep, ask)
        over, fits = dict[tuple[str, str, int], str](), set[tuple[str, str]]()
        for cell, known in zip(sweep.cells, found, strict=True):
            if known.get("over_budget"):
                over[cell.env, cell.algo, cell.trial or 0] = known["error"]
            else:
                fits.add((cell.env, cell.algo))
        if not over:
            return sweep, plan.make_jobs(sweep, found), _by_search(redrawn)
        for key in over:
            redrawn[key] = redrawn.get(key, 0) + 1
        counts = _by_search(redrawn)
        for (env, algo, trial), error in over.items():
            in_vain = 0 if (env, algo) in fits else counts[f"{env} {algo}"]
            if max(redrawn[env, algo, trial], in_vain) > MOST_REDRAWS:
                raise UsageError(f"{error} (as did {MOST_REDRAWS} draws for {algo} on {env})")


def _by_search(redrawn: dict[tuple[str, str, int], int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (env, algo, _), times in redrawn.items():
        counts[f"{env} {algo}"] = counts.get(f"{env} {algo}", 0) + times
    return counts


def shortened(file: SweepFile) -> SweepFile:
    """The same with one trial of one seed for every env and algo."""
    return replace(file, groups=tuple(_one(group) for group in file.groups))


def _one(group: Group) -> Group:
    assert group.space
    return replace(group, seeds=group.seeds[:1], space=replace(group.space, trials=1))


def described(group: Group) -> str:
    """A group's search in words that change when it does."""
    assert group.space
    told: dict[str, Any] = {k: [d.kind, *d.values] for k, d in group.space.distributions.items()}
    words = [*group.flags, json.dumps(dict(group.grid)), json.dumps(told)]
    numbers = f"{group.space.trials} trials, seed {group.space.seed}, run seeds {group.seeds}"
    return f"{numbers}: {' '.join(words)}"
