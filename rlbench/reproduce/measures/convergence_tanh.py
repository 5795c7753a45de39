"""The same error for f(W) = tanh<U, W>, bounded and no sum of sines, with Gaussian factors.

The gradient under full noise is E_z[f'(<U, M> + sigma ||U|| z)] U. At rank r the expectation over A
is taken exactly: given B, the estimate is h(v) U B B^T / r with v = ||U B||_F^2 / r and
h(v) = E_z[f'(<U, M> + sigma sqrt(v) z)]. As E[B B^T / r] = I, the error is
E_B[(h(v) - h(||U||^2)) U B B^T / r], and B is what is sampled.
"""

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.stats import norm

from rlbench.reproduce.measures._numbers import Floats, in_pair, norm_of_mean, unit

STEP = 0.05
"""Of the trapezoidal rule over z, whose error falls exponentially."""
LARGEST, PLACES = 10.0, 3000
"""Of sqrt(v), and how many up to it: between them, a spline tells h to 1e-9."""


def slope_of_tanh(phase: float, scales: Floats) -> Floats:
    """E_z[tanh'(phase + s z)] for every scale s >= 0: (n,) to (n,)."""
    z = np.arange(-9.0, 9.0 + STEP / 2, STEP)
    slopes = np.cosh(phase + scales[:, None] * z) ** -2.0
    return np.asarray(slopes @ (norm.pdf(z) * STEP))


def differences(
    u: Floats, phase: float, sigma: float, r: int, size: tuple[int, int], seed: int
) -> Floats:
    """Estimates of g_LR - g at rank r: (K, out, in).

    Args:
        u: (out, in), of norm 1.
        phase: <U, M>.
        sigma: of the perturbation.
        r: rank.
        size: (K, samples of B in each).
        seed: of the samples.
    """
    rng = np.random.default_rng([seed, r])
    batches, samples = size
    gram = u.T @ u
    roots = np.linspace(0.0, LARGEST, PLACES)
    h = CubicSpline(roots, slope_of_tanh(phase, sigma * roots), extrapolate=False)
    found = []
    for _ in range(batches):
        b = rng.normal(size=(samples, u.shape[1], r))
        outer = b @ b.swapaxes(1, 2) / r
        v = np.einsum("ij,sij->s", gram, outer)
        weights = h(np.sqrt(v)) - h(1.0)
        found.append(u @ np.einsum("s,sij->ij", weights, outer) / samples)
    return np.array(found)


def measure(params: dict[str, Any]) -> dict[str, Any]:
    """Errors of the gradient, with the standard errors of sampling B.

    Args:
        params: `shape`, `sigma`, `phase`, `ranks`, `batches`, `samples` (in each), `seed`.

    Returns:
        `values`: `ranks`, `errors` = ||g_LR - g||_F / ||g||_F and `standard_errors`, one a rank.
    """
    u = unit(in_pair(params["shape"]), params["seed"])
    sigma, phase = params["sigma"], params["phase"]
    full = float(slope_of_tanh(phase, np.array([sigma]))[0])
    size = (params["batches"], params["samples"])
    pairs = [
        norm_of_mean(differences(u, phase, sigma, r, size, params["seed"])) for r in params["ranks"]
    ]
    return {
        "samples": {},
        "values": {
            "ranks": params["ranks"],
            "errors": [error / full for error, _ in pairs],
            "standard_errors": [error / full for _, error in pairs],
        },
    }
