"""How far the smoothed gradient of EGGROLL is from that of full Gaussian noise, at every rank.

For f(W) = sin<U, W> nothing is sampled. With E = sum_k a_k b_k^T / sqrt(r), t = sigma / sqrt(r) and
phi(t) = E exp(i t a^T U b),

    (1 / sigma) E[E exp(i <U, M + sigma E>)]
        = exp(i <U, M>) (sqrt(r) / sigma) E[a b^T exp(i t a^T U b)] phi(t)^(r - 1),

whose imaginary part is the gradient that EGGROLL estimates. Both expectations are sums over the
values of b of products over the entries of a; for Gaussian factors there is a closed form. As the
gradient is linear in f, a sum of sines is as exact.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.legendre import leggauss

from rlbench.reproduce.measures._numbers import Floats, in_pair, unit

LEGENDRE = 8
"""Nodes an entry: exact for polynomials up to degree 15, here an error below 1e-9."""


@dataclass(frozen=True)
class Law:
    """The law of a factor's entry, with mean 0 and variance 1: its values and their weights."""

    values: Floats
    weights: Floats

    @property
    def third_moment(self) -> float:
        """0 for a symmetric law."""
        return float(self.weights @ self.values**3)


def rademacher() -> Law:
    """-1 or 1."""
    return Law(np.array([-1.0, 1.0]), np.array([0.5, 0.5]))


def uniform(nodes: int = LEGENDRE) -> Law:
    """Uniform on [-sqrt 3, sqrt 3], by Gauss-Legendre quadrature."""
    x, w = leggauss(nodes)
    return Law(np.sqrt(3) * x, w / 2)


def two_point(p: float = 0.2) -> Law:
    """A Bernoulli variable, standardised: skewness (1 - 2 p) / sqrt(p (1 - p)), here 1.5."""
    return Law(np.array([np.sqrt((1 - p) / p), -np.sqrt(p / (1 - p))]), np.array([p, 1 - p]))


@dataclass(frozen=True)
class Sine:
    """weight sin<U, W>, where <U, M> = phase."""

    weight: float
    u: Floats
    phase: float

    def full_rank(self, sigma: float) -> Floats:
        """Its gradient smoothed by independent Gaussian entries: (out, in)."""
        shrunk = np.exp(-(sigma**2) * np.sum(self.u**2) / 2)
        return np.asarray(self.weight * np.cos(self.phase) * shrunk * self.u)


def sines(shape: tuple[int, int], count: int, phase: float, seed: int) -> list[Sine]:
    """So many, of weights 1, 1/2, 1/3, ..., norms 1, 3/2, 2, ... and phases 1 apart."""
    each = range(count)
    return [Sine(1 / (1 + j), (1 + j / 2) * unit(shape, seed + j), phase + j) for j in each]


def gaussian_low_rank(sine: Sine, sigma: float, r: int) -> Floats:
    """(1 / sigma) E[E f(M + sigma E)] for Gaussian factors, in closed form.

    (weight / sigma) cos(phase) det(I + V^T V / r)^(-r / 2) V (I + V^T V / r)^-1, V = sigma U.
    """
    v = sigma * sine.u
    k = np.eye(v.shape[1]) + v.T @ v / r
    _, log_det = np.linalg.slogdet(k)
    shrunk = np.cos(sine.phase) * np.exp(-r / 2 * log_det)
    return np.asarray(sine.weight / sigma * shrunk * np.linalg.solve(k, v.T).T)


def enumerated_low_rank(sine: Sine, sigma: float, r: int, a: Law, b: Law) -> Floats:
    """(1 / sigma) E[E f(M + sigma E)] for factors of these laws: (out, in).

    Takes time and memory of len(b.values) ** in.
    """
    out, into = sine.u.shape
    bs = np.array(list(itertools.product(b.values, repeat=into)))
    of_b = np.prod(list(itertools.product(b.weights, repeat=into)), axis=1)
    # Given b, exp(i t a^T U b) is a product over the entries of a: psi their characteristic
    # functions, and first E[a_j exp(...)] of one entry.
    turns = np.exp(1j * sigma / np.sqrt(r) * (bs @ sine.u.T)[..., None] * a.values) * a.weights
    psi, first = turns.sum(-1), turns @ a.values
    phi = of_b @ np.prod(psi, axis=1)
    others = np.stack([np.prod(np.delete(psi, j, 1), axis=1) for j in range(out)], axis=1)
    ab = (of_b[:, None] * first * others).T @ bs
    found = np.exp(1j * sine.phase) * np.sqrt(r) / sigma * ab * phi ** (r - 1)
    return np.asarray(sine.weight * found.imag)


LowRank = Callable[[Sine, float, int], Floats]


def _enumerated(a: Law, b: Law) -> tuple[LowRank, float]:
    third = a.third_moment * b.third_moment
    return lambda sine, sigma, r: enumerated_low_rank(sine, sigma, r, a, b), third


LAWS: dict[str, tuple[LowRank, float]] = {
    "Gaussian": (gaussian_low_rank, 0.0),
    "Rademacher": _enumerated(rademacher(), rademacher()),
    "uniform": _enumerated(uniform(), uniform()),
    "both skewed": _enumerated(two_point(), two_point()),
    "only A skewed": _enumerated(two_point(), rademacher()),
}
"""By name: the gradient, and E[a^3] E[b^3], by which an entry of E is skewed."""
SYMMETRIC = ("Gaussian", "Rademacher", "uniform")


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Exact errors of the gradient.

    Args:
        params: `shape`, `sines`, `sigma`, `phase`, `ranks`, `laws`, `seed`.

    Returns:
        `values`: `ranks`, and `curves` by law: `errors` = ||g_LR - g||_F / ||g||_F, one a rank,
        `third`, the third cumulant of an entry of E at rank 1, and whether it is `symmetric`.
    """
    sigma = params["sigma"]
    f = sines(in_pair(params["shape"]), params["sines"], params["phase"], params["seed"])
    full = sum(sine.full_rank(sigma) for sine in f)
    curves = {}
    for law in params["laws"]:
        low_rank, third = LAWS[law]
        gaps = [sum(low_rank(sine, sigma, r) for sine in f) - full for r in params["ranks"]]
        errors = [float(np.linalg.norm(gap) / np.linalg.norm(full)) for gap in gaps]
        curves[law] = {"errors": errors, "third": third, "symmetric": law in SYMMETRIC}
    return {"samples": {}, "values": {"ranks": params["ranks"], "curves": curves}}
