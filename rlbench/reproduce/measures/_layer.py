"""One linear layer without a bias, and a population of perturbed copies of it.

A form is a function (weights, inputs, noise) -> (weights, outputs): (m, m), (N, m) and whatever
noise it takes to (m, m) and (N, m). All forms of one kind of noise compute the same numbers. Member
i belongs to the pair i // 2 and sees W + sigma E, or W - sigma E if i is odd.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rlbench.agents import _perturbation as noises
from rlbench.types import Key

Form = Callable[[Array, Array, Any], tuple[Array, Array]]
SIGMA = 0.05
LEARNING_RATE = 1e-9
"""So small that a timed layer stays what it was."""


@dataclass(frozen=True)
class Layer:
    """A square layer.

    Attributes:
        width: inputs and outputs.
        dtype: of weights, inputs and outputs.
        noise_dtype: to what noise is rounded.
        seed: of weights, inputs and noise.
    """

    width: int
    dtype: str
    noise_dtype: str
    seed: int

    def _normal(self, stream: int, shape: tuple[int, ...]) -> Array:
        key = jax.random.fold_in(jax.random.key(self.seed), stream)
        return jax.random.normal(key, shape)

    def weights(self) -> Float[Array, "m m"]:
        """N(0, 1/m), as (in, out): the layout of full-rank noise, to which it is added."""
        drawn = self._normal(0, (self.width, self.width)) / math.sqrt(self.width)
        return drawn.astype(self.dtype)

    def inputs(self, members: int, stream: int = 1) -> Float[Array, "N m"]:
        """Standard normal, one row a member."""
        return self._normal(stream, (members, self.width)).astype(self.dtype)

    def key(self, generation: Any = 0) -> Key:
        """Root of a generation's noise."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), 2), generation)

    def draw(self, how: noises.Perturbation, key: Key, pairs: int) -> Any:
        """Noise of `pairs` pairs, from counters."""
        shape = (self.width, self.width)
        keys = jax.vmap(lambda pair: jax.random.fold_in(key, pair))(jnp.arange(pairs))
        return self._rounded(jax.vmap(lambda k: how.draw_matrix(k, shape))(keys))

    def _rounded(self, noise: Any) -> Any:
        return jax.tree.map(lambda e: e.astype(self.noise_dtype), noise)

    def slots(self, how: noises.Perturbation, key: Key, members: int) -> Any:
        """`draw` for so many members, as `perturbed` takes it."""
        noise = self.draw(how, key, members // 2)
        return noise if how.shared else by_member(noise)

    def drawing(self, how: noises.Perturbation) -> Form:
        """`perturbed`, which draws its noise first; what it takes is the generation's number."""
        apply = perturbed(how)

        def form(w: Array, x: Array, generation: Any) -> tuple[Array, Array]:
            return apply(w, x, self.slots(how, self.key(generation), x.shape[0]))

        return form

    def drawing_built(self, w: Array, x: Array, generation: Any) -> tuple[Array, Array]:
        """`built`, in which every member draws its matrix, as the authors' code does."""
        key, shape = self.key(generation), (self.width, self.width)

        def draw(member: Array) -> Array:
            drawn = noises.FullRank().draw_matrix(jax.random.fold_in(key, member // 2), shape)
            return drawn.astype(self.noise_dtype)

        return built(w, x, jax.vmap(draw)(jnp.arange(x.shape[0])))


def signs(members: int) -> Float[Array, " N"]:
    """Sigma, with the sign of each member."""
    return jnp.where(jnp.arange(members) % 2 == 0, SIGMA, -SIGMA)


def by_member(noise: Any) -> Any:
    """Noise of pairs, once for each of the two members."""
    return jax.tree.map(lambda e: jnp.repeat(e, 2, axis=0), noise)


def perturbed(how: noises.Perturbation) -> Form:
    """The harness's way: the mean's product is one GEMM, and noise is only applied to inputs.

    It takes the noise of every member, or of every pair where the harness has two members share it.
    """

    def form(w: Array, x: Array, noise: Any) -> tuple[Array, Array]:
        together = 2 if how.shared else 1
        scale = signs(x.shape[0]).reshape(-1, together, 1)
        shift = how.product(noise, x.reshape(-1, together, x.shape[1]), scale)
        return w, (x @ w + shift.reshape(x.shape)).astype(x.dtype)

    return form


def inference(w: Array, x: Array, noise: Any) -> tuple[Array, Array]:
    """W x for all rows: one GEMM without noise."""
    return w, x @ w


def built(w: Array, x: Array, noise: Array) -> tuple[Array, Array]:
    """(W + sigma E) x with the matrix in brackets built for every member; noise is (N, in, out)."""

    def one(x: Array, e: Array, by: Array) -> Array:
        return x @ (w + by.astype(w.dtype) * e.astype(w.dtype))

    return w, jax.vmap(one)(x, noise, signs(x.shape[0]))


def own_matrices(w: Array, x: Array, noise: Array) -> tuple[Array, Array]:
    """Every row times its own (in, out) matrix, already perturbed; all w is given is ignored."""
    return w, jnp.einsum("ni,nio->no", x, noise)


def backpropagation(w: Array, x: Array, gradient: Array) -> tuple[Array, Array]:
    """Forward, backward and an SGD step; `gradient` is that of the outputs, (N, m).

    Outputs and the gradient of the inputs are returned as their sum, so that neither is left out.
    """
    y, pull = jax.vjp(lambda w, x: x @ w, w, x)
    dw, dx = pull(gradient)
    optimizer = optax.sgd(LEARNING_RATE)
    updates, _ = optimizer.update(dw, optimizer.init(w))
    return jnp.asarray(optax.apply_updates(w, updates)), y + dx


def repeated(form: Form, passes: int) -> Form:
    """The form so many times, each time on the last outputs.

    One program then allocates its memory once for all passes. The barrier keeps what is the same in
    every pass from being computed before the first.
    """

    def run(w: Array, x: Array, noise: Any) -> tuple[Array, Array]:
        def once(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            (w, x), mine = jax.lax.optimization_barrier((carry, noise))
            return form(w, x, mine)

        done: tuple[Array, Array] = jax.lax.fori_loop(0, passes, once, (w, x))
        return done

    return run
