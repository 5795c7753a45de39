"""Proves on real environments, through what users run, that speed changed nothing: the same bits on
1, 2 and 4 host devices and with packing on and off; no callback to Python inside an update; and
that what is known to deadlock does not hang.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench import registry
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.finite import update_function
from rlbench.meter import Compiled
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from rlbench.store import read_run
from tests.toy_envs import Drift

ROOT = Path(__file__).resolve().parents[1]


def run_cli(folder, *arguments, timeout=300):
    """A run in a process of its own, with the host devices that it asks for."""
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-m", "rlbench.run", "--out", str(folder), "--quiet", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return read_run(Path(done.stdout.strip()))


@pytest.mark.parametrize("algo", ["eggroll", pytest.param("open_es", marks=pytest.mark.slow)])
def test_one_two_and_four_host_devices_give_the_same_bits(algo, tmp_path):
    # Six queues of 32 pairs: they divide among 1 and 2 devices and not among 4.
    config = tmp_path / "small.toml"
    config.write_text("block_lanes = 8\nqueues = 6\neval_episodes = 8\nevaluations = 1\n")
    states, steps = set(), set()
    for devices in (1, 2, 4):
        record = run_cli(
            tmp_path / str(devices),
            *("--env", "cartpole", "--algo", algo, "--config", str(config)),
            *("--host-devices", str(devices), "--budget", "250_000"),
            *("--set", "pop_size=384", "--set", "hidden=[8]"),
        )
        assert record.provenance["hardware"]["device_count"] == devices
        states.add(record.status["state_sha256"])
        steps.add(record.status["simulated_env_steps"])
    assert len(states) == len(steps) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MuJoCo, within Brax
@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (Eggroll, "inverted_pendulum"),
        (OpenES, "cartpole"),
        pytest.param(Eggroll, "cartpole", marks=pytest.mark.slow),
        pytest.param(OpenES, "inverted_pendulum", marks=pytest.mark.slow),
    ],
)
def test_members_of_real_environments_score_the_same_bits_with_and_without_packing(name, algorithm):
    es = algorithm(pop_size=64, episode_steps=60, sigma=0.5)
    env = registry.make_env(registry.find_env(name))
    policy = MLPPolicy(env.spec, Network((8,), "tanh"))
    played = {}
    for packing in (True, False):
        task = Task(env, policy, Blocks(8, 2, packing=packing))
        state = es.init(task, run_streams(0))
        ids = jnp.arange(32).reshape(2, 16)

        def returns(state, task=task, ids=ids):
            sigma = jnp.float32(0.5)
            return task.blocks.map(lambda s, i: es._play(task, s, sigma, i, None), state, ids)

        played[packing] = jax.device_get(
            Compiled(returns, jax.device_put(state, task.blocks.replicated))(state)
        )
    assert np.sum(played[True].simulated) < np.sum(played[False].simulated)
    np.testing.assert_array_equal(played[True].lengths, played[False].lengths)
    np.testing.assert_array_equal(played[True].returns, played[False].returns)
    for a, b in zip(played[True].moments, played[False].moments, strict=True):
        np.testing.assert_array_equal(a, b)


def updated(es, blocks):
    env = Drift()
    task = Task(env, MLPPolicy(env.spec, Network((5,), "tanh")), blocks)
    state = jax.device_put(es.init(task, run_streams(0)), blocks.replicated)
    return Compiled(update_function(es, task), state), state


def test_psum_adds_the_same_numbers_in_another_order():
    # Three queues on two devices: one of them has a queue that must not count.
    es, blocks = Eggroll(60, optimizer="sgd", learning_rate=1.0), Blocks(4, 2, queues=3)
    assert blocks.split(30, 2)[0] == 3
    states = []
    for each in (blocks, replace(blocks, reduction="psum")):
        update, state = updated(es, each)
        states.append(jax.device_get(update(state)[0].params))
    moved = jax.tree.leaves(jax.device_get(state.params))
    for a, b, before in zip(*map(jax.tree.leaves, states), moved, strict=True):
        # Half a millionth of the step, which is about 1.
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
        assert np.max(np.abs(a - before)) > 1e-2


class Chatty(Eggroll):
    """Calls Python in every update."""

    def step(self, task, state):
        state, metrics = super().step(task, state)
        jax.debug.callback(lambda x: None, metrics["fitness_mean"])
        return state, metrics


def test_no_update_calls_back_into_python():
    for es in (Eggroll(8), OpenES(8)):
        update, _ = updated(es, Blocks(4, 2))
        assert "callback" not in update.program()
    assert "callback" in updated(Chatty(8), Blocks(4))[0].program()


@pytest.mark.slow
def test_what_deadlocks_two_host_devices_runs_by_default(tmp_path):
    config = tmp_path / "wide.toml"
    config.write_text("block_lanes = 256\neval_episodes = 1\nevaluations = 1\n")
    record = run_cli(
        tmp_path,
        *("--env", "ant@generalized", "--algo", "eggroll", "--config", str(config)),
        *("--set", "pop_size=512", "--set", "episode_steps=10", "--budget-seconds", "1"),
        timeout=1200,
    )
    assert record.status["status"] == "ok"
    assert record.provenance["hardware"]["device_count"] == 1
