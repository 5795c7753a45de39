"""An algorithm's state as arrays with names: what a run directory keeps of it, and the way back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbench.arrays import Arrays
from rlbench.errors import UsageError
from rlbench.seeding import IMPL


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def path_name(path: Any) -> str:
    """A leaf's name: jax's key path, joined by dots."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def state_arrays(state: Any) -> Arrays:
    """Every array of a state by its path; keys as their counter words."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        path_name(path): np.asarray(jax.random.key_data(x) if _is_key(x) else x)
        for path, x in leaves
    }


def restore_state(like: Any, arrays: Arrays) -> Any:
    """The inverse of `state_arrays`.

    Args:
        like: the state's structure, as `jax.eval_shape` of the algorithm's `init` returns it.
        arrays: every array by its path.

    Returns:
        The state.

    Raises:
        UsageError: names, shapes or types are not those of `like`; says which.
    """
    check_arrays(like, arrays)
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    restored = [_restored(x, arrays[path_name(path)]) for path, x in leaves]
    return jax.tree_util.tree_unflatten(structure, restored)


def check_arrays(like: Any, arrays: Arrays) -> None:
    """Refuses what `restore_state` cannot restore.

    Args:
        like: the state's structure.
        arrays: every array by its path.

    Raises:
        UsageError: names, shapes or types are not those of `like`; says which.
    """
    wanted = {path_name(path): x for path, x in jax.tree_util.tree_leaves_with_path(like)}
    for name in sorted(wanted.keys() ^ arrays.keys()):
        raise UsageError(
            f"the state lacks {name!r}"
            if name in wanted
            else f"the state has no place for {name!r}"
        )
    for name, leaf in wanted.items():
        words = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        x = arrays[name]
        if x.shape != words.shape or x.dtype != words.dtype:
            raise UsageError(
                f"{name!r} of the state must be {words.dtype} of shape {words.shape}, not "
                f"{x.dtype} of shape {x.shape}"
            )


def _restored(like: Any, array: np.ndarray[Any, Any]) -> Any:
    restored = jnp.asarray(array)
    return jax.random.wrap_key_data(restored, impl=IMPL) if _is_key(like) else restored
