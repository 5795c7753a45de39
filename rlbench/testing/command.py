"""`rlbench check NAME`: the conformance suite from the command line."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from rich.console import Console

from rlbench import contract, options, plugins, registry
from rlbench.errors import UsageError
from rlbench.flags import parse_flags
from rlbench.testing.agents import AGENT_CHECKS, Agent
from rlbench.testing.envs import ENV_CHECKS, Environment
from rlbench.testing.probes import PROBES

WIDTH = 15


@dataclass(frozen=True)
class CheckOptions:
    """Hold agents and environments to the contract: `rlbench check NAME ...`.

    NAME is an agent or an environment (built in, of a plugin, or package.module:Class), or `agents`
    or `envs` for all of them. Exit status 0 if all checks pass, 3 if one fails.
    """

    env: Annotated[str, tyro.conf.arg(metavar="ENV")] = ""
    """Where agents are checked; two small environments of the suite if left out."""
    set: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")
    ] = ()
    """A setting of the agents: --set pop_size=32."""


Subject = tuple[str, Callable[[], Any], Sequence[Callable[[Any], None]]]
"""How it is called, how it is made, and the checks that it must pass."""


def subjects(name: str, asked: CheckOptions) -> Iterator[Subject]:
    """What a name stands for.

    Raises:
        UsageError: there is no such agent or environment.
    """
    if name == "agents":
        names = [e.name for e in registry.agent_entries()]
        for one in [*names, *(p.name for p in plugins.announced("agent"))]:
            yield from _agents(registry.find_agent(one), asked)
    elif name == "envs":
        names = [e.id for e in registry.env_entries()]
        for one in [*names, *(p.name for p in plugins.announced("env"))]:
            yield _env(registry.find_env(one))
    elif _is_env(name):
        yield _env(registry.find_env(name))
    else:
        yield from _agents(registry.find_agent(name), asked)


def _is_env(name: str) -> bool:
    if plugins.PATH.fullmatch(name):
        found = plugins.load(registry.find_agent(name).plugin)  # type: ignore[arg-type]
        return not hasattr(found, "act")
    try:
        registry.find_agent(name)
    except UsageError as no_agent:
        try:
            registry.find_env(name)
        except UsageError:
            raise UsageError(
                f"unknown agent or env {name!r}; {str(no_agent).partition('; ')[2]}"
            ) from None
        return True
    return False


def _agents(entry: registry.AgentEntry, asked: CheckOptions) -> Iterator[Subject]:
    who = str(entry.plugin) if entry.plugin else f"agent {entry.name!r}"
    envs = [contract.make_env(registry.find_env(asked.env))] if asked.env else PROBES
    settings = options.parse_assignments(asked.set)

    for env in envs:

        def make(env: Any = env) -> Agent:
            return Agent(contract.make_agent(entry, settings), env, who=who)

        yield f"{who} on {env.spec.id}", make, AGENT_CHECKS


def _env(entry: registry.EnvEntry) -> Subject:
    who = str(entry.plugin) if entry.plugin else f"env {entry.id!r}"
    return who, lambda: Environment(registry.make_env(entry), who), ENV_CHECKS


def examine(subject: Subject, console: Console) -> tuple[int, int]:
    """Runs the checks and prints a line for each; (how many passed, how many failed)."""
    title, make, checks = subject
    console.print(title, style="bold", markup=False)
    made: list[Any] = []
    passed = failed = 0
    for check in checks:
        about = (check.__doc__ or "").partition("\n")[0]
        try:
            with console.status(f"{check.__name__:{WIDTH}} {about}"):
                made = made or [make()]
                check(made[0])
        except contract.ContractError as error:
            failed += 1
            _line(console, "FAIL", check, str(error), error.details)
        except UsageError as refusal:
            _line(console, "skip", check, f"it refuses this: {refusal}", refusal.details)
            break
        except Exception as error:
            failed += 1
            told = plugins.broken(None, "raised", error)
            _line(console, "FAIL", check, str(told), told.details)
        else:
            passed += 1
            _line(console, "ok", check, about)
        if failed and check is checks[0]:
            console.print("  the other checks need this one to pass first", style="dim")
            break
    return passed, failed


def _line(
    console: Console, verdict: str, check: Callable[[Any], None], told: str, details: str = ""
) -> None:
    style = {"ok": "green", "FAIL": "bold red", "skip": "yellow"}[verdict]
    console.print(f"  {verdict:5}", style=style, end="")
    console.print(f"{check.__name__:{WIDTH}} {told}", markup=False, soft_wrap=True)
    if details:
        console.print(details, style="dim", markup=False, soft_wrap=True)


def check_command(argv: Sequence[str], prog: str) -> int:
    """`check NAME ...`; 0 if everything passed, 3 if not.

    Raises:
        UsageError: a name or a flag is wrong.
    """
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    asked = parse_flags(CheckOptions, argv[len(names) :], prog)
    if not names:
        raise UsageError(
            "say what to check: `rlbench check NAME`, an agent, an env, or package.module:Class"
        )
    options.set_up_jax({"device": "cpu"}, 1)
    console = Console(highlight=False)
    passed = failed = 0
    for name in names:
        for subject in subjects(name, asked):
            good, bad = examine(subject, console)
            passed, failed = passed + good, failed + bad
    if failed or not passed:
        console.print(f"{failed} of {passed + failed} checks failed", style="bold red")
        return 3
    console.print(f"all {passed} checks passed", style="bold green")
    return 0
