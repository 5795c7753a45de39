"""The one policy network that all algorithms of a comparison share.

A multi-layer perceptron on a vector observation (or the one-hot code of a discrete one), with a
Categorical head for discrete actions and a diagonal Gaussian head for bounded continuous ones.

ES noise enters through two hooks, so that no perturbed copy of a weight is ever built:
`linear(layer, w, b, x)` is how a forward pass sees `W x + b`, and `vector(name, v)` how it sees a
1-D parameter. The defaults are the plain ones. All shapes may carry leading axes.

The paper's network is three hidden layers of 256 with activation "pqn" (EGGROLL, arXiv 2511.16652,
section on RL tasks); initial weights are N(0, 1/fan_in), biases 0, log-std 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlbench.env import Box, Discrete, EnvSpec, Vector
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

    def draw(
        self, params: Params, out: Array, keys: Array, *, vector: VectorHook = identity
    ) -> Array:
        """What `sample` moves into the box, and `log_prob` is the density of."""
        ...

    def to_action(self, drawn: Array) -> Array:
        """The action that a draw stands for."""
        ...

    def log_prob(self, params: Params, out: Array, drawn: Array) -> Array:
        """Log-density of draws: (..., n_out) outputs and (..., A) or (...) draws to (...)."""
        ...

    def entropy(self, params: Params, out: Array) -> Array:
        """Of the distribution of draws: (..., n_out) to (...)."""
        ...

    def critic(self) -> "MLP":
        """A network of the same shape with one output, for algorithms that estimate values."""
        ...


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron from observations to `n_out` numbers."""

    observation: Vector | Discrete
    network: Network
    n_out: int

    def init(self, key: Key) -> Params:
        """Weights N(0, 1/fan_in), the last layer's times `head_scale`; biases zero."""
        n_in = (
            self.observation.n if isinstance(self.observation, Discrete) else self.observation.size
        )
        sizes = [n_in, *self.network.hidden, self.n_out]
        layers: list[dict[str, Array]] = []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            scale = n_in**-0.5 * (self.network.head_scale if i == len(sizes) - 2 else 1.0)
            w = scale * jax.random.normal(jax.random.fold_in(key, i), (n_out, n_in))
            layers.append({"b": jnp.zeros(n_out), "w": w})
        return {"layers": layers}

    def apply(self, params: Params, obs: Array, *, linear: Linear = affine) -> Array:
        """(..., D) observations, or (...) integers, to (..., n_out) outputs."""
        x = obs
        if isinstance(self.observation, Discrete):
            x = jax.nn.one_hot(obs, self.observation.n)
        activation = ACTIVATIONS[self.network.activation]
        last = len(params["layers"]) - 1
        for i, layer in enumerate(params["layers"]):
            x = linear(i, layer["w"], layer["b"], x)
            if i < last:
                x = activation(x)
        return x


@dataclass(frozen=True)
class MLPPolicy:
    """The shared network for one environment. See the module's docstring."""

    spec: EnvSpec
    network: Network

    @property
    def _mlp(self) -> MLP:
        action = self.spec.action
        n_out = action.n if isinstance(action, Discrete) else action.size
        return MLP(self.spec.observation, self.network, n_out)

    def critic(self) -> MLP:
        """One output; `head_scale` is the policy's own affair."""
        return MLP(self.spec.observation, replace(self.network, head_scale=1.0), 1)

    def init(self, key: Key) -> Params:
        """The network's initial weights, and for a box log-std zero."""
        params = self._mlp.init(key)
        if isinstance(self.spec.action, Box):
            params["log_std"] = jnp.zeros(self.spec.action.size)
        return params

    def apply(self, params: Params, obs: Array, *, linear: Linear = affine) -> Array:
        """(..., D) observations, or (...) integers, to (..., n_out) outputs."""
        return self._mlp.apply(params, obs, linear=linear)

    def mode(self, out: Array) -> Array:
        """The most likely action: argmax of the logits, or the mean moved into the box."""
        if isinstance(self.spec.action, Discrete):
            return jnp.argmax(out, axis=-1).astype(jnp.int32)
        return self.to_action(out)

    def sample(
        self, params: Params, out: Array, keys: Array, *, vector: VectorHook = identity
    ) -> Array:
        """Categorical(logits), or N(mean, exp(log_std)^2) clipped into the box."""
        return self.to_action(self.draw(params, out, keys, vector=vector))

    def draw(
        self, params: Params, out: Array, keys: Array, *, vector: VectorHook = identity
    ) -> Array:
        """Categorical(logits), or N(mean, exp(log_std)^2), not yet clipped."""
        kind = jax.random.normal if isinstance(self.spec.action, Box) else jax.random.gumbel
        noise = jax.vmap(lambda k: kind(k, out.shape[-1:]))(keys.reshape(-1)).reshape(out.shape)
        if isinstance(self.spec.action, Discrete):
            return jnp.argmax(out + noise, axis=-1).astype(jnp.int32)
        return jnp.asarray(out + jnp.exp(vector("log_std", params["log_std"])) * noise)

    def to_action(self, drawn: Array) -> Array:
        """[-1, 1] to [low, high], after clipping: the network works in units of the box."""
        if isinstance(self.spec.action, Discrete):
            return drawn
        low, high = jnp.asarray(self.spec.action.low), jnp.asarray(self.spec.action.high)
        return low + (jnp.clip(drawn, -1.0, 1.0) + 1.0) * 0.5 * (high - low)

    def log_prob(self, params: Params, out: Array, drawn: Array) -> Array:
        """Of the Categorical, or of the Gaussian before clipping."""
        if isinstance(self.spec.action, Discrete):
            logs = jax.nn.log_softmax(out)
            return jnp.take_along_axis(logs, drawn[..., None], axis=-1)[..., 0]
        # Times exp(-x) and not over exp(x): XLA turns some of the latter into the former, and not
        # the same ones on one device as on two.
        z = (drawn - out) * jnp.exp(-params["log_std"])
        return jnp.sum(-0.5 * z * z - params["log_std"] - 0.5 * math.log(2.0 * math.pi), axis=-1)

    def entropy(self, params: Params, out: Array) -> Array:
        """In nats."""
        if isinstance(self.spec.action, Discrete):
            logs = jax.nn.log_softmax(out)
            return -jnp.sum(jnp.exp(logs) * logs, axis=-1)
        one = jnp.sum(params["log_std"] + 0.5 * math.log(2.0 * math.pi * math.e))
        return jnp.broadcast_to(one, out.shape[:-1])
