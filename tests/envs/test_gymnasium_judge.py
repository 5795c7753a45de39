"""Gymnasium's tasks step by step beside gymnax's, and who may be judged by them."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench import registry
from rlbench.card import Card, FinalReturn, Space
from rlbench.envs.gymnasium_judge import GymnasiumJudge
from rlbench.errors import UsageError
from rlbench.exported import ExportedPolicy
from rlbench.network import Network
from rlbench.seeding import IMPL

PI = np.pi
# gymnax's names of what Gymnasium's `state` holds, in order, and the range to draw from: an episode
# goes on there.
STATES = {
    "CartPole-v1": {
        "x": (-2.4, 2.4),
        "x_dot": (-3, 3),
        "theta": (-0.209, 0.209),
        "theta_dot": (-3, 3),
    },
    "Pendulum-v1": {"theta": (-7, 7), "theta_dot": (-8, 8)},
    "Acrobot-v1": {
        "joint_angle1": (-PI, PI),
        "joint_angle2": (-PI, PI),
        "velocity_1": (-12, 12),
        "velocity_2": (-28, 28),
    },
    "MountainCar-v0": {"position": (-1.2, 0.5), "velocity": (-0.07, 0.07)},
    "MountainCarContinuous-v0": {"position": (-1.2, 0.45), "velocity": (-0.07, 0.07)},
}
N = 400


def both(name):
    """One step from N states in gymnax and in Gymnasium: (observation, reward, terminated)
    each."""
    entry = registry.find_env(f"gymnax/{name}")
    env = registry.make_env(entry)
    judge = gymnasium.make(name, disable_env_checker=True)
    assert judge.spec.max_episode_steps == env.spec.max_steps
    rng, ranges = np.random.default_rng(0), STATES[name]
    states = np.stack([rng.uniform(*r, N) for r in ranges.values()], axis=-1).astype(np.float32)
    judge.action_space.seed(0)
    actions = np.stack([np.asarray(judge.action_space.sample()) for _ in range(N)])
    # A float is as good as gymnax's own scalar there (Pendulum's last action, only drawn).
    start, _ = env.reset(jax.random.key(0))
    batch = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (N, *jnp.shape(x))), start)
    batch = batch.replace(**{k: states[:, i] for i, k in enumerate(ranges)})
    step = jax.jit(jax.vmap(env.step, in_axes=(None, 0, 0)))
    _, after = step(jax.random.key(0), batch, actions)
    theirs = []
    for state, action in zip(states, actions, strict=True):
        judge.reset()
        judge.unwrapped.state = np.asarray(state, np.float64)
        theirs.append(judge.step(action if action.shape else int(action))[:3])
    judge.close()
    obs, reward, terminated = (np.array(x) for x in zip(*theirs, strict=True))
    return (after.obs, after.reward, after.terminated), (obs, reward, terminated)


@pytest.mark.parametrize("name", STATES)
def test_a_step_is_the_same_in_both(name):
    ours, theirs = both(name)
    same = np.full(N, True)
    if name == "MountainCarContinuous-v0":
        # What judges.toml says: at the left wall Gymnasium stops the car.
        wall = theirs[0][:, 0] <= np.float32(-1.2)
        assert 0 < wall.sum() < N / 5
        np.testing.assert_array_equal(theirs[0][wall, 1] >= 0, True)
        same = ~(wall & (np.asarray(ours[0][:, 1]) < 0))
        assert (~same).any()
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            np.asarray(mine)[same].astype(float), its[same].astype(float), rtol=1e-4, atol=1e-4
        )
    if name != "Pendulum-v1":
        assert 0 < np.mean(theirs[2]) < 1 or "MountainCar" in name


@pytest.mark.parametrize("name", STATES)
def test_episodes_start_alike(name):
    env = registry.make_env(registry.find_env(f"gymnax/{name}"))
    judge = gymnasium.make(name)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0, impl=IMPL), i))(jnp.arange(2000))
    ours = np.asarray(jax.vmap(lambda k: env.reset(k)[1])(keys))
    theirs = np.stack([judge.reset(seed=i)[0] for i in range(2000)])
    judge.close()
    spread = theirs.std(axis=0)
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.11 * spread.max())
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.1, atol=1e-6)
    np.testing.assert_allclose(ours.max(axis=0), theirs.max(axis=0), atol=0.05 * spread.max())
    np.testing.assert_allclose(ours.min(axis=0), theirs.min(axis=0), atol=0.05 * spread.max())


def policy(observation, action, weights, bias):
    card = Card(
        schema=1,
        env="hand/made",
        max_steps=1,
        algo="hand",
        seed=0,
        network=Network((), "tanh"),
        observation=observation,
        action=action,
        observation_clip=None,
        final_return=FinalReturn(0.0, 0.0, 1),
        trained={},
        provenance={},
        state_sha256="",
        weights_sha256="",
    )
    arrays = {"layers.0.w": np.array(weights, np.float32), "layers.0.b": np.array(bias, np.float32)}
    if action.kind == "box":
        arrays["log_std"] = np.zeros(action.size, np.float32)
    return ExportedPolicy(card, arrays)


def right(size=4):
    """Always pushes to the right."""
    return policy(Space("vector", size), Space("discrete", 2), np.zeros((2, size)), [0, 1])


def test_it_plays_complete_episodes_from_seeds_one_after_the_other():
    told = []
    returns, lengths = GymnasiumJudge("CartPole-v1", right()).play(20, 5, lambda *x: told.append(x))
    assert returns == [float(n) for n in lengths] and 8 <= min(lengths) <= max(lengths) <= 11
    assert told[-1] == (20, sum(lengths))
    later = GymnasiumJudge("CartPole-v1", right()).play(15, 10, lambda *x: None)
    assert later == (returns[5:], lengths[5:])


def test_a_time_limit_ends_an_episode():
    idle = policy(Space("vector", 2), Space("box", 1, (-1.0,), (1.0,)), np.zeros((1, 2)), [0.0])
    judge = GymnasiumJudge("MountainCarContinuous-v0", idle)
    assert judge.max_steps == 999
    assert judge.play(2, 0, lambda *x: None) == ([0.0, 0.0], [999, 999])


def test_an_action_in_a_box_is_scaled_to_it():
    # Full torque costs 0.001 u^2 = 0.004 a step, and nothing is scored above that.
    hold = policy(Space("vector", 3), Space("box", 1, (-2.0,), (2.0,)), np.zeros((1, 3)), [9.0])
    returns, _ = GymnasiumJudge("Pendulum-v1", hold).play(1, 0, lambda *x: None)
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=0)
    by_hand = sum(env.step(np.array([2.0], np.float32))[1] for _ in range(200))
    env.close()
    assert returns[0] == pytest.approx(by_hand)


def test_integer_observations_are_played():
    lake = policy(Space("discrete", 16), Space("discrete", 4), np.zeros((4, 16)), [0, 0, 0, 1])
    returns, lengths = GymnasiumJudge("FrozenLake-v1", lake).play(20, 0, lambda *x: None)
    assert set(returns) <= {0.0, 1.0} and max(lengths) <= 100


REFUSED = {
    "CartPol-v1": "did you mean 'CartPole-v1'",
    "zzz": "gymnasium.registry",
    "Pendulum-v1": "its observations are vectors of 3",
    "Blackjack-v1": "its observations are Tuple(",
    "FrozenLake-v1": "its observations are integers below 16",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_environments_are_refused(name):
    with pytest.raises(UsageError) as error:
        GymnasiumJudge(name, right())
    assert REFUSED[name] in str(error.value)


def test_other_actions_are_refused():
    with pytest.raises(UsageError, match="its actions are integers below 3"):
        GymnasiumJudge("MountainCar-v0", right(2))
    box = policy(Space("vector", 3), Space("box", 1, (-1.0,), (1.0,)), np.zeros((1, 3)), [0.0])
    with pytest.raises(
        UsageError, match=r"boxes from \[-2\] to \[2\], and those .* \[-1\] to \[1\]"
    ):
        GymnasiumJudge("Pendulum-v1", box)
