"""The conformance suite: it passes what is right, and says what is wrong with what is not."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench import testing
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.ppo import PPO
from rlbench.agents.random_policy import RandomPolicy
from rlbench.audit import Audit, CountingEnv, Tally, miscount
from rlbench.errors import UsageError
from rlbench.seeding import run_streams
from tests import broken_plugins as broken
from tests.toy_envs import Constant, Counting, Drift

PUSH, CORRIDOR = testing.PROBES


def failures(subject, checks):
    """The sentences of the checks that fail, by their names."""
    found = {}
    for check in checks:
        try:
            check(subject)
        except testing.ContractError as error:
            found[check.__name__] = str(error)
        if "shapes" in found:
            break
    return found


@pytest.mark.parametrize("env", testing.PROBES, ids=lambda env: env.spec.id)
def test_an_agent_that_is_right_passes(env):
    assert failures(testing.Agent(broken.Good(), env), testing.AGENT_CHECKS) == {}


@pytest.mark.parametrize(
    ("algorithm", "check", "words"),
    [
        (broken.WrongShape(), "shapes", r"floats of shape \[2\] from `act`, not float32\[1, 2\]"),
        (broken.Grows(), "shapes", r"`step`: weight is float32\[3\] before and float32\[4\] after"),
        (broken.Silent(), "shapes", "must report 'live_env_steps' in the metrics"),
        (broken.Raises(), "shapes", "raised in `step`: ValueError: no step for you"),
        (broken.NotANumber(first=2), "finite", "makes weight NaN or infinite in update 3"),
        (broken.Liar(), "budget", r"reported \d+ simulated .* was stepped \d+ times"),
        (broken.Liar(first=2), "budget", r"reported \d+ simulated .* was stepped \d+ times"),
        (broken.Impure(), "purity", "traced a second time, `step` gives another result"),
        (broken.Seedless(), "determinism", "does not depend on the seed"),
        (broken.Outside(), "acting", "acts outside of Box"),
        (broken.OtherNetwork(), "exporting", "differently from the mode of what its `network`"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "act") else None,
)
def test_an_agent_that_is_wrong_is_told_how(algorithm, check, words):
    found = failures(testing.Agent(algorithm), testing.AGENT_CHECKS)
    # NaN and infinity are in the way of an audit too; otherwise the one check fails, and no other.
    assert set(found) - ({"budget"} if check == "finite" else set()) == {check}, found
    assert re.search(words, found[check]), found[check]


@pytest.mark.parametrize("env", testing.PROBES, ids=lambda env: env.spec.id)
def test_environments_that_are_right_pass(env):
    assert failures(testing.Environment(env), testing.ENV_CHECKS) == {}


@pytest.mark.parametrize(
    ("env", "check", "words"),
    [
        (broken.WrongObs(), "shapes", r"must return floats of shape \[5\] from `reset`"),
        (broken.ChangingState(), "shapes", r"t is int32\[\] before and float32\[\] after"),
        (broken.FloatFlag(), "shapes", r"must give `terminated` as bool\[\], not float32\[\]"),
        (broken.NanPay(), "finite", "pays NaN or infinity"),
        (broken.EarlyCut(), "limit", "truncates at step 5, and its max_steps is 12"),
        (broken.Endless(), "limit", "does not end at its max_steps of 12"),
        (broken.FewRooms(), "observations", "shows 0 to 3"),
        (broken.Remembers(), "purity", "traced a second time"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "reset") else None,
)
def test_an_environment_that_is_wrong_is_told_how(env, check, words):
    found = failures(testing.Environment(env), testing.ENV_CHECKS)
    assert check in found and re.search(words, found[check]), found


@pytest.mark.parametrize("env", [Counting(), Drift()], ids=lambda env: env.spec.id)
@pytest.mark.parametrize(
    "algorithm",
    [
        Eggroll(pop_size=16, n_parallel_evaluations=2),
        PPO(num_envs=8, num_steps=4, num_minibatches=2),
    ],
    ids=lambda algorithm: type(algorithm).__name__,
)
def test_an_audit_counts_every_lane_of_every_batch(algorithm, env):
    # The env's own count is what rollouts and segments report, whatever the batches.
    agent = testing.Agent(algorithm, env)
    reported = agent.step(agent.init())[1]["simulated_env_steps"]
    audit = Audit(agent.algorithm, agent.task, "it")
    audit(agent.init())
    assert audit.tally.count == int(reported.sum()) >= 16


def test_an_audit_counts_a_known_number():
    # 16 episodes of exactly one step in two queues of 4 lanes, refilled at each end: no idle lane.
    agent = testing.Agent(RandomPolicy(episodes=16), Constant())
    audit = Audit(agent.algorithm, agent.task, "it")
    audit(agent.algorithm.init(agent.task, run_streams(0)))
    assert audit.tally.count == 16


@pytest.mark.parametrize(
    ("simulated", "live", "words"),
    [
        (0, 0, "reported 0 simulated"),
        (101, 5, "more than the 100"),
        (50, 51, "reported 51 live env steps of 50"),
        (50, -1, "reported -1 live"),
        (100, 100, None),
    ],
)
def test_counts_that_cannot_be(simulated, live, words):
    told = miscount(simulated, live, most=100)
    assert told is None if words is None else words in told


def test_a_check_that_fails_is_a_usage_error():
    assert issubclass(testing.ContractError, UsageError)


def test_an_audit_does_not_stand_in_the_way_of_a_gradient_through_the_environment():
    tally = Tally()
    env = CountingEnv(PUSH, tally)
    key = jax.random.key(0)
    state, _ = env.reset(key)
    pays = jax.jit(jax.grad(lambda action: env.step(key, state, action)[1].reward))
    want = jax.grad(lambda action: PUSH.step(key, state, action)[1].reward)(jnp.ones(2))
    np.testing.assert_allclose(pays(jnp.ones(2)), want, rtol=1e-6)
    jax.effects_barrier()
    assert tally.count == 1
