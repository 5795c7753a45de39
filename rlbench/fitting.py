"""Whether a run fits in memory, asked of its programs before anything of it is allocated; and where
it does not, which smaller setting would.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import jax

from rlbench import meter
from rlbench.algorithm import AnyAlgorithm, SizedBySetting, Task, evaluate
from rlbench.blocks import Blocks
from rlbench.errors import RunError, UsageError
from rlbench.finite import float_arrays, update_function
from rlbench.memory import Room, least_bytes, resident_bytes, told_size
from rlbench.seeding import evaluation_keys, run_streams

EVAL_LANES = 32
"""Lanes of an evaluation block: fixed, so that its bits do not depend on the machine."""
GENERAL = "a smaller population, batch or network needs less"
MARGIN = 0.95
"""What is advised takes at most this share of the room: no two processes are of the same size."""
NEIGHBOURS, TRIES = 256, 4
"""Most values that are tried for one that an agent takes, and most of those that are compiled."""


class Programs:
    """Update and evaluation of an algorithm on a task, known by their shapes.

    Attributes:
        shapes: of the algorithm's state.
        names: of the state's arrays that can be NaN.
        first: computes the state before the first update.
        keys: computes the evaluation's keys.
        compiled: `compile` was called; before, sizes are lower bounds.
    """

    def __init__(
        self, algorithm: AnyAlgorithm, task: Task, seed: int, episodes: int, clocks: meter.Clocks
    ) -> None:
        """Traces both; nothing is compiled or computed.

        Args:
            algorithm: with its settings.
            task: where it learns.
            seed: the run's.
            episodes: of an evaluation.
            clocks: what this takes is added to setup, compile and eval_compile.
        """
        self.first = lambda: algorithm.init(task, run_streams(seed))
        self.keys = lambda: evaluation_keys(episodes)
        self.compiled, self._clocks = False, clocks
        blocks = task.blocks
        # Bytes that XLA tells are one device's, and those of a CPU share the machine's memory.
        here = min(blocks.devices, jax.local_device_count())
        self._devices = here if jax.default_backend() == "cpu" else 1
        out = blocks.replicated if blocks.spans_processes else None
        calm = Task(task.env, task.policy, Blocks(EVAL_LANES, blocks.devices))
        with clocks.running("setup"):
            self.shapes = _on(jax.eval_shape(self.first), blocks)
            self.names = list(float_arrays(self.shapes))
            keys = _on(jax.eval_shape(self.keys), blocks)
        with clocks.running("compile"):
            update = update_function(algorithm, task)
            self._update = meter.Traced(update, self.shapes, donate=True, out=out)
        with clocks.running("eval_compile"):
            self._evaluate = meter.Traced(
                lambda state, keys: evaluate(algorithm, calm, state, keys),
                self.shapes,
                keys,
                out=out,
            )

    def compile(self) -> None:
        """Compiles both: `update` of a state, and `evaluate` of a state and the keys."""
        with self._clocks.running("compile"):
            self.update = meter.Compiled(self._update)
        with self._clocks.running("eval_compile"):
            self.evaluate = meter.Compiled(self._evaluate)
        self.compiled = True

    def sizes(self) -> dict[str, int]:
        """Bytes of both's buffers, on all devices of this process."""
        if self.compiled:
            both = (self.update.buffer_bytes(), self.evaluate.buffer_bytes())
            update, evaluation = ((x or 0) * self._devices for x in both)
        else:
            update, evaluation = (least_bytes(x.jaxpr) for x in (self._update, self._evaluate))
        return {"update": update, "evaluation": evaluation}

    def needed(self, room: Room) -> int:
        """Bytes that count against this limit."""
        return max(self.sizes().values()) + (resident_bytes() if room.of_process else 0)


def _on(shapes: Any, blocks: Blocks) -> Any:
    """Shapes of what `blocks.put` puts."""
    return jax.tree.map(lambda x: x.update(sharding=blocks.replicated), shapes)


