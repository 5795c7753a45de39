"""Finds the facts about this machine, without jax."""

import ctypes.util
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

from rlbench import machine
from rlbench.cgroups import memory_room, processor_quota
from rlbench.doctor.facts import CUDA_PLUGINS, Folder, Here
from rlbench.doctor.tested import tested
from rlbench.folders import locks_work
from rlbench.installed import own_cache, usable_cores


def canonical(name: str) -> str:
    """A distribution's name in the one spelling that stands for all."""
    return re.sub(r"[-_.]+", "-", name).lower()


def look(out: str) -> Here:
    """Looks around.

    Args:
        out: the folder for run directories.
    """
    declared = _requires("rlbench")
    named = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in declared]
    python = platform.python_version()
    names = {"rlbench", *map(canonical, named), *tested(python), *CUDA_PLUGINS}
    memory = psutil.virtual_memory()
    return Here(
        python=python,
        versions=_versions(names),
        declared=declared,
        jax_declared=_requires("jax"),
        **machine.commit(),
        importable={"six": _imports("six")},
        programs={"git": bool(shutil.which("git")), "ffmpeg": _ffmpeg(), "OpenGL": _opengl()},
        environ=dict(os.environ),
        gpu=any(Path("/dev").glob("nvidia[0-9]*")),
        cores=usable_cores(),
        machine_cores=os.cpu_count() or 1,
        quota=processor_quota(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        memory=(memory.total, memory.available, memory_room()),
        out=folder(Path(out), out),
        cache=_cache(),
    )


def folder(path: Path, shown: str) -> Folder:
    """Tries a folder, or where it is not there yet the nearest around it; leaves nothing behind."""
    try:
        while not path.exists() and path != path.parent:
            if path.is_symlink():
                return Folder(shown, error="it leads through a link to what is not there")
            path = path.parent
        with tempfile.NamedTemporaryFile(dir=path, prefix=".rlbench-doctor-") as file:
            file.write(bytes(4096))  # an empty file fits on a full disk
            file.flush()
            locks = locks_work(Path(file.name))
        return Folder(shown, locks=locks, free=shutil.disk_usage(path).free)
    except OSError as error:
        return Folder(shown, error=(error.strerror or type(error).__name__).lower())


def _cache() -> Folder | None:
    try:
        path = own_cache()
    except RuntimeError:  # no home directory
        return Folder("the compile cache", error="there is no home directory")
    if path:
        base = "$XDG_CACHE_HOME" if os.environ.get("XDG_CACHE_HOME") else "~/.cache"
        return folder(path, f"{base}/rlbench/programs")
    told = os.environ["JAX_COMPILATION_CACHE_DIR"]
    return folder(Path(told), "$JAX_COMPILATION_CACHE_DIR") if told and "://" not in told else None


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            version: str | None = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = version or "of no version"  # None where its files are damaged
    return found


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _ffmpeg() -> bool:
    """As `film.find_ffmpeg` looks for it, whose module needs more than may be there."""
    if os.environ.get("IMAGEIO_FFMPEG_EXE") or shutil.which("ffmpeg"):
        return True
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def _opengl() -> bool:
    """Whether there is the library that `envs.brax_renderer` has MuJoCo draw with."""
    osmesa = os.environ.get("MUJOCO_GL", "").lower().strip() == "osmesa"
    return ctypes.util.find_library("OSMesa" if osmesa else "EGL") is not None
