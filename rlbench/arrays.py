"""Arrays by name, as a state is kept in files. Imports no jax."""

import hashlib
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]


def state_hash(arrays: Arrays) -> str:
    """SHA-256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        x = arrays[name]
        digest.update(f"{name} {x.shape} {x.dtype};".encode() + np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()
