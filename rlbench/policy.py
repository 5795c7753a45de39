"""The one policy network that all algorithms of a comparison share.

A multi-layer perceptron on a vector observation (or the one-hot code of a discrete one), with a
Categorical head for discrete actions and a diagonal Gaussian head for bounded continuous ones.

ES noise enters through two hooks, so that no perturbed copy of a weight is ever built:
`linear(layer, w, b, x)` is how a forward pass sees `W x + b`, and `vector(name, v)` how it sees a
1-D parameter. The defaults are the plain ones. All shapes may carry leading axes.

The paper's network is three hidden layers of 256 with activation "pqn" (EGGROLL, arXiv 2511.16652,
section on RL tasks); initial weights are N(0, 1/fan_in), biases 0, log-std 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlbench.env import Box, Discrete, EnvSpec
from rlbench.network import Network
from rlbench.types import Key, Params

Activation = Callable[[Array], Array]


class Linear(Protocol):
    """How a forward pass sees one layer."""

    def __call__(self, layer: int, w: Array, b: Array, x: Array, /) -> Array:
        """(out, in) weights, (out,) biases and (..., in) inputs to (..., out) outputs."""
        ...


class VectorHook(Protocol):
    """How a forward pass sees a 1-D parameter."""

    def __call__(self, name: str, v: Array, /) -> Array:
        """(n,) to (..., n)."""
        ...


def affine(layer: int, w: Array, b: Array, x: Array, /) -> Array:
    """The plain `linear`: W x + b."""
    return x @ w.T + b


def identity(name: str, v: Array, /) -> Array:
    """The plain `vector`."""
    return v


def pqn(x: Float[Array, "... n"]) -> Float[Array, "... n"]:
    """relu(layer_norm(x)), without learned scale or shift, eps 1e-5."""
    mean = jnp.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return jax.nn.relu(centred * jax.lax.rsqrt(variance + 1e-5))


ACTIVATIONS: dict[str, Activation] = {"pqn": pqn, "tanh": jnp.tanh, "relu": jax.nn.relu}


class Policy(Protocol):
    """What an algorithm may do with the shared network."""

    def init(self, key: Key) -> Params:
        """Draws initial weights."""
        ...

    def apply(self, params: Params, obs: Array, *, linear: Linear = affine) -> Array:
        """Network output: logits (..., n), or a mean action in box units (..., A)."""
        ...

    def mode(self, out: Array) -> Array:
        """The deterministic action of an output."""
        ...

    def sample(
        self, params: Params, out: Array, keys: Array, *, vector: VectorHook = identity
    ) -> Array:
        """A sampled action; `keys` has the leading axes of `out`."""
        ...


@dataclass(frozen=True)
class MLPPolicy:
    """The shared network for one environment. See the module's docstring."""

    spec: EnvSpec
    network: Network

    def _sizes(self) -> list[int]:
        obs, action = self.spec.observation, self.spec.action
        n_in = obs.n if isinstance(obs, Discrete) else obs.size
        n_out = action.n if isinstance(action, Discrete) else action.size
        return [n_in, *self.network.hidden, n_out]

    def init(self, key: Key) -> Params:
        """Weights N(0, 1/fan_in), the last layer's times `head_scale`; the rest is zero."""
        sizes = self._sizes()
        layers: list[dict[str, Array]] = []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            scale = n_in**-0.5 * (self.network.head_scale if i == len(sizes) - 2 else 1.0)
            w = scale * jax.random.normal(jax.random.fold_in(key, i), (n_out, n_in))
            layers.append({"b": jnp.zeros(n_out), "w": w})
        params: dict[str, Any] = {"layers": layers}
        if isinstance(self.spec.action, Box):
            params["log_std"] = jnp.zeros(sizes[-1])
        return params

    def apply(self, params: Params, obs: Array, *, linear: Linear = affine) -> Array:
        """(..., D) observations, or (...) integers, to (..., n_out) outputs."""
        x = obs
        if isinstance(self.spec.observation, Discrete):
            x = jax.nn.one_hot(obs, self.spec.observation.n)
        activation = ACTIVATIONS[self.network.activation]
        last = len(params["layers"]) - 1
        for i, layer in enumerate(params["layers"]):
            x = linear(i, layer["w"], layer["b"], x)
            if i < last:
                x = activation(x)
        return x

    def mode(self, out: Array) -> Array:
        """The most likely action: argmax of the logits, or the mean moved into the box."""
        if isinstance(self.spec.action, Discrete):
            return jnp.argmax(out, axis=-1).astype(jnp.int32)
        return self._into_box(out)

    def sample(
        self, params: Params, out: Array, keys: Array, *, vector: VectorHook = identity
    ) -> Array:
        """Categorical(logits), or N(mean, exp(log_std)^2) clipped into the box."""
        draw = jax.random.normal if isinstance(self.spec.action, Box) else jax.random.gumbel
        noise = jax.vmap(lambda k: draw(k, out.shape[-1:]))(keys.reshape(-1)).reshape(out.shape)
        if isinstance(self.spec.action, Discrete):
            return jnp.argmax(out + noise, axis=-1).astype(jnp.int32)
        return self._into_box(out + jnp.exp(vector("log_std", params["log_std"])) * noise)

    def _into_box(self, out: Array) -> Array:
        """[-1, 1] to [low, high], after clipping: the network works in units of the box."""
        assert isinstance(self.spec.action, Box)
        low, high = jnp.asarray(self.spec.action.low), jnp.asarray(self.spec.action.high)
        return low + (jnp.clip(out, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
