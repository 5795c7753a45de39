"""What a check says. Imports no jax."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Of one run directory or sweep.

    Attributes:
        problems: what is not as it was written, or cannot be; in sentences.
        notes: what a reader should know and is no fault.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def unless(self, holds: bool, problem: str) -> None:
        """A problem, unless something holds."""
        if not holds:
            self.problems.append(problem)
