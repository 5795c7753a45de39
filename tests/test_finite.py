"""Nothing is masked: NaN and infinity end a run as diverged, and it says where they appeared."""

import csv
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from rlbench import runner
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.agents.ppo import PPO
from rlbench.agents.snes import SNES
from rlbench.arrays import state_hash
from rlbench.cli import main
from rlbench.env import Discrete, EnvSpec, TimeStep, Vector
from rlbench.seeding import evaluation_keys, run_streams
from rlbench.state import state_arrays
from rlbench.store import read_run
from tests.test_runner import prepared
from tests.toy_envs import quick

NAN, INF = float("nan"), float("inf")


class FaultyState(NamedTuple):
    t: Array
    length: Array
    faulty: Array


@dataclass(frozen=True)
class Faulty:
    """Ends after 3 to 5 steps, and pays for one of two actions. In one of 40 episodes, something is
    added to what the third action is chosen by, or to what it is paid; and `idle` to what an
    episode shows and pays after its end.
    """

    seen: float = 0.0
    paid: float = 0.0
    idle: float = NAN
    spec = EnvSpec("toy/faulty", Vector(2), Discrete(2), 5)

    def reset(self, key):
        length = jax.random.randint(key, (), 3, 6)
        faulty = jax.random.randint(jax.random.fold_in(key, 1), (), 0, 40) == 0
        state = FaultyState(jnp.zeros((), jnp.int32), length, faulty)
        return state, self._show(state)

    def step(self, key, state, action):
        over = state.t >= state.length
        pays = 1.0 + 0.5 * action * (state.t % 2) + self._fault(state, self.paid)
        new = state._replace(t=state.t + 1)
        return new, TimeStep(
            obs=self._show(new) + jnp.where(over, self.idle, 0.0),
            reward=pays + jnp.where(over, self.idle, 0.0),
            terminated=(new.t >= state.length) & ~over,
            truncated=jnp.array(False),
        )

    def _fault(self, state, value):
        return jnp.where(state.faulty & (state.t == 2), value, 0.0)

    def _show(self, state):
        shown = jnp.stack([state.t, state.length]).astype(jnp.float32)
        return shown + self._fault(state, self.seen)


ES = {"pop_size": 8, "sigma": 0.5}
BLIND = {**ES, "normalize_observations": False}
ACTOR = PPO(num_envs=4, num_steps=8, num_epochs=1, num_minibatches=2)
FITNESS = "the fitness (fitness_max, fitness_mean, fitness_std)"
CASES = {
    "observation, normalised": (Faulty(seen=NAN), Eggroll(**ES), "moments.mean"),
    "observation, ranks": (Faulty(seen=NAN), Eggroll(rank_transform=True, **BLIND), FITNESS),
    "infinite observation": (Faulty(seen=INF), OpenES(**BLIND), FITNESS, "params.layers.0.b"),
    "observation, unrolls": (
        Faulty(seen=NAN),
        Eggroll(unroll=3, **BLIND),
        FITNESS,
        "params.layers.0.b",
    ),
    "observation, actor-critic": (
        Faulty(seen=NAN),
        replace(ACTOR, normalize_observations=False),
        "params.critic.layers.0.b",
    ),
    "reward, ranks": (Faulty(paid=NAN), OpenES(rank_transform=True, **ES), FITNESS),
    "infinite reward, evosax": (Faulty(paid=INF), SNES(**ES), FITNESS, "strategy.best_fitness"),
}


def updates(env, algorithm):
    """What every update makes and tells, by hand."""
    task = prepared(env, algorithm).task
    state = task.blocks.put(algorithm.init(task, run_streams(0)))
    step = quick(lambda state: algorithm.step(task, state))
    while True:
        state, metrics = step(state)
        yield state_hash(state_arrays((state, metrics)))


def first_fault(algorithm):
    """The update in which the first faulty episode is played: where it matters what that pays."""
    both = zip(updates(Faulty(), algorithm), updates(Faulty(paid=64.0), algorithm), strict=True)
    return next(i for i, (calm, paid) in enumerate(both, start=1) if calm != paid)


