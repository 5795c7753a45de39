"""Any strategy of evosax by its name there: `--algo evosax/NAME`.

Lange 2022, "evosax: JAX-based Evolution Strategies", https://arxiv.org/abs/2212.04180. Each runs
as evosax 0.3.2 ships it, with its own optimiser, default parameters and deviations: xNES takes an
element-wise exponential for the matrix's, iAMaLGaM starts at variance 1 whatever sigma is, and
standard deviations that follow a schedule lag a generation behind it.
"""

import dataclasses
import inspect
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
import optax

from rlbench.agents._evosax import EvosaxAgent, Strategy
from rlbench.bounds import not_negative
from rlbench.errors import UsageError, nearest
from rlbench.types import Params


@dataclass(frozen=True)
class EvosaxByName(EvosaxAgent):
    """A strategy of evosax.

    Attributes:
        sigma: the strategy's `std_init`, or the constant that its standard deviation follows.
        learning_rate: of Adam instead of the strategy's own optimiser; 0 leaves that as it is.
        params: others of the strategy's own parameters, such as params={std_min=0.01}.
    """

    name: ClassVar[str] = ""
    sigma: float = 0.05
    learning_rate: float = 0.0
    params: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what cannot be run.

        Raises:
            UsageError: an option is out of its range, or no parameter of the strategy.
        """
        super().__post_init__()
        not_negative(self, "learning_rate")
        if self.learning_rate and "optimizer" not in self._takes():
            raise UsageError(f"evosax's {self.name} has no optimiser: leave out learning_rate")

    def _takes(self) -> set[str]:
        from evosax.algorithms import algorithms

        return set(inspect.signature(algorithms[self.name].__init__).parameters)

    def strategy(self, weights: Params) -> Strategy:
        """As evosax makes it."""
        from evosax.algorithms import algorithms

        given: dict[str, Any] = {}
        if "std_schedule" in self._takes():
            given["std_schedule"] = optax.constant_schedule(self.sigma)
        if self.learning_rate:
            given["optimizer"] = optax.adam(self.learning_rate)
        es = algorithms[self.name](self.pop_size, weights, **given)
        params = es.default_params
        known = {f.name for f in dataclasses.fields(params)}
        for name in self.params:
            if name not in known:
                raise UsageError(
                    f"evosax's {self.name} has no parameter {name!r}; {nearest(name, known)}"
                )
        chosen: dict[str, float] = {"std_init": self.sigma} if "std_init" in known else {}
        chosen |= self.params
        return Strategy(es, params.replace(**{k: jnp.float32(v) for k, v in chosen.items()}))

    @property
    def title(self) -> str:
        """How refusals call it."""
        return f"evosax/{self.name}"


def __getattr__(name: str) -> type[EvosaxByName]:
    """The agent of the strategy of this name, for `package.module:name`."""
    from evosax.algorithms import algorithms

    if name not in algorithms:
        raise AttributeError(name)
    cls = type(name, (EvosaxByName,), {"name": name, "__doc__": f"{name} of evosax."})
    return dataclass(frozen=True)(cls)
