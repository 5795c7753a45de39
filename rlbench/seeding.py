"""One root key a run, and named streams of it.

`init` draws the policy's weights (the same for every algorithm with the same network), `train` is
the algorithm's own. Evaluation has a root of its own that does not depend on the run's seed: every
algorithm and every seed is evaluated from the same start states.
"""

import zlib
from typing import NamedTuple

import jax

from rlbench.errors import UsageError
from rlbench.types import Key

IMPL = "threefry2x32"
REQUIRED = {"jax_default_prng_impl": IMPL, "jax_threefry_partitionable": True}


class Streams(NamedTuple):
    """A run's keys."""

    init: Key
    train: Key


def check_generator() -> None:
    """Refuses PRNG settings under which vmapped noise differs from looped noise.

    Raises:
        UsageError: the default generator is not threefry2x32, or not partitionable.
    """
    values = [getattr(jax.config, name) for name in REQUIRED]
    if values != list(REQUIRED.values()):
        raise UsageError(
            f"rlbench needs jax's default generator, {IMPL} and partitionable, not {values}: unset "
            "JAX_DEFAULT_PRNG_IMPL and JAX_THREEFRY_PARTITIONABLE"
        )


def stream(root: Key, name: str) -> Key:
    """The stream `name` of a root key."""
    return jax.random.fold_in(root, zlib.crc32(name.encode()))


def run_streams(seed: int) -> Streams:
    """The streams of the run with this seed."""
    root = jax.random.key(seed, impl=IMPL)
    return Streams(stream(root, "init"), stream(root, "train"))


def evaluation_keys(episodes: int) -> jax.Array:
    """(episodes,) keys of the evaluation's episodes: the same for every algorithm and seed."""
    root = stream(jax.random.key(0, impl=IMPL), "eval")
    return jax.vmap(lambda i: jax.random.fold_in(root, i))(jax.numpy.arange(episodes))
