"""`--hosts`: which processes make up the run, and which of them this one is. Imports no jax, but to
find a launcher's environment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlbench.errors import UsageError

FORM = "HOST:PORT,HOST,..., one entry a process, the first with a free port"
LOOKED_FOR = (
    "SLURM (srun sets SLURM_JOB_ID, SLURM_STEP_NODELIST, SLURM_NTASKS, SLURM_PROCID and "
    "SLURM_LOCALID), Open MPI (mpirun sets OMPI_MCA_orte_hnp_uri) and Kubernetes "
    "(KUBERNETES_SERVICE_HOST)"
)


@dataclass(frozen=True)
class Place:
    """Where this process stands among those of the run.

    Attributes:
        host: on which process 0 runs, as the others can reach it.
        port: on which process 0 listens.
        count: number of processes, 2 or more.
        index: this one's, from 0.
        local: no process is on another machine, as far as the names tell.
        accelerators: those of this machine's that this process may use; None for all.
    """

    host: str
    port: int
    count: int
    index: int
    local: bool = False
    accelerators: tuple[int, ...] | None = None


def find_place(hosts: str, index: str) -> Place | None:
    """The place that both flags describe; None for a process on its own.

    Raises:
        UsageError: they describe none.
    """
    if not hosts:
        if index:
            raise UsageError("--host-index needs --hosts, which lists the processes of the run")
        return None
    if hosts == "auto":
        if index:
            raise UsageError("--host-index cannot be given with --hosts auto: the launcher sets it")
        return _of_launcher()
    names = [name.strip() for name in hosts.split(",")]
    host, port = _coordinator(names, hosts)
    return Place(host, port, len(names), _index(index, len(names)), all(map(_is_here, names)))


def _coordinator(names: Sequence[str], hosts: str) -> tuple[str, int]:
    """The first entry's host and port."""
    host, colon, port = names[0].rpartition(":")
    if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(
            f"--hosts takes auto or {FORM} from 1 to 65535, such as node1:7777,node2, not {hosts!r}"
        )
    for name in names[1:]:
        if not name or ":" in name.partition("]")[2] or (":" in name and name[0] != "["):
            raise UsageError(
                f"--hosts takes {FORM}; entry {name!r} must be the name of a host without a port"
            )
    if len(names) == 1:
        raise UsageError("--hosts lists one process alone; leave it out, or add the other hosts")
    return host.strip("[]"), int(port)


def _is_here(name: str) -> bool:
    bare = name.rpartition(":")[0] if name.count(":") == 1 else name
    return bare in ("localhost", "127.0.0.1")


def _index(index: str, count: int) -> int:
    if not index.isdecimal() or int(index) >= count:
        told = f"not {index!r}" if index else "and is missing"
        raise UsageError(
            f"--host-index must be a whole number from 0 to {count - 1}, the place of this process "
            f"in --hosts, {told}"
        )
    return int(index)


def _of_launcher() -> Place | None:
    """The place that a launcher's environment tells, as jax reads it.

    jax reads it on the way to `jax.distributed.initialize`, which comes too late here: processes
    are to find out about each other's mistakes before jax starts.
    """
    from jax._src.clusters import ClusterEnv

    try:
        found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, 60)
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"--hosts auto cannot read the launcher's environment ({error}); give {FORM} instead"
        ) from None
    address, count, index, accelerators = found
    if address is None or count is None or index is None:
        raise UsageError(
            f"--hosts auto finds no launcher; it looks for {LOOKED_FOR}. Without one give {FORM}"
        )
    host, _, port = address.rpartition(":")
    if count == 1:
        return None
    return Place(
        host, int(port), count, index, accelerators=tuple(accelerators) if accelerators else None
    )


def without_names(argv: Sequence[str]) -> list[str]:
    """A command line whose --hosts names no machine, for what others get to read."""
    told, is_value = [], False
    for word in argv:
        flag, equals, value = word.partition("=")
        if is_value:
            told.append(_anonymous(word))
        elif flag == "--hosts" and equals:
            told.append(f"--hosts={_anonymous(value)}")
        else:
            told.append(word)
        is_value = word == "--hosts"
    return told


def _anonymous(hosts: str) -> str:
    if hosts == "auto":
        return hosts
    return ",".join(["HOST:PORT", *["HOST"] * hosts.count(",")])
