"""An exported policy acts as the algorithm did, with NumPy alone, and a damaged one is refused."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save

from rlbench.agents.eggroll import Eggroll
from rlbench.agents.ppo import PPO
from rlbench.agents.random_policy import RandomPolicy
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.card import FinalReturn
from rlbench.config import RunConfig
from rlbench.env import Box, Discrete, EnvSpec
from rlbench.errors import UsageError
from rlbench.export import export_state, write_export
from rlbench.exported import read_export
from rlbench.network import Network
from rlbench.normalizer import Moments
from rlbench.policy import MLPPolicy
from rlbench.prepare import Prepared
from rlbench.seeding import run_streams
from tests.toy_envs import Drift, Match, quick

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Codes(Match):
    """Integer observations, more of them than actions."""

    spec = EnvSpec("toy/codes", Discrete(7), Discrete(3), 1)
    discrete: bool = True


ENVS = {
    "box": Drift(),  # two dimensions with bounds of their own
    "discrete": Drift(Discrete(3)),
    "wide": Drift(Box((-2.0,), (2.0,)), pushes=()),
    "one-hot": Codes(),
}
NETWORKS = {
    "pqn": Network((16, 8), "pqn"),
    "tanh": Network((8,), "tanh"),
    "relu": Network((8, 8, 8), "relu"),
    "linear": Network((), "tanh"),
}


def trained(algorithm, env, network, seen=True):
    """A plan, and a state as after training: no zeros, and moments of what was seen."""
    config = RunConfig("toy/env", "toy", network=network, budget_env_steps=1)
    task = Task(env, MLPPolicy(env.spec, network), Blocks(4, 1))
    state = algorithm.init(task, run_streams(0))
    keys = iter(jax.random.split(jax.random.key(1), 100))
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), state.params)
    size = state.moments.mean.shape
    moments = Moments(
        jnp.float32(50.0 if seen else 0.0),
        jax.random.normal(next(keys), size),
        50.0 * jax.random.uniform(next(keys), size) ** 2,
    )
    return Prepared(config, algorithm, task), state._replace(params=params, moments=moments)


def exported(plan, state, **card):
    final = FinalReturn(1.0, 0.5, 8)
    given = {"trained": {}, "provenance": {}, "state_sha256": "0"} | card
    return export_state(plan, state, final_return=final, **given)


def some_observations(env, n=2000):
    rng = np.random.default_rng(2)
    if isinstance(env.spec.observation, Discrete):
        return rng.integers(0, env.spec.observation.n, n).astype(np.int32)
    scale = 10.0 ** rng.uniform(-2, 1, (n, 1))  # far enough to be clipped
    return (scale * rng.normal(size=(n, env.spec.observation.size))).astype(np.float32)


def agent_of(name, on):
    if name == "ppo":
        return PPO(num_envs=2, num_steps=4, num_minibatches=2, normalize_observations=on)
    return Eggroll(pop_size=4, normalize_observations=on)


CASES = [("eggroll", network, env) for network in NETWORKS for env in ("box", "discrete")]
CASES += [("eggroll", "tanh", "wide"), ("eggroll", "tanh", "one-hot")]
CASES += [("ppo", "tanh", env) for env in ENVS]


@pytest.mark.parametrize("on", [True, False], ids=["normalised", "raw"])
@pytest.mark.parametrize(("agent", "network", "env"), CASES)
def test_it_acts_as_the_algorithm_does(agent, network, env, on):
    env, algorithm = ENVS[env], agent_of(agent, on)
    plan, state = trained(algorithm, env, NETWORKS[network])
    policy = exported(plan, state)
    integers = isinstance(env.spec.observation, Discrete)
    assert (policy.card.observation_clip is not None) == (on and not integers)
    obs = some_observations(env)
    act = quick(jax.vmap(lambda o: algorithm.act(plan.task, state, o, jax.random.key(0))))
    theirs, ours, out = np.asarray(act(obs)), policy.act(obs), policy.output(obs)
    assert ours.shape == theirs.shape
    if isinstance(env.spec.action, Box):
        # In float32: a large observation's error is larger, in a mean that it does not saturate.
        size = np.maximum(1.0, np.abs(obs).max(axis=-1, keepdims=True))
        assert (np.abs(ours - theirs) <= 1e-5 * size).all() and np.mean(size == 1.0) > 0.5
        assert ours.dtype == np.float32
    else:
        top = np.sort(out, axis=-1)
        clear = top[:, -1] - top[:, -2] > 1e-4
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(ours[clear], theirs[clear])
    np.testing.assert_allclose(policy.output(obs[3]), out[3], atol=1e-5)
    assert policy.act(obs[0]).shape == theirs.shape[1:]


def test_before_anything_was_seen_observations_are_only_clipped():
    plan, state = trained(Eggroll(pop_size=4), ENVS["box"], NETWORKS["linear"], seen=False)
    policy = exported(plan, state)
    w, b = (policy.tensors[f"layers.0.{k}"] for k in "wb")
    np.testing.assert_allclose(
        policy.output(np.array([3.0, -50.0])), w @ [3.0, -10.0] + b, rtol=1e-5
    )


def test_actions_stay_in_their_box_and_reach_its_corners():
    plan, state = trained(Eggroll(pop_size=4), ENVS["box"], NETWORKS["linear"])
    acted = exported(plan, state).act(some_observations(ENVS["box"]))
    np.testing.assert_array_equal(acted.min(axis=0), ENVS["box"].spec.action.low)
    np.testing.assert_array_equal(acted.max(axis=0), ENVS["box"].spec.action.high)


def test_the_first_of_equal_logits_wins():
    plan, state = trained(Eggroll(pop_size=4), ENVS["discrete"], NETWORKS["linear"])
    state = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
    assert exported(plan, state).act(np.ones(2)) == 0


def test_an_agent_without_the_shared_network_has_nothing_to_export():
    plan, _ = trained(Eggroll(pop_size=4), ENVS["box"], NETWORKS["linear"])
    plan = replace(plan, algorithm=RandomPolicy(2), config=replace(plan.config, algo="random"))
    with pytest.raises(UsageError, match=r"'random' does not play with the shared"):
        exported(plan, None)


@pytest.fixture
def folder(tmp_path):
    plan, state = trained(Eggroll(pop_size=4), ENVS["box"], NETWORKS["pqn"])
    policy = exported(plan, state, trained={"updates": 3}, provenance={"commit": None})
    write_export(policy, tmp_path / "out")
    return tmp_path / "out", policy


def test_what_is_written_is_what_is_read(folder):
    path, policy = folder
    again = read_export(path)
    assert again.card == replace(policy.card, network=again.card.network)
    assert str(again.card.network) == "16-8 pqn"
    assert set(again.tensors) == set(policy.tensors)
    for name, x in policy.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], x)
    assert {p.name for p in path.iterdir()} == {"policy.json", "policy.safetensors"}


def test_reading_and_playing_needs_no_jax(folder):
    code = (
        "import sys, numpy as np; from pathlib import Path; "
        "from rlbench.exported import read_export; "
        "print(read_export(Path(sys.argv[1])).act(np.array([0.3, -0.2])).tolist()); "
        "assert not {'jax', 'brax', 'gymnax', 'optax'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder[0])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == folder[1].act(np.array([0.3, -0.2])).tolist()


def test_a_flipped_bit_is_noticed(folder):
    file = folder[0] / "policy.safetensors"
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match="sha256 is another"):
        read_export(folder[0])


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_a_missing_file_is_told(folder, name):
    (folder[0] / name).unlink()
    with pytest.raises(UsageError, match=f"cannot read .*{name}"):
        read_export(folder[0])


def test_a_file_too_large_for_its_card_is_not_read(folder):
    with (folder[0] / "policy.safetensors").open("ab") as f:
        f.truncate(1 << 24)
    with pytest.raises(UsageError, match="larger than"):
        read_export(folder[0])


CARDS = {
    "not valid JSON": lambda c: "{",
    "not a card of schema 1": lambda c: "[]",
    "is not a card of schema": lambda c: c | {"schema": 2},
    "'network' is missing": lambda c: {k: v for k, v in c.items() if k != "network"},
    "'std' is missing": lambda c: c | {"final_return": {"mean": 1.0}},
    "unknown key of": lambda c: c | {"pickle": "x"},
    "unknown activation 'tan'": lambda c: c | {"network": {"hidden": [16, 8], "activation": "tan"}},
    "must be an integer": lambda c: c | {"seed": "0"},
    "at least 1, not 0": lambda c: c | {"observation": {"kind": "vector", "size": 0}},
    "needs 2 finite bounds": lambda c: c | {"action": {"kind": "box", "size": 2, "low": [0, 0]}},
    "observations are a vector or discrete": lambda c: c | {"observation": c["action"]},
    "observation_clip must be positive": lambda c: c | {"observation_clip": -1.0},
    "no evaluation has": lambda c: c | {"final_return": {"mean": 1.0, "std": 1.0, "episodes": 0}},
    "'layers.0.w' must be float32 of shape (16, 3)": lambda c: (
        c | {"observation": {"kind": "vector", "size": 3}}
    ),
    "lacks the array 'layers.3.b'": lambda c: (
        c | {"network": {"hidden": [16, 8, 8], "activation": "pqn"}}
    ),
    "no place for the array 'normalizer.mean'": lambda c: c | {"observation_clip": None},
}


@pytest.mark.parametrize("message", CARDS)
def test_a_wrong_card_is_refused(folder, message):
    file = folder[0] / "policy.json"
    changed = CARDS[message](json.loads(file.read_text()))
    file.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(UsageError) as error:
        read_export(folder[0])
    assert message in str(error.value)


ARRAYS = {
    "holds NaN": lambda x: np.where(x == x.max(), np.nan, x),
    "not float64": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("message", ARRAYS)
def test_arrays_that_no_policy_has_are_refused_though_the_card_names_them(folder, message):
    path = folder[0]
    tensors = load_file(path / "policy.safetensors")
    tensors["layers.0.w"] = ARRAYS[message](tensors["layers.0.w"])
    (path / "policy.safetensors").write_bytes(save(tensors))
    card = json.loads((path / "policy.json").read_text())
    card["weights_sha256"] = hashlib.sha256(save(tensors)).hexdigest()
    (path / "policy.json").write_text(json.dumps(card))
    with pytest.raises(UsageError, match=message):
        read_export(path)


def test_a_file_that_is_no_safetensors_is_refused_though_the_card_names_it(folder):
    path = folder[0]
    (path / "policy.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    card = json.loads((path / "policy.json").read_text())
    card["weights_sha256"] = hashlib.sha256(b"\x80\x04K\x01.").hexdigest()
    (path / "policy.json").write_text(json.dumps(card))
    with pytest.raises(UsageError, match="is not a safetensors file"):
        read_export(path)
