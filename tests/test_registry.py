"""The tables of environments and agents: names, and that reading them imports nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlbench.errors import UsageError
from rlbench.registry import (
    agent_entries,
    env_entries,
    find_agent,
    find_env,
    read_table,
    refused_envs,
    resolve,
)

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("jax", "numpy", "brax", "gymnax", "rlbench.envs.brax_adapter")


def test_ids_are_unique() -> None:
    ids = [entry.id for entry in env_entries()]
    assert len(set(ids)) == len(ids)


def test_no_name_means_two_environments() -> None:
    names = [name for entry in env_entries() for name in {entry.base, entry.alias}]
    refused = [name for id in refused_envs() for name in (id, id.partition("/")[2])]
    assert len({name.lower() for name in names + refused}) == len(names + refused)


def test_every_name_finds_its_entry() -> None:
    for entry in env_entries():
        assert find_env(entry.alias) == find_env(entry.base) == entry
        if entry.backend:
            assert find_env(entry.id) == entry


@pytest.mark.parametrize(
    ("name", "offer"),
    [("antt", "'ant'"), ("cartpol", "'cartpole'"), ("gymnax/cartpole-v1", "'gymnax/CartPole-v1'")],
)
def test_unknown_names_offer_near_ones(name: str, offer: str) -> None:
    with pytest.raises(UsageError, match=f"unknown env '{name}'; did you mean .*{offer}"):
        find_env(name)


def test_names_like_nothing_lead_to_the_list() -> None:
    with pytest.raises(UsageError, match=r"unknown env 'zzzzzz'; `rlbench list envs`"):
        find_env("zzzzzz")


@pytest.mark.parametrize("id", sorted(refused_envs()))
def test_refused_names_give_the_reason(id: str) -> None:
    alias = id.partition("/")[2]
    for name in (id, alias, alias.lower(), f"{id}@spring"):
        with pytest.raises(UsageError) as error:
            find_env(name)
        assert str(error.value) == f"env {id!r} cannot be used: {refused_envs()[id]}"


def test_a_suite_without_backends_refuses_one() -> None:
    with pytest.raises(UsageError, match="has no backends; leave out '@spring'"):
        find_env("cartpole@spring")


def test_another_backend_is_the_same_entry_otherwise() -> None:
    spring, mjx = find_env("hopper"), find_env("hopper@mjx")
    assert mjx.id == "brax/hopper@mjx"
    assert {**vars(mjx), "backend": "spring"} == vars(spring)


def test_only_accelerator_backends_are_backends() -> None:
    for entry in env_entries():
        assert set(entry.only_accelerator) <= set(entry.backends[1:])


def test_every_adapter_resolves() -> None:
    suites = read_table("rlbench.envs", "envs.toml")["suite"]
    for entry in env_entries():
        assert callable(resolve(suites[entry.suite]["adapter"]))
    assert set(suites) == {entry.suite for entry in env_entries()}


def test_agents_resolve_by_unique_names() -> None:
    for agent in agent_entries():
        assert find_agent(agent.name) is agent
        assert callable(resolve(agent.make))
    with pytest.raises(UsageError, match="unknown algo 'egroll'; did you mean 'eggroll'"):
        find_agent("egroll")


def test_looking_names_up_imports_nothing_heavy() -> None:
    code = (
        "import sys, rlbench.registry as r\n"
        "r.find_env('ant'), r.env_entries(), r.agent_entries()\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
