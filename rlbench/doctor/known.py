"""Combinations that are known to go wrong, each a function of its own that tells its source.

Another is one more function, and its name in `KNOWN`.
"""

import re
from collections.abc import Callable

from rlbench.doctor.facts import CUDA_PLUGINS, Here
from rlbench.doctor.finding import Finding, pip
from rlbench.doctor.tested import tested

DEVICES = re.compile(r"--xla_force_host_platform_device_count=(\d+)")
FALSE = ("", "0", "f", "false", "n", "no", "off")
GPU_PLATFORMS = ("cuda", "gpu", "rocm")


def gymnax_without_six(here: Here) -> list[Finding]:
    """Source: gymnax 1.0.1 imports six (gymnax/utils/load_mnist.py) and does not declare it."""
    if "gymnax" not in here.versions or here.importable.get("six", True):
        return []
    told = "cannot be imported without six, which it does not declare; no gymnax task runs"
    known = tested(here.python).get("six")
    return [
        Finding("problem", "gymnax", told, command=pip(f"six=={known}" if known else "six")),
    ]


def more_devices_than_cores(here: Here) -> list[Finding]:
    """Source: XLA's pool has a thread a core, and devices that wait for each other in it can wait
    for ever; seen with Brax's generalized and mjx backends, gone with NPROC=8.
    """
    asked = DEVICES.findall(here.environ.get("XLA_FLAGS", ""))
    count = int(asked[-1]) if asked else 0
    if count <= here.cores:
        return []
    told = f"asks for {count} host devices on {here.cores} cores: runs are slower"
    threads = here.environ.get("NPROC", "")
    enough = threads.isdecimal() and int(threads) >= count
    return [
        Finding(
            "note" if enough else "problem",
            "XLA_FLAGS",
            told if enough else f"{told}, and can hang",
            "leave the number to rlbench, or give --host-devices",
            "unset XLA_FLAGS",
        )
    ]


def generator(here: Here) -> list[Finding]:
    """Source: `seeding.check_generator`, which refuses to run with another generator."""
    found = []
    impl = here.environ.get("JAX_DEFAULT_PRNG_IMPL", "threefry2x32")
    if impl != "threefry2x32":
        told = f"{impl} is another generator than threefry2x32; runs are refused"
        found.append(("JAX_DEFAULT_PRNG_IMPL", told))
    if (here.environ.get("JAX_THREEFRY_PARTITIONABLE") or "1").lower() in FALSE:
        told = "is off: vmapped noise would differ from looped noise; runs are refused"
        found.append(("JAX_THREEFRY_PARTITIONABLE", told))
    return [Finding("problem", name, told, command=f"unset {name}") for name, told in found]


def other_bits(here: Here) -> list[Finding]:
    """Source: jax's documentation of these; runs record them, and are resumed with them alone."""
    found = []
    if here.environ.get("JAX_ENABLE_X64", "").lower() not in FALSE:
        found.append(("JAX_ENABLE_X64", "is on"))
    if precision := here.environ.get("JAX_DEFAULT_MATMUL_PRECISION"):
        found.append(("JAX_DEFAULT_MATMUL_PRECISION", f"is {precision}"))
    flags = [word.partition("=")[0] for word in here.environ.get("XLA_FLAGS", "").split()]
    if more := [flag for flag in flags if flag != DEVICES.pattern.partition("=")[0]]:
        found.append(("XLA_FLAGS", f"has {', '.join(more)}"))
    return [
        Finding(
            "note",
            name,
            f"{told}: numbers may differ in their bits from those of runs without",
            "unless that is meant",
            f"unset {name}",
        )
        for name, told in found
    ]


def hidden_gpu(here: Here) -> list[Finding]:
    """Source: jax and CUDA look at no GPU that these variables leave out."""
    if not here.gpu:
        return []
    found = []
    platforms = here.environ.get("JAX_PLATFORMS", "")
    if platforms and not set(platforms.lower().split(",")) & set(GPU_PLATFORMS):
        found.append(("JAX_PLATFORMS", f"is {platforms}"))
    if here.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        found.append(("CUDA_VISIBLE_DEVICES", "names no GPU"))
    return [
        Finding(
            "note",
            name,
            f"{told}: the GPU that is here goes unused",
            "unless that is meant",
            f"unset {name}",
        )
        for name, told in found
    ]


def gpu_without_plugin(here: Here) -> list[Finding]:
    """Source: jaxlib alone computes on CPUs; a plugin of another version is left out by jax."""
    jax, jaxlib = here.versions.get("jax", ""), here.versions.get("jaxlib", "")
    there = {name: here.versions[name] for name in CUDA_PLUGINS if name in here.versions}
    if not jax or not jaxlib:
        return []
    if here.gpu and not there:
        told = "a GPU is here, and jax has no plugin for it: runs use the CPU"
        how = "for a driver of CUDA 13; cuda12 before that"
        return [Finding("note", "GPU", told, how, pip(f"jax[cuda13]=={jax}"))]
    return [
        Finding(
            "problem",
            name,
            f"{version} does not fit jaxlib {jaxlib}: jax would leave the GPU out",
            command=pip(f"jax[{name.split('-')[1]}]=={jax}"),
        )
        for name, version in there.items()
        if _release(version) != _release(jaxlib)
    ]


def _release(version: str) -> list[str]:
    """The numbers that jaxlib compares a plugin's with its own by: 0.10.2 of 0.10.2.post1."""
    return re.findall(r"\d+", version.partition(".post")[0].partition(".dev")[0])


def shardy(here: Here) -> list[Finding]:
    """Source: `blocks`: Shardy crashes on Brax's steps for two CPU devices (jax 0.11.2)."""
    numbers = re.findall(r"\d+", here.versions.get("jax", ""))[:2]
    if [int(n) for n in numbers] < [0, 11]:
        return []
    name = "JAX_USE_SHARDY_PARTITIONER"
    if here.environ.get(name, "").lower() not in FALSE:
        told = "is on: jax 0.11 crashes with it on Brax's steps for two CPU devices"
        return [Finding("problem", name, told, command=f"unset {name}")]
    told = "jax 0.11 crashes with it on Brax's steps for two CPU devices"
    return [Finding("note", "Shardy", told, "nothing to do: rlbench switches it off itself")]


KNOWN: tuple[Callable[[Here], list[Finding]], ...] = (
    gymnax_without_six,
    more_devices_than_cores,
    generator,
    other_bits,
    hidden_gpu,
    gpu_without_plugin,
    shardy,
)
