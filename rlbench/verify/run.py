"""One run directory: files, configuration, rows, totals, provenance, checkpoints. No jax."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load

from rlbench import record_shape, seal, store
from rlbench.arrays import state_hash
from rlbench.checkpoint import UNFINISHED, Checkpoints
from rlbench.config import RunConfig, build, cell_hash
from rlbench.errors import UsageError
from rlbench.files import MAX_ARRAYS, MAX_JSON, MAX_METRICS, digest, read_bytes
from rlbench.verify.finding import UNCOMMITTED, Findings, table
from rlbench.verify.rows import check_rows, number, read_rows

POLICY = "policy.safetensors"
LIMITS = {**dict.fromkeys(store.TABLES, MAX_JSON), store.METRICS: MAX_METRICS, POLICY: MAX_ARRAYS}
WANTED: dict[str, tuple[str, ...]] = {
    "versions": ("python", "rlbench", "jax", "jaxlib", "numpy"),
    "hardware": ("platform", "device_kind", "device_count", "processor", "usable_cores"),
    "jax": ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_enable_x64"),
}
"""Of the provenance, beside argv, commit and dirty."""


def check_run(path: Path) -> Findings:
    """Everything that can be told of a run directory without running it."""
    found = Findings()
    contents = {name: _read(path, name, found) for name in LIMITS}
    tables = {name: table(name, contents[name], found) for name in store.TABLES}
    config, provenance, status = (tables[name] for name in store.TABLES)
    if status is None or config is None:
        return found
    _check_seal(status, contents, found)
    _check_config(path, config, found)
    rows = read_rows(contents[store.METRICS] or b"", found)
    check_rows(rows, config.get("eval_episodes"), found)
    _check_status(path, status, config, rows, found)
    _check_policy(status, contents[POLICY], found)
    if provenance is not None:
        _check_provenance(provenance, found)
    _check_checkpoints(path, status, contents[store.METRICS] or b"", found)
    if not found.problems and (flaw := record_shape.flaw(status, rows)):
        found.problems.append(flaw)
    return found


def _read(path: Path, name: str, found: Findings) -> bytes | None:
    if (path / name).is_symlink():
        found.notes.append(f"{name} is a link")
    try:
        return read_bytes(path / name, LIMITS[name])
    except FileNotFoundError:
        if name != POLICY:
            found.problems.append(f"{name} is missing")
    except OSError as error:
        found.problems.append(f"{name} cannot be read: {error.strerror}")
    return None


def _check_seal(status: dict[str, Any], contents: dict[str, bytes | None], found: Findings) -> None:
    if seal.KEY not in status:
        found.notes.append("it was recorded without seals: changes to its files cannot be told")
    for name, content in contents.items():
        if flaw := seal.flaw_of_files(status, {name: content}):
            found.problems.append(flaw)


def _check_config(path: Path, config: dict[str, Any], found: Findings) -> None:
    try:
        build(RunConfig, {k: v for k, v in config.items() if k != "schema"}, "key of config.json")
    except (UsageError, TypeError, ValueError, OverflowError) as error:
        found.problems.append(f"config.json is no configuration: {error}")
        return
    path = path.resolve()
    named = path.parent.name.rpartition("-")[2]
    if path.name.startswith("seed-") and len(named) == 8:
        seed = config.get("seed", "none")  # which has a default where a person writes it
        same = isinstance(seed, int) and path.name == f"seed-{seed:04d}"
        found.unless(same, f"its folder says {path.name}, and config.json seed {seed}")
        hashed = cell_hash(config)
        told = f"its folder says configuration {named}, and config.json hashes to {hashed}"
        found.unless(named == hashed, told)


def _check_status(
    path: Path,
    status: dict[str, Any],
    config: dict[str, Any],
    rows: list[dict[str, Any]],
    found: Findings,
) -> None:
    said = status.get("status")
    found.unless(said in store.STATUSES, f"{said!r} is no status")
    if said == "running":
        words = store.in_words(status)
        more = f"; `rlbench resume {path}` goes on" if words.startswith("killed") else ""
        found.notes.append(f"it is {words}{more}")
    elif said != "ok":
        found.unless(bool(status.get("reason")), f"it is {said}, and gives no reason")
    if said == "ok" or (said == "interrupted" and "state_sha256" in status):
        _check_totals(status, config, rows, found)


def _check_totals(
    status: dict[str, Any],
    config: dict[str, Any],
    rows: list[dict[str, Any]],
    found: Findings,
) -> None:
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    if not evaluations:
        found.problems.append(f"it is {status['status']}, and has no evaluation")
        return
    last = evaluations[-1]
    for name in (*record_shape.TOTALS, "return_mean"):
        same = last.get(name) == status.get(name)
        found.unless(same, f"{name} of status.json is not that of the last evaluation")
    first = evaluations[0].get("updates") == 0
    found.unless(first, "it has no evaluation before training")
    steps, seconds = (number(config.get(f"budget_{unit}")) for unit in ("env_steps", "seconds"))
    trained, took = number(last.get("simulated_env_steps")), number(last.get("train_seconds"))
    spent = bool(steps and trained >= steps) or bool(seconds and took >= seconds)
    found.unless(spent or status["status"] != "ok", "it is ok, and has not spent its budget")
    over = max(0, trained - steps) if steps else None
    told = "overshoot_env_steps is not what is above the budget"
    found.unless(status.get("overshoot_env_steps") == over, told)


def _check_policy(status: dict[str, Any], content: bytes | None, found: Findings) -> None:
    wanted = status.get("state_sha256")
    if content is None and wanted and seal.FILES not in status:
        found.notes.append(f"it has no {POLICY}: it can be compared, and not played")
    if content is None or not wanted:
        return
    try:
        same = state_hash(load(content)) == wanted
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        found.problems.append(f"{POLICY} is no safetensors file: {error}")
        return
    found.unless(same, f"{POLICY} is not the state that status.json names")


def _check_provenance(provenance: dict[str, Any], found: Findings) -> None:
    for name in ("argv", "commit", "dirty"):
        found.unless(name in provenance, f"provenance.json does not tell {name}")
    for group, names in WANTED.items():
        told = provenance.get(group)
        for name in names:
            there = isinstance(told, dict) and told.get(name) is not None
            found.unless(there, f"provenance.json does not tell {group}.{name}")
    if provenance.get("commit") is None or provenance.get("dirty"):
        found.notes.append(UNCOMMITTED)


def _check_checkpoints(path: Path, status: dict[str, Any], metrics: bytes, found: Findings) -> None:
    checkpoints = Checkpoints(path)
    try:
        flaws = checkpoints.flaws()
    except (UsageError, OSError) as error:
        found.problems.append(str(error))
        return
    if flaws and status.get("status") == "ok":
        found.notes.append("its checkpoints were not removed; they are not needed")
        return
    for step, (flaw, record) in flaws.items():
        if flaw == UNFINISHED and status.get("status") == "running":
            found.notes.append(f"checkpoint {step} was not finished; the one before it is taken")
        else:
            found.unless(not flaw, f"checkpoint {step} is damaged ({flaw})")
        length, wanted = record.get("metrics_bytes"), record.get("metrics_sha256")
        if isinstance(length, int) and wanted:
            same = digest(metrics[:length]) == wanted
            found.unless(same, f"metrics.jsonl is not what it was at checkpoint {step}")
