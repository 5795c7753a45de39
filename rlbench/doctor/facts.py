"""Plain facts about a machine, which the checks are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CUDA_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin")


@dataclass(frozen=True)
class Folder:
    """A folder to write to.

    Attributes:
        shown: its name for people.
        error: why nothing can be written there; empty if it can.
        locks: a file there can be one process's alone.
        free: bytes left on its disk.
    """

    shown: str
    error: str = ""
    locks: bool = True
    free: int = 0


@dataclass(frozen=True)
class Here:
    """All that the checks look at, but jax's devices.

    Attributes:
        python: its version.
        versions: of distributions, by canonical name; without those that are not there.
        declared: what rlbench asks for, extras included; empty if it is not installed.
        jax_declared: what the jax that is here asks for.
        commit: of the checkout, and whether it differs from it, as of `machine.commit`.
        importable: modules, and whether they can be imported.
        programs: names, and whether they are there; a library counts as one.
        environ: environment variables.
        gpu: a GPU's driver is there.
        cores: that this process may use.
        machine_cores: that the machine has.
        quota: cores' worth of processor time; None for no limit.
        load: processes that wanted a core in the last minute; None where this is not told.
        memory: bytes: the machine's, those free, and those that control groups leave, None for
            no limit.
        out: where runs go.
        cache: where compiled programs go; None if that is no folder of this machine.
    """

    python: str
    versions: Mapping[str, str]
    declared: Sequence[str]
    jax_declared: Sequence[str]
    commit: str | None
    dirty: bool | None
    importable: Mapping[str, bool]
    programs: Mapping[str, bool]
    environ: Mapping[str, str]
    gpu: bool
    cores: int
    machine_cores: int
    quota: float | None
    load: float | None
    memory: tuple[int, int, int | None]
    out: Folder
    cache: Folder | None
