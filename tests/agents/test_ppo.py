"""PPO against what is known: GAE by hand, values and actions of the probe environments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.agents import ppo as ppo_module
from rlbench.agents._advantages import estimate_advantages
from rlbench.agents.ppo import PPO, Batch
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.errors import UsageError
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from tests import probes
from tests.toy_envs import Drift, Match, Target

SMALL = {"num_envs": 16, "num_steps": 8, "num_minibatches": 4, "learning_rate": 5e-3}


def task_for(env, blocks=None, hidden=(16,)):
    return Task(env, MLPPolicy(env.spec, Network(hidden, "tanh", 0.01)), blocks or Blocks(8, 2))


def trained(env, updates, **settings):
    ppo, task = PPO(**(SMALL | settings)), task_for(env)
    state = ppo.init(task, run_streams(0))

    def many(state):
        return jax.lax.scan(lambda s, _: ppo.step(task, s), state, None, length=updates)[0]

    return ppo, task, jax.jit(many)(state)


def value_of(task, state, obs):
    return float(task.policy.critic().apply(state.params["critic"], jnp.array([obs]))[0])


def chance_of(task, state, obs, action):
    out = task.policy.apply(state.params["policy"], jnp.array([obs]))
    return float(jax.nn.softmax(out)[action])


def test_advantages_are_those_of_a_loop_in_float64():
    rng = np.random.default_rng(0)
    steps, lanes, gamma, lam = 50, 6, 0.97, 0.9
    reward, value, after = rng.normal(size=(3, steps, lanes))
    terminated, truncated = rng.random((2, steps, lanes)) < 0.15
    wanted = np.zeros((steps, lanes))
    for lane in range(lanes):
        for t in range(steps):
            # The sum of discounted TD errors until the episode or the segment ends.
            for k in range(t, steps):
                future = 0.0 if terminated[k, lane] else after[k, lane]
                error = reward[k, lane] + gamma * future - value[k, lane]
                wanted[t, lane] += (gamma * lam) ** (k - t) * error
                if terminated[k, lane] or truncated[k, lane]:
                    break
    assert (terminated & truncated).any()
    r, v, a, *ends = (jnp.asarray(x) for x in (reward, value, after, terminated, truncated))
    got = estimate_advantages(r, (v, a), tuple(ends), gamma, lam)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)


def test_what_follows_a_termination_counts_for_nothing_even_if_it_is_nan():
    yes, no = jnp.array([[True]]), jnp.array([[False]])
    nan, one = jnp.full((1, 1), jnp.nan), jnp.ones((1, 1))
    assert estimate_advantages(one, (one, nan), (yes, no), 0.9, 0.9)[0, 0] == 0.0


PLAIN = {"normalize_observations": False}


def test_probe_one_the_critic_learns_a_constant():
    _, task, state = trained(probes.One(), 100, **PLAIN)
    assert value_of(task, state, 0.0) == pytest.approx(1.0, abs=0.03)


def test_probe_two_the_critic_looks():
    _, task, state = trained(probes.Coin(), 100, **PLAIN)
    assert value_of(task, state, 1.0) == pytest.approx(1.0, abs=0.05)
    assert value_of(task, state, -1.0) == pytest.approx(-1.0, abs=0.05)


def test_probe_three_rewards_are_discounted():
    _, task, state = trained(probes.Later(), 200, gamma=0.5, **PLAIN)
    assert value_of(task, state, 1.0) == pytest.approx(1.0, abs=0.05)
    assert value_of(task, state, 0.0) == pytest.approx(0.5, abs=0.05)


def test_probe_four_the_actor_learns():
    ppo, task, state = trained(probes.Choice(), 60, **PLAIN)
    assert chance_of(task, state, 0.0, 1) > 0.95
    assert ppo.act(task, state, jnp.zeros(1), jax.random.key(0)) == 1


def test_probe_five_actor_and_critic_look():
    _, task, state = trained(probes.Name(), 100, **PLAIN)
    assert chance_of(task, state, 1.0, 1) > 0.95 and chance_of(task, state, -1.0, 0) > 0.95
    assert value_of(task, state, 1.0) == pytest.approx(1.0, abs=0.1)


def test_a_time_limit_is_not_the_end_of_the_world():
    """1 a step for ever at gamma 0.8 is worth 5; taken for an end, five steps are worth 2.5."""
    _, task, state = trained(probes.Endless(), 300, gamma=0.8, **PLAIN)
    assert value_of(task, state, 1.0) == pytest.approx(5.0, abs=0.15)


def test_bounded_actions_find_their_goal():
    ppo, task, state = trained(Target(3.5), 150)
    action = ppo.act(task, state, jnp.ones(1), jax.random.key(0))
    assert float(action[0]) == pytest.approx(3.5, abs=0.1)


def test_integer_observations_are_understood():
    ppo, task, state = trained(Match(discrete=True), 60)
    for coin in (0, 1):
        assert ppo.act(task, state, jnp.int32(coin), jax.random.key(0)) == coin


def test_rewards_in_other_units_change_nothing_if_they_are_normalised():
    """The scale is a running one, so the two runs agree to rounding from the first update on."""

    class Loud(probes.Name):
        def step(self, key, state, action):
            state, step = super().step(key, state, action)
            return state, step._replace(reward=1024.0 * step.reward)

    values = []
    for env in (probes.Name(), Loud()):
        _, task, state = trained(env, 20, normalize_rewards=True)
        values.append([value_of(task, state, coin) for coin in (-1.0, 1.0)])
    assert min(map(abs, values[0])) > 0.05
    np.testing.assert_allclose(*values, rtol=1e-3)


def test_the_first_gradient_is_the_policy_gradient():
    """At ratio 1 the clipped objective's gradient is that of advantage times log-probability."""
    ppo, task = PPO(vf_coef=0.0), task_for(Drift())
    state = ppo.init(task, run_streams(0))
    rng = np.random.default_rng(0)
    obs, drawn = (jnp.asarray(rng.normal(size=(32, 2)), jnp.float32) for _ in range(2))
    advantage = jnp.asarray(rng.normal(size=32), jnp.float32)
    policy = task.policy

    def log_prob(params):
        out = policy.apply(params["policy"], obs)
        return policy.log_prob(params["policy"], out, drawn)

    batch = Batch(obs, drawn, log_prob(state.params), advantage, jnp.zeros(32))
    got = jax.grad(lambda p: ppo._loss(task, p, batch, 32)[0])(state.params)
    wanted = jax.grad(lambda p: -jnp.mean(advantage * log_prob(p)))(state.params)
    for a, b in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(wanted["policy"])) > 0.01


