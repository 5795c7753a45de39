"""The shape of the shared policy network, as data (importable without jax)."""

from dataclasses import dataclass

from rlbench.errors import UsageError, nearest

ACTIVATION_NAMES = ("pqn", "tanh", "relu")


@dataclass(frozen=True)
class Network:
    """The policy network's shape.

    Attributes:
        hidden: widths of the hidden layers; empty for a linear policy.
        activation: one of "pqn", "tanh", "relu".
        head_scale: factor on the output layer's initial weights.
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "pqn"
    head_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuses shapes that no network has.

        Raises:
            UsageError: a field is out of its range.
        """
        if any(width < 1 for width in self.hidden):
            raise UsageError(f"hidden must hold widths of at least 1, not {list(self.hidden)}")
        if self.activation not in ACTIVATION_NAMES:
            raise UsageError(
                f"unknown activation {self.activation!r}; "
                + nearest(self.activation, ACTIVATION_NAMES)
            )
        if not 0.0 <= self.head_scale < float("inf"):
            raise UsageError(
                f"head_scale must be a finite number of at least 0, not {self.head_scale}"
            )

    def __str__(self) -> str:
        """As tables name it: `3x256 pqn`, `64-32 tanh`, `linear`."""
        if not self.hidden:
            return "linear"
        if len(set(self.hidden)) == 1:
            return f"{len(self.hidden)}x{self.hidden[0]} {self.activation}"
        return "-".join(map(str, self.hidden)) + f" {self.activation}"