def too_large(programs: Programs, room: Room) -> tuple[str, str]:
    """What does not fit, "update" or "evaluation", and the sentence that says so; empty if both do.

    Args:
        programs: traced or compiled.
        room: for them.
    """
    own = resident_bytes() if room.of_process else 0
    least = "" if programs.compiled else "at least "
    for what, buffers in programs.sizes().items():
        if own + buffers > room.bytes:
            beside = f" beside the process's {told_size(own)}" if own else ""
            needs = f"an {what} needs {least}{told_size(buffers)} of buffers{beside}"
            return what, f"{needs}, more than {room.told}"
    return "", ""


def smaller(
    algorithm: AnyAlgorithm, make: Callable[[AnyAlgorithm], Programs], room: Room, needed: int
) -> str:
    """The advice that belongs to `too_large`: a half, quarter, … of the setting that fits.

    Args:
        algorithm: what needs too much.
        make: the programs of one with another value of its `memory_setting`.
        room: for the whole of it.
        needed: bytes that count against that.
    """
    options = list(_halves(algorithm))
    if not options:
        return GENERAL
    best = smallest = options[-1]
    (name, value), low = _setting(algorithm), _setting(smallest)[1]
    fits, least = _try(smallest, make, room)
    if not fits:
        return f"even --set {name}={low} would need {told_size(least)}; {GENERAL}"
    for _ in range(TRIES):
        # What is needed grows with the setting from some offset, so that no larger one can fit.
        slope = max((needed - least) / (value - low), 1e-9)
        reach = low + (MARGIN * room.bytes - least) / slope
        options = [x for x in options[:-1] if _setting(x)[1] < value] + [smallest]
        chosen = next((x for x in options if _setting(x)[1] <= reach), smallest)
        if chosen is smallest:
            break
        value = _setting(chosen)[1]
        fits, needed = _try(chosen, make, room)
        if fits:
            best = chosen
            break
    return f"--set {name}={_setting(best)[1]} would fit"


def _try(
    algorithm: AnyAlgorithm, make: Callable[[AnyAlgorithm], Programs], room: Room
) -> tuple[bool, int]:
    """Whether it fits, and the bytes that it needs; it is only compiled if it might."""
    programs = make(algorithm)
    if programs.needed(room) <= MARGIN * room.bytes:
        programs.compile()
    needed = programs.needed(room)
    return programs.compiled and needed <= MARGIN * room.bytes, needed


def _setting(algorithm: AnyAlgorithm) -> tuple[str, int]:
    name = cast(SizedBySetting, algorithm).memory_setting
    return name, int(getattr(algorithm, name))


def _halves(algorithm: AnyAlgorithm) -> Iterator[AnyAlgorithm]:
    """The algorithm with half its `memory_setting`, a quarter, …: each, or the next less that it
    takes.
    """
    name = getattr(algorithm, "memory_setting", None)
    if not isinstance(name, str) or not isinstance(getattr(algorithm, name, None), int):
        return
    value = _setting(algorithm)[1]
    while (value := value // 2) > 0:
        for near in range(value, max(value // 2, value - NEIGHBOURS), -1):
            try:
                yield replace(cast(Any, algorithm), **{name: near})
                break
            except Exception:  # it does not take this one; somebody's may say so as it likes
                continue


@contextmanager
def memory_told(algorithm: AnyAlgorithm) -> Iterator[None]:
    """Has a failed allocation told in a sentence.

    Raises:
        RunError: the sentence, in place of what the allocator raised.
    """
    try:
        yield
    except (RunError, UsageError):  # told already, and perhaps in these words of a full disk
        raise
    except Exception as error:  # jax raises it as JaxRuntimeError, or as ValueError
        text = str(error)
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in text:
            raise
        said = text.rpartition("RESOURCE_EXHAUSTED:")[2].strip().partition("\n")[0].rstrip(".")
        half = next(_halves(algorithm), None)
        hint = (
            "--set {}={} or a smaller network needs less".format(*_setting(half))
            if half
            else GENERAL
        )
        raise RunError(f"out of memory: {said or 'no more can be had'}; {hint}", "") from error
