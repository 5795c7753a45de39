"""The folders that a run writes to."""

from rlbench.doctor.facts import Here
from rlbench.doctor.finding import Finding
from rlbench.doctor.hardware import gib

FEW_BYTES = 1 << 30


def out(here: Here) -> list[Finding]:
    """Where run directories go."""
    folder = here.out
    if folder.error:
        told = f"cannot write to {folder.shown}: {folder.error}"
        return [Finding("problem", "--out", told, "give runs another folder: --out DIR")]
    told = f"{folder.shown} can be written to, {gib(folder.free)} free"
    found = [Finding("ok", "--out", told)]
    if folder.free < FEW_BYTES:
        how = "make room, or give runs another folder: --out DIR"
        found = [Finding("note", "--out", f"{told}: little for checkpoints", how)]
    if not folder.locks:
        told = f"{folder.shown} is on a disk without locks: two writers of one run go unnoticed"
        how = "start every run and sweep there once, or give a local folder: --out DIR"
        found.append(Finding("note", "locks", told, how))
    return found


def cache(here: Here) -> list[Finding]:
    """Where compiled programs go."""
    folder = here.cache
    if folder is None:
        told = "JAX_COMPILATION_CACHE_DIR names no folder of this machine; not looked at"
        return [Finding("ok", "cache", told)]
    if not folder.error:
        return [Finding("ok", "cache", f"{folder.shown} can be written to")]
    told = f"cannot write to {folder.shown}: {folder.error}; every run compiles anew"
    how = "name a folder that can be written to"
    return [Finding("note", "cache", told, how, "export JAX_COMPILATION_CACHE_DIR=DIR")]
