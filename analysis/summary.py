"""One run in the terminal: what it scored beside doing nothing and acting at random, its curve,
what it cost, and where it is.
"""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlbench import registry
from rlbench.display import duration, printable, quantity, score
from rlbench.errors import UsageError
from rlbench.store import RunRecord, in_words

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float]) -> str:
    """One block a value, from the lowest to the highest; missing values are blanks."""
    known = [v for v in values if v is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    spread = high - low or 1.0
    levels = [None if v is None else round((v - low) / spread * (len(BARS) - 1)) for v in values]
    return "".join(" " if level is None else BARS[level] for level in levels)


def scale(env: str) -> str:
    """What to compare a return on this environment with, in words."""
    measured = registry.scores(env)
    try:
        entry = registry.find_env(env)
    except UsageError:  # somebody's, and not installed here
        return "not measured for this environment"
    known = [
        ("doing nothing", measured.get("do_nothing")),
        ("random actions", measured.get("random")),
        ("reference", entry.reference if entry.id == registry.find_env(entry.base).id else None),
    ]
    told = [f"{name} {score(value)}" for name, value in known if value is not None]
    return ", ".join(told) if told else "not measured for this environment"


def _memory(memory: dict[str, Any]) -> str:
    def mib(name: str) -> str | None:
        if memory.get(name) is None:
            return None
        mebibytes = memory[name] / 2**20
        return f"{mebibytes:,.0f} MiB" if mebibytes >= 10 else f"{mebibytes:.2g} MiB"

    columns = [
        ("update's buffers", mib("update_buffer_bytes")),
        ("device peak", mib("device_peak_bytes")),
        ("process peak", mib("peak_rss_bytes")),
        ("after compiling", mib("rss_after_compile_bytes")),
    ]
    return ", ".join(f"{name} {value}" for name, value in columns if value)


def _cost(status: dict[str, Any]) -> list[tuple[str, str]]:
    simulated, seconds = status["simulated_env_steps"], status["train_seconds"]
    live = status["live_env_steps"] / simulated if simulated else 0.0
    rate = quantity(simulated / seconds) if seconds else "-"
    return [
        (
            "trained",
            f"{simulated:,} env steps ({live:.0%} live), {status['updates']:,} updates, "
            f"{duration(seconds)}, {rate} steps/s",
        ),
        (
            "besides",
            f"compile {status['compile_seconds'] + status['eval_compile_seconds']:.1f} s, "
            f"evaluation {status['eval_seconds']:.1f} s, setup {status['setup_seconds']:.1f} s",
        ),
        ("memory", _memory(status["memory"])),
    ]


def rows(record: RunRecord) -> list[tuple[str, str]]:
    """The summary's lines: (label, text)."""
    status, evaluations = record.status, record.evaluations
    lines = []
    if evaluations and evaluations[-1].get("return_mean") is not None:
        last = evaluations[-1]
        lines = [
            (
                "return",
                f"{score(last['return_mean'])} ± {score(last['return_std'])} "
                f"(final policy, {len(last['returns'])} episodes)",
            ),
            ("beside", scale(record.config["env"])),
            ("curve", _curve(evaluations)),
        ]
    if "train_seconds" in status:
        lines += _cost(status)
    if status["status"] != "ok":
        reason = f": {status['reason']}" if status["reason"] else ""
        lines.append(("status", f"{in_words(status)}{reason}"))
    return [*lines, ("settings", record.config["settings_source"])]


def _curve(evaluations: list[dict[str, Any]]) -> str:
    returns = [row["return_mean"] for row in evaluations]
    return f"{score(returns[0])} {sparkline(returns)} {score(returns[-1])}"


def details(record: RunRecord) -> list[tuple[str, str]]:
    """What `show` adds to the summary: (label, text) of configuration, origin and files."""
    config, provenance = record.config, record.provenance
    network = config.get("network", {})
    widths = "x".join(map(str, network.get("hidden", []))) or "no hidden layer"
    versions = [f"{k} {v}" for k, v in provenance.get("versions", {}).items()]
    dirty = " with uncommitted changes" if provenance.get("dirty") else ""
    files = sorted(f for f in record.path.rglob("*") if f.is_file() and not f.is_symlink())
    evaluations = (
        f"{config.get('evaluations')} evaluations of {config.get('eval_episodes')} episodes"
    )
    return [
        ("budget", f"{_budget(config)}; {evaluations}"),
        ("network", f"{widths} {network.get('activation', '')}"),
        ("values", _listed(config.get("settings", {}))),
        ("command", shlex.join(map(str, provenance.get("argv", [])))),
        ("versions", ", ".join([*versions, f"commit {str(provenance.get('commit'))[:10]}{dirty}"])),
        ("hardware", _listed(provenance.get("hardware", {}))),
        ("time", f"{record.status.get('started', '?')} to {record.status.get('ended', '?')}"),
        ("files", ", ".join(f"{f.relative_to(record.path)} {_size(f)}" for f in files)),
    ]


def _listed(table: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in table.items())


def _budget(config: dict[str, Any]) -> str:
    units = (("env_steps", "env steps"), ("seconds", "training seconds"))
    limits = [(config.get(f"budget_{key}"), unit) for key, unit in units]
    return " or ".join(f"{value:,} {unit}" for value, unit in limits if value is not None)


def _size(file: Path) -> str:
    count = file.stat().st_size
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def show(record: RunRecord, whole: bool = False) -> None:
    """Prints the summary, and with `whole` the details."""
    grid = Table.grid(padding=(0, 2))
    for label, text in rows(record) + (details(record) if whole else []):
        text = printable(text)
        # Text, not markup: what is shown comes from files.
        grid.add_row(Text(label, style="dim"), Text(text, style="bold" * (label == "return")))
    config = record.config
    title = printable(f"{config['algo']} on {config['env']}, seed {config['seed']}")
    good = record.status["status"] == "ok"
    console = Console(highlight=False)
    console.print(
        Panel(grid, title=Text(title), title_align="left", border_style="green" if good else "red")
    )
    # On a line of its own and never cut, so that it can be copied.
    console.print(Text(f"written to {record.path}"), soft_wrap=True)
