"""Episodes in lockstep: the only place in rlbench where an environment is stepped.

Lanes of a block are stepped together under a mask until all of them have ended (or the horizon is
reached); there is no auto-reset, which would compute a whole reset every step under vmap. Steps of
lanes that have already ended are *simulated* but not *live*: physics was computed and paid for.
A dead lane may turn NaN (Brax's generalized backend does), so masks are `jnp.where`, never `*`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rlbench.env import AnyEnv, Discrete
from rlbench.normalizer import Moments
from rlbench.types import Metrics

BatchPolicy = Callable[[Array, Array], Array]
"""(L, D) observations and (L,) keys to (L, A) actions, or (L,) integers."""


class Episodes(NamedTuple):
    """What a block of lanes did; one episode a lane, cut at the horizon.

    Attributes:
        returns: undiscounted sum of rewards.
        lengths: env steps while alive.
        simulated: env steps computed for the whole block, dead ones included.
        moments: of the observations the policy acted on while alive.
    """

    returns: Float[Array, " L"]
    lengths: Int[Array, " L"]
    simulated: Int[Array, ""]
    moments: Moments


class _Carry(NamedTuple):
    t: Array
    state: Any
    obs: Array
    alive: Array
    returns: Array
    lengths: Array
    obs_sum: Array
    obs_square_sum: Array


def play(
    env: AnyEnv,
    act: BatchPolicy,
    keys: Key[Array, " L"],
    *,
    horizon: int,
    reference: Array | None = None,
) -> Episodes:
    """Plays one episode a lane.

    Args:
        env: the task.
        act: the policy, batched over lanes.
        keys: one key a lane; lanes with equal keys see the same resets and the same noise.
        horizon: env steps after which an episode is cut, if it has not ended by itself.
        reference: (D,) shift for the observation moments, near their mean for accuracy. None
            (and any integer observation) leaves the moments empty.

    Returns:
        The lanes' episodes.
    """
    track = reference is not None and not isinstance(env.spec.observation, Discrete)
    reset_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state, obs = jax.vmap(env.reset)(reset_keys)
    shift = jnp.zeros(1)
    if track and reference is not None:
        # Before anything was seen the reference is zero, and sums of squares of a feature far from
        # it would cancel: the start states stand in.
        shift = jnp.where(jnp.any(reference != 0.0), reference, jnp.mean(obs, axis=0))
    per_step = jax.vmap(jax.random.fold_in, in_axes=(0, None))

    def step(c: _Carry) -> _Carry:
        action = act(c.obs, per_step(step_keys, 2 * c.t))
        state, now = jax.vmap(env.step)(per_step(step_keys, 2 * c.t + 1), c.state, action)
        centred = jnp.where(c.alive[:, None], c.obs - shift, 0.0) if track else jnp.zeros((1, 1))
        return _Carry(
            t=c.t + 1,
            state=state,
            obs=now.obs,
            alive=c.alive & ~(now.terminated | now.truncated),
            returns=c.returns + jnp.where(c.alive, now.reward, 0.0),
            lengths=c.lengths + c.alive,
            obs_sum=c.obs_sum + jnp.sum(centred, axis=0),
            obs_square_sum=c.obs_square_sum + jnp.sum(centred * centred, axis=0),
        )

    end = jax.lax.while_loop(
        lambda c: (c.t < horizon) & jnp.any(c.alive), step, _start(state, obs, shift)
    )
    moments = _moments(end, shift, track)
    return Episodes(end.returns, end.lengths, end.t * keys.shape[0], moments)


def _start(state: Any, obs: Array, shift: Array) -> _Carry:
    lanes = obs.shape[0]
    return _Carry(
        t=jnp.zeros((), jnp.int32),
        state=state,
        obs=obs,
        alive=jnp.ones(lanes, bool),
        returns=jnp.zeros(lanes),
        lengths=jnp.zeros(lanes, jnp.int32),
        obs_sum=jnp.zeros_like(shift),
        obs_square_sum=jnp.zeros_like(shift),
    )


def _moments(end: _Carry, shift: Array, track: bool) -> Moments:
    n = jnp.sum(end.lengths).astype(jnp.float32) if track else jnp.zeros(())
    mean = end.obs_sum / jnp.maximum(n, 1.0)
    return Moments(n, shift + mean, jnp.maximum(end.obs_square_sum - n * mean * mean, 0.0))


def step_metrics(episodes: Episodes) -> Metrics:
    """Simulated and live env steps of any number of blocks, as every update must report them."""
    return {
        "simulated_env_steps": jnp.sum(episodes.simulated),
        "live_env_steps": jnp.sum(episodes.lengths),
    }
