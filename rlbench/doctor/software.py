"""Python, rlbench, and the distributions that decide about numbers or that commands need."""

from collections.abc import Sequence

from rlbench.doctor.facts import Here
from rlbench.doctor.finding import Finding, pip
from rlbench.doctor.tested import minor, supported, tested

PAIR = ("jax", "jaxlib")
"""Installed one without the other, pip would leave two that do not fit."""


def python(here: Here) -> list[Finding]:
    """Python's version."""
    if minor(here.python) in supported():
        return [Finding("ok", "Python", here.python)]
    known = supported()
    return [
        Finding(
            "problem",
            "Python",
            f"{here.python} is not supported; {' and '.join(known)} are",
            "make an environment of a Python that is, and install rlbench there",
            f"python{known[-1]} -m venv .venv",
        )
    ]


def rlbench(here: Here) -> list[Finding]:
    """What a run would record of rlbench itself."""
    if "rlbench" not in here.versions:
        return [
            Finding(
                "note",
                "rlbench",
                "is not installed as a distribution: runs cannot record its version",
                "install it, from its checkout",
                "python -m pip install --no-deps --editable .",
            )
        ]
    told = here.versions["rlbench"]
    if here.commit is None:
        return [Finding("ok", "rlbench", f"{told}, of no checkout")]
    told += f", commit {here.commit[:12]}"
    if not here.dirty:
        return [Finding("ok", "rlbench", told)]
    return [
        Finding(
            "note",
            "rlbench",
            f"{told} with changes: runs record that it is not the commit's code",
            "commit them before a run whose numbers are kept",
            "git status --short --untracked-files=no",
        )
    ]


def _specifier(requirement: str, extra: str) -> tuple[str, str] | None:
    """(canonical name, range) of a requirement that applies; None for another extra's."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    parsed = Requirement(requirement)
    plain = parsed.marker is None or parsed.marker.evaluate({"extra": ""})
    if extra and (plain or not (parsed.marker and parsed.marker.evaluate({"extra": extra}))):
        return None
    if not extra and not plain:
        return None
    return canonicalize_name(parsed.name), str(parsed.specifier)


def ranges(requirements: Sequence[str], extra: str = "") -> dict[str, str]:
    """Ranges of versions by distribution, as requirements declare them.

    Args:
        requirements: a distribution's, with markers.
        extra: those of this extra alone; empty for those without one.
    """
    found = [_specifier(requirement, extra) for requirement in requirements]
    return dict(one for one in found if one)


def _inside(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _command(names: Sequence[str], wanted: dict[str, str], known: dict[str, str]) -> str:
    """Installs the tested versions, or those of the range where none is tested."""
    if set(names) & set(PAIR):
        names = sorted({*names, *PAIR})
    pinned = [f"{n}=={known[n]}" if n in known else f"{n}{wanted.get(n, '')}" for n in names]
    return pip(*pinned)


def distributions(here: Here) -> list[Finding]:
    """All that rlbench asks for, against its range and against what was tested."""
    try:
        wanted = ranges(here.declared)
        wanted |= {k: v for k, v in ranges(here.jax_declared).items() if k == "jaxlib"}
    except ImportError:
        return [
            Finding(
                "problem",
                "packages",
                "not checked: packaging, which matplotlib needs, is missing",
                command=pip("packaging"),
            )
        ]
    known = tested(here.python)
    if not wanted and not known:
        return []  # there is no saying what should be here, and Python or rlbench has a line
    found, other = [], []
    for name in sorted({*wanted, *known}):
        version, fits = here.versions.get(name), wanted.get(name, "")
        if version is None:
            told = "is missing"
        elif not _inside(version, fits):
            told = f"{version} is outside what is asked for, {fits}"
        else:
            if known.get(name, version) != version:
                other.append(name)
            continue
        found.append(Finding("problem", name, told, command=_command([name], wanted, known)))
    if other:
        each = ", ".join(f"{n} {here.versions[n]} (tested: {known[n]})" for n in other)
        told = f"other versions than tested may give other numbers: {each}"
        found.append(Finding("note", "packages", told, command=_command(other, wanted, known)))
    if not found:
        how = "as tested" if known else "inside their ranges"
        told = f"{len({*wanted, *known})} {how}, jax {here.versions.get('jax')} among them"
        found = [Finding("ok", "packages", told)]
    return found


OPTIONAL = {
    "ray": ("ray", "`rlbench sweep --engine ray`"),
    "optuna": ("tune", "`rlbench tune --sampler tpe`"),
}
"""Distributions: the extra that brings them, and what needs them."""
PROGRAMS = {
    "ffmpeg": ("`rlbench render --format mp4`; gif and html do without", pip("imageio-ffmpeg")),
    "git": ("recording the commit that a run is of", "install git with the system's packages"),
    "OpenGL": (
        "`rlbench render` of Brax's tasks; html does without",
        "install the system's package libegl1 (or libosmesa6, and set MUJOCO_GL=osmesa)",
    ),
}


def optional(here: Here) -> list[Finding]:
    """What only some commands need."""
    found = []
    for name, (extra, use) in OPTIONAL.items():
        version, command = here.versions.get(name), pip(f"rlbench[{extra}]")
        try:
            wanted = ranges(here.declared, extra).get(name, "")
            fits = version is None or _inside(version, wanted)
        except ImportError:  # of packaging, which has a line already
            fits = True
        if version is None:
            found.append(Finding("note", name, f"is not here; needed for {use}", command=command))
        elif not fits:
            told = f"{version} is outside what {use} asks for, {wanted}"
            found.append(Finding("problem", name, told, command=command))
        else:
            found.append(Finding("ok", name, version))
    for name, (use, how) in PROGRAMS.items():
        if here.programs.get(name):
            found.append(Finding("ok", name, "is here"))
        else:
            typed = how if how.startswith("python") else ""
            told = f"is not here; needed for {use}"
            found.append(Finding("note", name, told, "" if typed else how, typed))
    return found