@pytest.mark.parametrize("case", CASES)
def test_a_run_ends_with_the_update_that_met_nan_or_infinity_and_says_where(case, tmp_path):
    env, algorithm, *where = CASES[case]
    plan = prepared(env, algorithm, budget_env_steps=100_000, eval_episodes=2, evaluations=1)
    record = runner.run(plan, tmp_path / "run")
    assert record.status["status"] == "diverged"
    reason, last = record.status["reason"], first_fault(algorithm)
    assert 1 < last < 100  # that updates go well first
    assert reason.startswith(f"in update {last} {where[0]} "), reason
    assert ("the fitness" in reason) == (FITNESS in where)
    named = [name for name in where if name != FITNESS]
    assert (" of the state" in reason) == bool(named)
    assert all(f"{name} of the state" in reason for name in named)
    # Everything is still recorded: this update's row, with nulls, and the policy.
    rows = [row for row in record.rows if row["kind"] == "updates"]
    assert rows[-1]["updates"] == record.status["updates"] == last
    lost = [name for name, value in rows[-1].items() if value is None]
    assert rows[-1].get("nonfinite", False) == bool(lost)
    assert {"fitness_mean", "fitness_max", "fitness_std"} <= set(lost) or FITNESS not in where
    assert (tmp_path / "run" / "policy.safetensors").exists()


def test_what_idle_lanes_show_and_pay_matters_not(tmp_path):
    hashes = []
    for idle in (NAN, 0.0):
        plan = prepared(Faulty(idle=idle), Eggroll(rank_transform=True, **BLIND))
        record = runner.run(plan, tmp_path / str(idle))
        assert record.status["status"] == "ok", record.status["reason"]
        hashes.append((record.status["state_sha256"], [r["returns"] for r in record.evaluations]))
    assert hashes[0] == hashes[1]


def test_an_evaluation_tells_of_observations_that_nothing_else_would(tmp_path):
    plan = prepared(Faulty(seen=NAN), Eggroll(**ES), eval_episodes=256)
    record = runner.run(plan, tmp_path / "run")
    row = record.evaluations[0]
    # An episode is faulty or not by its reset, whose key is the first half of the episode's.
    keys = [jax.random.split(key)[0] for key in evaluation_keys(256)]
    faulty = np.array([bool(Faulty().reset(key)[0].faulty) for key in keys])
    assert 0 < faulty.sum() < 32
    assert [r is None for r in row["returns"]] == faulty.tolist()
    assert record.status["status"] == "diverged"
    assert f"{faulty.sum()} of 256 returns of an evaluation" in record.status["reason"]


@pytest.fixture(scope="module")
def exploded(tmp_path_factory):
    """Runs whose parameters became infinite, by agent."""
    return tmp_path_factory.mktemp("exploded")


@pytest.mark.parametrize(
    ("argv", "leaf"),
    [
        ("--algo eggroll --set pop_size=4 --set optimizer=sgd", "params.layers.0.b"),
        (
            "--algo ppo --set num_envs=4 --set num_steps=16 --set num_minibatches=2",
            "params.critic.layers.0.b",
        ),
    ],
)
def test_a_learning_rate_that_explodes_names_the_parameters(argv, leaf, exploded):
    argv = ["run", "--env", "cartpole", *argv.split(), "--set", "learning_rate=3e38"]
    argv += ["--set", "hidden=[8]", "--budget", "1e5", "--host-devices", "1", "--quiet"]
    assert main([*argv, "--out", str(exploded)]) == 3
    (path,) = exploded.glob(f"adhoc/*/{argv[4]}-*/seed-*")
    status = read_run(path).status
    assert status["status"] == "diverged" and status["updates"] >= 1
    assert f"in update {status['updates']} {leaf} of the state (and " in status["reason"]


def test_a_report_counts_what_diverged(exploded, tmp_path):
    assert main(["report", str(exploded), "--out", str(tmp_path / "report")]) == 0
    with (tmp_path / "report" / "tables" / "returns.csv").open() as table:
        rows = list(csv.DictReader(table))
    runs = len(list(exploded.glob("adhoc/*/*/seed-*")))
    assert runs == len(rows) > 0
    assert [(row["n"], row["failed"], row["unfinished"]) for row in rows] == [
        ("1", "1", "0")
    ] * runs
