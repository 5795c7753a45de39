"""What measures of theory share: a direction of the weights, and means with their errors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def unit(shape: tuple[int, int], seed: int) -> Floats:
    """A random direction with ||U||_F = 1.

    Args:
        shape: (out, in) of the matrix.
        seed: of the direction.
    """
    u = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(u / np.linalg.norm(u), np.float64)


def mean_and_error(batches: Floats) -> tuple[Floats, Floats]:
    """The mean over independent batches, and its standard error, entry by entry.

    Args:
        batches: (K, ...), an estimate a batch.
    """
    return batches.mean(0), batches.std(0, ddof=1) / np.sqrt(len(batches))


def norm_of_mean(batches: Floats) -> tuple[float, float]:
    """The norm of what batches estimate, and its standard error.

    The squared norm of a mean of K batches is too large by the trace of its covariance, which is
    taken off; what is left below zero counts as zero. The standard error is that of the mean along
    its own direction.

    Args:
        batches: (K, ...), an independent and unbiased estimate a batch.
    """
    flat = batches.reshape(len(batches), -1)
    mean, error = mean_and_error(flat)
    squared = float(mean @ mean - error @ error)
    along = flat @ (mean / np.linalg.norm(mean))
    return float(np.sqrt(max(squared, 0.0))), float(mean_and_error(along)[1])


def largest_t(batches: Floats, expected: Floats) -> float:
    """The largest |mean - expected| / standard error over all entries.

    Args:
        batches: (K, ...), an independent and unbiased estimate a batch.
        expected: (...), what they should estimate.
    """
    mean, error = mean_and_error(batches)
    return float(np.max(np.abs(mean - expected) / error))


def in_pair(shape: Sequence[int]) -> tuple[int, int]:
    """The (out, in) shape of a matrix, of which TOML makes a list."""
    out, into = shape
    return int(out), int(into)
