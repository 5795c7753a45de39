"""What an exported policy says of itself: `policy.json`, as data. Imports no jax.

`results/README.md` documents the fields.
"""

import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from rlbench.bounds import is_number
from rlbench.errors import UsageError
from rlbench.network import Network

SCHEMA = 1


@dataclass(frozen=True)
class Space:
    """What goes in, or comes out.

    Attributes:
        kind: "vector" and "box" are float32 of shape (size,), "discrete" is an integer below size.
        size: how many.
        low: lowest values of a box, by dimension.
        high: its highest values.
    """

    kind: Literal["vector", "discrete", "box"]
    size: int
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what is no space.

        Raises:
            UsageError: says what was expected.
        """
        if self.size < 1:
            raise UsageError(f"a space must have a size of at least 1, not {self.size}")
        bounds = list(zip(self.low, self.high, strict=False))
        wanted = self.size if self.kind == "box" else 0
        if (len(self.low), len(self.high)) != (wanted, wanted) or not all(
            -math.inf < low < high < math.inf for low, high in bounds
        ):
            raise UsageError(
                f"a {self.kind} of size {self.size} needs {wanted} finite bounds, low below high"
            )

    def __str__(self) -> str:
        """As refusals name it."""
        if self.kind == "discrete":
            return f"integers below {self.size}"
        if self.kind == "vector":
            return f"vectors of {self.size}"
        return f"boxes from {_row(self.low)} to {_row(self.high)}"


def _row(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{v:g}" for v in values) + "]"


@dataclass(frozen=True)
class FinalReturn:
    """Of the run's final evaluation: undiscounted returns of complete episodes.

    Attributes:
        mean: over episodes.
        std: over episodes, divided by their number.
        episodes: how many.
    """

    mean: float
    std: float
    episodes: int

    def __post_init__(self) -> None:
        """Refuses what no evaluation returns.

        Raises:
            UsageError: a number is out of its range.
        """
        numbers = all(map(is_number, (self.mean, self.std, self.episodes)))
        if not (numbers and abs(self.mean) < math.inf > self.std >= 0 and self.episodes >= 1):
            raise UsageError(f"no evaluation has {self}")


@dataclass(frozen=True)
class Card:
    """What `policy.json` holds.

    Attributes:
        schema: of the card.
        env: id of the environment it was trained on.
        max_steps: that environment's time limit, in env steps.
        algo: what trained it.
        seed: of the run.
        network: hidden widths and activation; the head is linear.
        observation: a vector, or a discrete observation, which is one-hot coded.
        action: a discrete action, or a box.
        observation_clip: normalised observations are clipped to +- this; null if they are not
            normalised.
        how_to_act: the computation, in words.
        final_return: of the run's final evaluation.
        trained: simulated_env_steps, live_env_steps, updates, train_seconds and the run's status.
        provenance: commit, dirty and versions of the run.
        state_sha256: of the run's final state, as its status.json has it.
        weights_sha256: of the bytes of `policy.safetensors`.
    """

    schema: int
    env: str
    max_steps: int
    algo: str
    seed: int
    network: Network
    observation: Space
    action: Space
    observation_clip: float | None
    final_return: FinalReturn
    trained: dict[str, Any]
    provenance: dict[str, Any]
    state_sha256: str
    weights_sha256: str
    how_to_act: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuses cards of policies that could not be played.

        Raises:
            UsageError: says what was expected.
        """
        if self.observation.kind == "box" or self.action.kind == "vector":
            raise UsageError("observations are a vector or discrete, actions discrete or a box")
        clip = self.observation_clip
        if clip is not None and (self.observation.kind == "discrete" or not 0 < clip < math.inf):
            raise UsageError(
                "observation_clip must be positive, and null for discrete observations"
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every array's name and shape."""
        sizes = [self.observation.size, *self.network.hidden, self.action.size]
        found: dict[str, tuple[int, ...]] = {}
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            found |= {f"layers.{i}.w": (n_out, n_in), f"layers.{i}.b": (n_out,)}
        if self.action.kind == "box":
            found["log_std"] = (self.action.size,)
        if self.observation_clip is not None:
            size = (self.observation.size,)
            found |= {"normalizer.mean": size, "normalizer.scale": size}
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        data = asdict(self)
        del data["network"]["head_scale"]  # of initial weights, which are gone
        for name in ("observation", "action"):
            if data[name]["kind"] != "box":
                del data[name]["low"], data[name]["high"]
        return data


def check_spaces(card: Card, env: str, observation: Space | str, action: Space | str) -> None:
    """Refuses an environment that the policy was not made for.

    Args:
        card: the policy's.
        env: the environment's id.
        observation: what it shows; in words where no policy could take it.
        action: what it takes; likewise.

    Raises:
        UsageError: a space differs; says both.
    """
    for what, mine, its in (
        ("observations", card.observation, observation),
        ("actions", card.action, action),
    ):
        if isinstance(its, str) or not _same(mine, its):
            raise UsageError(
                f"{env} cannot be played by this policy: its {what} are {its}, and those of "
                f"{card.env}, where it was trained, are {mine}"
            )


def _same(a: Space, b: Space) -> bool:
    if (a.kind, a.size) != (b.kind, b.size):
        return False
    return np.allclose(a.low, b.low) and np.allclose(a.high, b.high)