def test_ratios_beyond_the_clip_do_not_pull():
    ppo, task = PPO(vf_coef=0.0, clip_eps=0.2), task_for(Drift())
    params = ppo.init(task, run_streams(0)).params
    obs, drawn = jnp.ones((4, 2)), jnp.full((4, 2), 0.3)
    out = task.policy.apply(params["policy"], obs)
    now = task.policy.log_prob(params["policy"], out, drawn)
    # Ratios 1.5, 1.5, 0.5, 0.5: only where the objective would still fall does a step pull.
    before = now - jnp.log(jnp.array([1.5, 1.5, 0.5, 0.5]))
    for lane, (advantage, pulls) in enumerate([(1, False), (-1, True), (1, True), (-1, False)]):
        one = Batch(obs, drawn, before, jnp.zeros(4).at[lane].set(advantage), jnp.zeros(4))
        gradient = jax.grad(lambda p, one=one: ppo._loss(task, p, one, 4)[0])(params)
        assert any(bool(jnp.any(x != 0)) for x in jax.tree.leaves(gradient)) == pulls


def after(updates, devices=1, env=None, **settings):
    """The state after so many updates, each a program of its own."""
    blocks = Blocks(4, devices)
    ppo, task = PPO(**(SMALL | settings)), task_for(env or Drift(), blocks)
    state = jax.device_put(ppo.init(task, run_streams(0)), blocks.replicated)
    step = jax.jit(lambda s: ppo.step(task, s)[0])
    for _ in range(updates):
        state = step(state)
    return jax.device_get(state)


SHARED, ALONE = 0, 1 << 60


@pytest.mark.parametrize(
    ("env", "least_work"),
    [
        (Drift(), SHARED),
        (Match(), ALONE),
        pytest.param(Drift(), ALONE, marks=pytest.mark.slow),
        pytest.param(Match(), SHARED, marks=pytest.mark.slow),
    ],
)
def test_one_and_two_devices_give_the_same_bits(env, least_work, monkeypatch):
    monkeypatch.setattr(ppo_module, "SHARED_WORK", least_work)
    states = [after(2, devices, env).params for devices in (1, 2)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shared_minibatches_are_the_same_minibatches(monkeypatch):
    states = []
    for least_work in (SHARED, ALONE):
        monkeypatch.setattr(ppo_module, "SHARED_WORK", least_work)
        states.append(after(2).params)
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_the_critic_s_gradient_does_not_scale_the_policy_s():
    """Within one update the advantages are fixed: the value loss cannot matter to the policy."""
    little, much = (after(1, vf_coef=c).params for c in (0.5, 1e6))
    for a, b in zip(*(jax.tree.leaves(p["policy"]) for p in (little, much)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_learning_rate_decays_from_update_to_update():
    first, second = (after(n, lr_decay=1e-9).params for n in (1, 2))
    for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    untouched = after(0).params
    assert not np.allclose(untouched["critic"]["layers"][1]["w"], first["critic"]["layers"][1]["w"])


def test_observations_are_normalised_by_all_that_was_seen():
    ppo, task = PPO(**SMALL), task_for(Drift())
    state = ppo.init(task, run_streams(0))
    seen = ppo._collect(task, (state.params, state.moments), state.lanes)[1].obs.reshape(-1, 2)
    moments = after(1).moments
    assert moments.n == len(seen) == 16 * 8
    np.testing.assert_allclose(moments.mean, np.mean(seen, axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.m2 / moments.n, np.var(seen, axis=0), rtol=1e-4)
    assert after(2).moments.n == 2 * 16 * 8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"num_minibatches": 3}, "num_minibatches must divide .* = 8192"),
        ({"gamma": 1.5}, "gamma must be between 0 and 1, not 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive finite number"),
        ({"ent_coef": -1.0}, "ent_coef must be a finite number of at least 0"),
    ],
)
def test_options_out_of_range_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        PPO(**settings)
