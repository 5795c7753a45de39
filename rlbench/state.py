"""An algorithm's state as named arrays, and back."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlbench.errors import UsageError

Arrays = dict[str, np.ndarray[Any, Any]]


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def state_arrays(state: Any) -> Arrays:
    """Every array of a state by its path; keys as their counter words."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        _name(path): np.asarray(jax.random.key_data(x) if _is_key(x) else x) for path, x in leaves
    }


def state_hash(arrays: Arrays) -> str:
    """SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        x = arrays[name]
        digest.update(f"{name} {x.shape} {x.dtype};".encode() + np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


def restore_state(like: Any, arrays: Arrays) -> Any:
    """The state whose `state_arrays` these are.

    Args:
        like: a state of the same structure, or `jax.eval_shape`'s of it.
        arrays: by path.

    Raises:
        UsageError: names, shapes or types are not those of `like`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(like)
    names = {_name(path) for path, _ in leaves}
    if names != set(arrays):
        odd = ", ".join(sorted(names ^ set(arrays))[:5])
        raise UsageError(f"these are not the arrays of this state: {odd} is in one of them only")

    def leaf(path: Any, x: Any) -> Any:
        found = arrays[_name(path)]
        shape = jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x
        if found.shape != shape.shape or found.dtype != shape.dtype:
            raise UsageError(
                f"{_name(path)} of this state is {shape.dtype}{list(shape.shape)}, not "
                f"{found.dtype}{list(found.shape)}"
            )
        if _is_key(x):
            return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(x))
        return jnp.asarray(found)

    return jax.tree_util.tree_map_with_path(leaf, like)
