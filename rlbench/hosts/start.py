"""jax in several processes: `jax.distributed`, set up so that it leaves the last word to us."""

import os
import socket
import sys

from rlbench.errors import UsageError
from rlbench.hosts.places import Place
from rlbench.hosts.relay import Relay

START_SECONDS = 300
HEARTBEAT_SECONDS = 100
"""Of jax's own watch over processes, which ends them without a sentence; ours is faster."""
SHUTDOWN_SECONDS = 60


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def start_jax(place: Place, service: int) -> None:
    """Joins this process's devices with those of the others.

    Args:
        place: this process's.
        service: port of process 0 for jax's coordination service.

    Raises:
        UsageError: they do not get together.
    """
    import jax

    _keep_stdout()
    # Another way in than over localhost there is not, and that must not lead over a proxy.
    os.environ.setdefault("no_grpc_proxy", "127.0.0.1")
    jax.config.update("jax_check_proxy_envs", False)
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    port = Relay(place.host, service).port if place.index else service
    try:
        jax.distributed.initialize(
            coordinator_address=f"127.0.0.1:{port}",
            num_processes=place.count,
            process_id=place.index,
            local_device_ids=place.accelerators,
            cluster_detection_method="deactivate",
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            coordinator_bind_address=f"127.0.0.1:{service}" if place.local else f"[::]:{service}",
        )
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"jax cannot join the processes of --hosts: {first}") from None


def _keep_stdout() -> None:
    """Sends nowhere what C++ prints to stdout, which is for the path of the run: gloo tells there
    whom it is connected to. Python's own `print` is as before.
    """
    sys.stdout.flush()
    ours = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = open(ours, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
