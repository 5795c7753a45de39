"""A Ray cluster that a sweep runs on: found or started, and asked what it is. Imports no jax."""

import contextlib
import importlib
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from rlbench.errors import UsageError
from rlbench.installed import versions

ANSWER_SECONDS = 5.0
HEALTH_SECONDS = 20.0
"""Ray itself tries for many minutes, and says so on the terminal."""
PROBE_SECONDS = 60.0
"""For a new worker process on every node, which imports this package."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else a cell that needs more memory than there is is run again for ever.
    "RAY_task_oom_retries": "1",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's own switch for a cluster that listens on this machine only, on every system."""


@contextlib.contextmanager
def connected(address: str, cores: int) -> Iterator[Any]:
    """The module `ray`, connected to a cluster whose nodes have what is installed here.

    Args:
        address: "auto" or HOST:PORT; empty for RAY_ADDRESS, or else a new one on this machine.
        cores: of a new one.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or a node is not like this one.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    address = "" if address == "local" else address  # Ray's word for it
    check_address(address)
    for name, value in (SETTINGS if address else SETTINGS | LOOPBACK).items():
        os.environ.setdefault(name, value)
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            "--engine ray needs Ray, which is not installed: pip install 'rlbench[ray]'"
        ) from None
    where = f"connecting to Ray ({address})" if address else "starting Ray on this machine alone"
    console = Console(stderr=True, highlight=False)
    console.print(where, markup=False, soft_wrap=True)
    try:
        if address:
            check_health(address)
        _connect(ray, address, cores)
        told = compare(ray)
        console.print(told, markup=False, soft_wrap=True)
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuses what is no address, or where nobody answers.

    Raises:
        UsageError: says which.
    """
    if address in ("", "auto"):
        return
    found = re.fullmatch(r"\[?([A-Za-z0-9._:-]+?)\]?:(\d{1,5})", address)
    if not found or int(found[2]) > 65535:
        raise UsageError(
            f"--address must be HOST:PORT of a Ray cluster, such as 10.0.0.1:6379, or auto, "
            f"not {address!r}"
        )
    try:
        socket.create_connection((found[1], int(found[2])), ANSWER_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); `ray start --head` "
            "starts one, `ray status` shows its address"
        ) from None


def check_health(address: str) -> None:
    """Refuses what answers but is no cluster that can be used, or "auto" where there is none.

    Raises:
        UsageError: says so.
    """
    words = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    words += [] if address == "auto" else ["--address", address]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HEALTH_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return
    raise UsageError(
        f"no Ray cluster that this machine may use answers ({address}): `ray status` on a machine "
        "of the cluster shows its address, and Ray's version and token must be equal"
    )


def _connect(ray: Any, address: str, cores: int) -> None:
    new = {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else new),
        )
    except Exception as error:  # Ray has one for every way of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = f"Ray ({address}) cannot be used" if address else "Ray does not start here"
        raise UsageError(f"{what}: {lines[0]}") from None


def compare(ray: Any) -> str:
    """Asks every node what is installed there.

    Returns:
        What the cluster is, in words.

    Raises:
        UsageError: a node has something else than this machine, or none answers.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for found in ray.nodes():
        if found["Alive"]:
            there = NodeAffinitySchedulingStrategy(found["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, scheduling_strategy=there)(versions)
            asked[task.remote()] = found["NodeManagerAddress"]
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
    heard = 0
    for task in done:
        try:
            check_versions(ray.get(task), asked[task])
            heard += 1
        except lost(ray.exceptions):
            continue  # it has gone meanwhile
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1:] or [""]
            raise UsageError(
                f"the Ray node {asked[task]} cannot run rlbench: {last[0].strip()}; install there "
                "what is installed here"
            ) from None
    if not heard:
        raise UsageError(f"no node of the Ray cluster answered within {PROBE_SECONDS:.0f} s")
    return (
        f"Ray cluster: nodes {heard:,}, cores {_total(ray, 'CPU'):,}, GPUs {_total(ray, 'GPU'):,}"
    )


def check_versions(there: dict[str, str], where: str) -> None:
    """Refuses a node whose runs would not be this machine's.

    Raises:
        UsageError: names the first difference.
    """
    for name, version in versions().items():
        # Ray itself refuses other versions of Python, as far as it matters.
        if name != "python" and there.get(name) != version:
            raise UsageError(
                f"the Ray node {where} has {name} {there.get(name)}, and this machine has "
                f"{version}: install the same on both"
            )


def _total(ray: Any, resource: str) -> int:
    return int(ray.cluster_resources().get(resource, 0))


def places(ray: Any, gpu: bool, wanted: int) -> int:
    """How many cells run at once: one a core, and one a GPU if they need one.

    Raises:
        UsageError: there is no place for any, or fewer than are wanted.
    """
    total = min(_total(ray, "CPU"), _total(ray, "GPU")) if gpu else _total(ray, "CPU")
    if not total:
        raise UsageError(f"the Ray cluster has no {'GPU' if gpu else 'core'} to run cells on")
    if wanted and not 1 <= wanted <= total:
        raise UsageError(
            f"--jobs must be from 1 to the {total} cells for which the Ray cluster has room, "
            f"not {wanted}"
        )
    return wanted or total


def lost(errors: Any) -> tuple[type[Exception], ...]:
    """What Ray raises where a machine or a process on it is gone, after all retries."""
    return (
        errors.WorkerCrashedError,
        errors.NodeDiedError,
        errors.OutOfMemoryError,
        errors.TaskUnschedulableError,
    )


def gone(error: Exception) -> UsageError:
    """The sentence for a cluster that is no more."""
    last = str(error).strip().splitlines()[:1] or [""]
    return UsageError(
        f"the Ray cluster does not answer any more ({type(error).__name__}: {last[0]}); what is "
        "done is kept, and the same command goes on"
    )
