"""Clocks and memory: measured here, by one code path, for every algorithm.

`train_seconds` counts updates only, each waited for; compilation, evaluation and writing have
clocks of their own. Memory has three sources, and a record says which it has: the buffers of the
compiled update (argument + output + temp as XLA assigned them; its `peak_memory_in_bytes` is wrong
on CPU), the device's own peak where the backend tells it, and the process's resident set.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax

CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
"""XLA's CPU compiler hands matrix products to a library, and by default sums and their neighbours
too. Those start threads of their own for a few microseconds of work, which cartpole pays with half
its speed (jax 0.10 and 0.11). With jaxlib 0.10.2's default a sum of products whose factor is
broadcast over the leading axis is also wrong beyond 32,768 results."""


@dataclass
class Clocks:
    """Seconds spent, by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Adds the body's duration to the clock `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self[name] + time.perf_counter() - start

    def __getitem__(self, name: str) -> float:
        return self.seconds.get(name, 0.0)


class Traced:
    """A function as a program for one set of shapes, not compiled yet.

    Attributes:
        jaxpr: the program.
        traces: how often the function was traced.
    """

    def __init__(
        self, function: Callable[..., Any], *args: Any, donate: bool = False, out: Any = None
    ) -> None:
        """Traces; for the arguments see `Compiled`."""
        self.traces = 0

        def counted(*values: Any) -> Any:
            self.traces += 1
            return function(*values)

        chosen = {} if out is None else {"out_shardings": out}
        jitted = jax.jit(counted, donate_argnums=(0,) if donate else (), **chosen)
        self._traced = jitted.trace(*args)
        self.jaxpr = self._traced.jaxpr.jaxpr

    def compile(self, options: Mapping[str, str]) -> Any:
        """What XLA makes of it."""
        return self._traced.lower().compile(compiler_options=dict(options))


class Compiled:
    """A function compiled ahead of time for one set of shapes, which can never be traced again."""

    def __init__(
        self,
        function: Callable[..., Any] | Traced,
        *args: Any,
        donate: bool = False,
        out: Any = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Traces and compiles.

        Args:
            function: a pure function; or one that was traced, and then nothing else but `options`.
            args: example arguments, or their shapes and shardings; later calls must match these.
            donate: let the first argument's buffers be reused for the result.
            out: the results' sharding, if XLA is not to choose it.
            options: of XLA's compiler; those of the platform if None.
        """
        if options is None:
            options = CPU_OPTIONS if jax.default_backend() == "cpu" else {}
        traced = function
        if not isinstance(traced, Traced):
            traced = Traced(traced, *args, donate=donate, out=out)
        self.traced, self._call = traced, traced.compile(options)

    def __call__(self, *args: Any) -> Any:
        """Runs it and waits for the result.

        Raises:
            RuntimeError: it was traced more than once, so a time would include a compilation.
        """
        out = jax.block_until_ready(self._call(*args))
        if self.traced.traces != 1:
            raise RuntimeError(
                f"the function was traced {self.traced.traces} times instead of once"
            )
        return out

    def program(self) -> str:
        """What was compiled, as XLA tells it."""
        return str(self._call.as_text())

    def cost(self) -> dict[str, float]:
        """XLA's own count of "flops" and "bytes accessed", if it tells; a loop counts once."""
        return dict(self._call.cost_analysis() or {})

    def buffer_bytes(self) -> int | None:
        """Argument + output + temp - aliased bytes, or None where XLA does not tell."""
        analysis = self._call.memory_analysis()
        if analysis is None:
            return None
        return int(
            analysis.argument_size_in_bytes
            + analysis.output_size_in_bytes
            + analysis.temp_size_in_bytes
            - analysis.alias_size_in_bytes
        )


def peak_resident_bytes() -> int:
    """The process's largest resident set so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_peak_bytes() -> int | None:
    """The first device's peak, or None where the backend does not tell (CPU)."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else int(stats["peak_bytes_in_use"])
