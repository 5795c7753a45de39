"""A state's arrays lead back to the state, and to no other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.agents.eggroll import Eggroll
from rlbench.agents.ppo import PPO
from rlbench.agents.random_policy import RandomPolicy
from rlbench.algorithm import Task
from rlbench.arrays import state_hash
from rlbench.blocks import Blocks
from rlbench.errors import UsageError
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from rlbench.state import restore_state, state_arrays
from tests.toy_envs import Drift


class Small(NamedTuple):
    layers: Any
    key: Any


def small() -> Small:
    return Small([{"w": jnp.ones((2, 3)), "n": jnp.int32(4)}], jax.random.key(7))


def test_names_are_paths_and_keys_are_words():
    arrays = state_arrays(small())
    assert set(arrays) == {"layers.0.w", "layers.0.n", "key"}
    np.testing.assert_array_equal(arrays["key"], [0, 7])


@pytest.mark.parametrize(
    "algorithm",
    [Eggroll(pop_size=4), PPO(num_envs=2, num_steps=4, num_minibatches=2), RandomPolicy(2)],
)
def test_every_agent_s_state_comes_back_bit_for_bit(algorithm):
    env = Drift()
    task = Task(env, MLPPolicy(env.spec, Network((4,), "tanh")), Blocks(4, 1))
    state = algorithm.init(task, run_streams(3))
    arrays = state_arrays(state)
    like = jax.eval_shape(lambda: algorithm.init(task, run_streams(3)))
    restored = restore_state(like, arrays)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert state_hash(state_arrays(restored)) == state_hash(arrays)
    assert jnp.issubdtype(restored.key.dtype, jax.dtypes.prng_key)


CHANGES = {
    "lacks 'key'": lambda a: a.pop("key"),
    "no place for 'more'": lambda a: a.update(more=np.zeros(1)),
    "must be float32 of shape (2, 3), not float64": lambda a: a.update(
        {"layers.0.w": np.ones((2, 3))}
    ),
    "not float32 of shape (3, 2)": lambda a: a.update({"layers.0.w": np.ones((3, 2), "f4")}),
    "must be uint32 of shape (2,)": lambda a: a.update(key=np.zeros(4, np.uint32)),
}


@pytest.mark.parametrize("message", CHANGES)
def test_arrays_of_another_state_are_refused(message):
    arrays = state_arrays(small())
    CHANGES[message](arrays)
    with pytest.raises(UsageError) as error:
        restore_state(jax.eval_shape(small), arrays)
    assert message in str(error.value)


def test_the_hash_sees_names_shapes_types_and_bytes():
    x = np.arange(6, dtype=np.float32)
    others = [{"b": x}, {"a": x.reshape(2, 3)}, {"a": x.view(np.int32)}, {"a": x + 1}]
    hashes = {state_hash({"a": x}), *map(state_hash, others)}
    assert len(hashes) == 5
    assert state_hash({"a": x, "b": x}) == state_hash({"b": x, "a": x})
