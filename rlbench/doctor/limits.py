"""The limits that a container or a batch system sets: control groups of both versions."""

from collections.abc import Iterator
from pathlib import Path


def _groups(root: Path, membership: str, controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those around it, as far as they are visible.

    Args:
        root: where control groups are mounted.
        membership: /proc/self/cgroup's text.
        controller: version 1's name of what is limited.
    """
    for line in membership.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        here = top / path.strip("/")
        # In a container the path may be the host's, of which only the top is mounted.
        yield from (here, *(p for p in here.parents if p.is_relative_to(top)))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []


def _numbers(words: list[str]) -> list[int]:
    """The numbers; none for "max" or -1, which set no limit."""
    return [int(w) for w in words] if words and all(w.isdecimal() for w in words) else []


def processor_quota(root: Path, membership: str) -> float | None:
    """Cores' worth of processor time that may be used; None for no limit."""
    found = []
    for group in _groups(root, membership, "cpu"):
        both = _numbers(_words(group / "cpu.max"))
        if not both:
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            both = _numbers([word for name in files for word in _words(group / name)])
        if len(both) == 2 and both[1]:
            found.append(both[0] / both[1])
    return min(found, default=None)


def memory_limit(root: Path, membership: str) -> int | None:
    """Bytes that may be used; None for no limit."""
    found = []
    for group in _groups(root, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found += _numbers(_words(group / name))
    return min(found, default=None)
