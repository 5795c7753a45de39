"""A policy that has left the harness: a folder that anyone can check, and play with NumPy alone.

    policy.json         the card: what it was trained on, how to compute its action, hashes
    policy.safetensors  float32 arrays: layers.N.w (out, in), layers.N.b (out,); log_std for a box;
                        normalizer.mean and normalizer.scale (D,) where observations are normalised

Inference is written here once more, without jax and without the code that trained, so that it can
be a judge of it. `results/README.md` documents the card.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from rlbench.card import SCHEMA, Card
from rlbench.config import build
from rlbench.errors import UsageError
from rlbench.files import parse_json, read_bytes

CARD, WEIGHTS = "policy.json", "policy.safetensors"
MAX_BYTES = 1 << 20
"""Most that a card, and the header of the arrays, may take."""

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]


def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, np.float32(0.0)))


def _pqn(x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return _relu(centred / np.sqrt(variance + np.float32(1e-5)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"pqn": _pqn, "tanh": np.tanh, "relu": _relu}


class ExportedPolicy:
    """Plays: observations to deterministic actions, in float32."""

    def __init__(self, card: Card, tensors: Tensors) -> None:
        """Takes what `read_export` or `export_run` returned.

        Raises:
            UsageError: an array is missing, too many, of another shape or type, or not finite.
        """
        self.card, self.tensors = card, tensors
        _check(card, tensors)
        depth = len(card.network.hidden) + 1
        # Transposed once, and in the order that a matrix product reads.
        self._layers = [
            (np.ascontiguousarray(tensors[f"layers.{i}.w"].T), tensors[f"layers.{i}.b"])
            for i in range(depth)
        ]
        self._activation = ACTIVATIONS[card.network.activation]
        self._low = np.asarray(card.action.low, np.float32)
        self._range = np.asarray(card.action.high, np.float32) - self._low

    def output(self, obs: Array) -> Array:
        """(..., D) observations, or (...) integers, to logits (..., n) or means (..., A)."""
        card = self.card
        if card.observation.kind == "discrete":
            x = (np.asarray(obs)[..., None] == np.arange(card.observation.size)).astype(np.float32)
        else:
            x = np.asarray(obs, np.float32)
        if card.observation_clip is not None:
            x = (x - self.tensors["normalizer.mean"]) * self.tensors["normalizer.scale"]
            clip = np.float32(card.observation_clip)
            x = np.minimum(np.maximum(x, -clip), clip)
        for i, (w, b) in enumerate(self._layers):
            x = x @ w + b
            if i < len(self._layers) - 1:
                x = self._activation(x)
        return np.asarray(x)

    def act(self, obs: Array) -> Array:
        """(..., D) observations, or (...) integers, to actions: (...) integers, or (..., A)."""
        out = self.output(obs)
        if self.card.action.kind == "discrete":
            return np.asarray(out.argmax(axis=-1))
        one = np.float32(1.0)
        clipped = np.minimum(np.maximum(out, -one), one)
        return np.asarray(self._low + (clipped + one) * np.float32(0.5) * self._range)


def _check(card: Card, tensors: Tensors) -> None:
    wanted = card.shapes()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise UsageError(
            f"the policy lacks the array {name!r}"
            if name in wanted
            else f"the policy has no place for the array {name!r}"
        )
    for name, shape in wanted.items():
        x = tensors[name]
        if x.shape != shape or x.dtype != np.float32:
            raise UsageError(
                f"array {name!r} must be float32 of shape {shape}, not {x.dtype} of shape {x.shape}"
            )
        if not np.isfinite(x).all():
            raise UsageError(f"array {name!r} of the policy holds NaN or infinities")


def is_export(path: Path) -> bool:
    """Whether the folder holds a card."""
    return (path / CARD).is_file()


def read_card(path: Path) -> Card:
    """The card of the folder `path`.

    Raises:
        UsageError: missing, too large, malformed, or of another schema.
    """
    file = path / CARD
    try:
        data = parse_json(_bytes(file, MAX_BYTES))
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UsageError(f"{file} is not a card of schema {SCHEMA}")
    return build(Card, data, f"key of {file}")


def read_export(path: Path) -> ExportedPolicy:
    """The policy that the folder `path` holds.

    Raises:
        UsageError: a file is missing, or one does not belong to the other; says which.
    """
    card = read_card(path)
    file = path / WEIGHTS
    expected = 4 * sum(math.prod(shape) for shape in card.shapes().values())
    content = _bytes(file, expected + MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != card.weights_sha256:
        raise UsageError(
            f"{file} is not the file that {CARD} describes: its sha256 is another; export the run "
            "again with --overwrite"
        )
    try:
        return ExportedPolicy(card, load(content))
    except SafetensorError as error:
        raise UsageError(f"{file} is not a safetensors file: {error}") from None


def _bytes(file: Path, limit: int) -> bytes:
    try:
        return read_bytes(file, limit)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
