"""The limits that a container or a batch system sets: control groups of both versions. No jax."""

from collections.abc import Iterator
from pathlib import Path

GROUPS, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def _folders(controller: str, groups: Path, mount: Path) -> Iterator[tuple[Path, int]]:
    """Folders of this process's groups, and of those above, which bind it too; with their version.

    Args:
        controller: version 1's name of what is limited.
        groups: this process's, as Linux lists them: ID:CONTROLLERS:PATH.
        mount: where they are.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and controller not in controllers.split(","):
            continue
        top, version = (mount / controller, 1) if controllers else (mount, 2)
        here = Path(path.lstrip("/"))
        # In a container only the last of them may be there.
        yield from ((top / above, version) for above in (here, *here.parents))


def memory_room(groups: Path = GROUPS, mount: Path = MOUNT) -> int | None:
    """Bytes that this process's control groups still allow it; None where they set no limit.

    What the kernel keeps of files is counted as free, as it gives that back.
    """
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        2: ("memory.max", "memory.current", ""),
    }
    found = [_room(folder, *names[v]) for folder, v in _folders("memory", groups, mount)]
    return min((room for room in found if room is not None), default=None)


def _room(folder: Path, limit: str, usage: str, prefix: str) -> int | None:
    try:
        most, used = (_text(folder / name) for name in (limit, usage))
        kept = _text(folder / "memory.stat").split()
        by_name = dict(zip(kept[::2], map(int, kept[1::2]), strict=False))
        files = sum(by_name.get(f"{prefix}{name}_file", 0) for name in ("active", "inactive"))
        return None if most == "max" else max(0, int(most) - int(used) + files)
    except (OSError, ValueError):
        return None


def processor_quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float | None:
    """Cores' worth of processor time that may be used; None for no limit."""
    found = []
    for folder, version in _folders("cpu", groups, mount):
        names = ["cpu.max"] if version == 2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        try:
            quota, period = (int(x) for name in names for x in _text(folder / name).split())
        except (OSError, ValueError):  # "max" sets no limit
            continue
        if quota >= 0 and period > 0:  # nor does -1
            found.append(quota / period)
    return min(found, default=None)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()
