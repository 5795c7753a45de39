"""Cores and memory: what there is of them, and what this process may use."""

from rlbench.doctor.facts import Here
from rlbench.doctor.finding import Finding

BUSY = 0.5
"""Load a core above which a timing says more about the other processes."""
FEW_BYTES = 2 << 30
"""A small run's process peaks at 1 GiB, after compiling."""


def gib(count: float) -> str:
    """Bytes in GiB."""
    return f"{count / (1 << 30):,.1f} GiB"


def cores(here: Here) -> list[Finding]:
    """Usable ones against the machine's, and the share of their time."""
    told = f"{here.cores} of {here.machine_cores} may be used"
    found = []
    if here.cores < here.machine_cores:
        how = "unless that is meant: ask the batch system, the container or taskset for more"
        found.append(Finding("note", "cores", told, how))
    else:
        found.append(Finding("ok", "cores", told))
    if here.quota is not None and here.quota < here.cores:
        told = f"a control group allows {here.quota:g} cores' worth of time on {here.cores} cores"
        how = f"raise the container's limit, or take --host-devices {max(1, int(here.quota))}"
        found.append(Finding("note", "CPU quota", f"{told}: threads are stopped in between", how))
    return found


def load(here: Here) -> list[Finding]:
    """Whether other processes are at work."""
    if here.load is None:
        return []
    told = f"{here.load:.1f} on {here.machine_cores} cores in the last minute"
    if here.load <= BUSY * here.machine_cores:
        return [Finding("ok", "load", told)]
    how = "wait until the machine is idle before you measure speed; returns are not affected"
    return [Finding("note", "load", f"{told}: timings are not to be quoted", how)]


def memory(here: Here) -> list[Finding]:
    """The machine's, what is free, and what a control group leaves of that."""
    total, free, room = here.memory
    told = f"{gib(free)} free of {gib(total)}"
    if room is not None and room < free:
        told += f", of which a control group leaves {gib(room)}"
        free = room
    if free >= FEW_BYTES:
        return [Finding("ok", "memory", told)]
    how = "end other processes, or let runs refuse to begin: --max-memory 1GiB"
    return [Finding("note", "memory", f"{told}: a run needs about 1 GiB", how)]
