"""Settings as data: `agents/settings/paper.toml` and `laptop.toml`, by environment and agent.

A file has a section per full env id, and one called `default`. In it, `network` is the policy
network of every algorithm compared there, and an agent's settings are the sections that
`agents.toml` names for it, a later one over an earlier (`es`, then `eggroll`).

Instead of a profile's name there may be a file of one's own, such as `rlbench tune` writes:

    schema = 1
    ["gymnax/CartPole-v1".eggroll]
    source = "where they come from"
    settings = { sigma = 0.1 }
    network = { hidden = [64] }
    tuning = { seeds = [1000] }      # which must not be reported
"""

from pathlib import Path
from typing import Any

from rlbench.errors import UsageError, nearest
from rlbench.given import as_table, read_given
from rlbench.registry import AgentEntry, read_table

PROFILES = ("laptop", "paper")
FILE_SCHEMA = 1


def check_profile(name: str) -> None:
    """Refuses what is neither a profile nor a file.

    Raises:
        UsageError: offers the profiles.
    """
    if name not in PROFILES and not Path(name).is_file():
        raise UsageError(
            f"unknown settings {name!r}; {nearest(name, PROFILES)} (or the path of a file that "
            "`rlbench tune` wrote)"
        )


def profile_settings(
    profile: str, env: str, agent: AgentEntry
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The settings a profile has for an agent on an environment.

    Args:
        profile: "laptop", "paper", or the path of a settings file.
        env: full env id.
        agent: whose settings.

    Returns:
        (the agent's settings, the network's, where they come from in words).

    Raises:
        UsageError: no such profile, or a file that has none for these two.
    """
    check_profile(profile)
    if profile not in PROFILES:
        given = _section(Path(profile), env, agent.name)
        source = f"{Path(profile).name}: {given.get('source', 'no source told')}"
        return given.get("settings", {}), given.get("network", {}), source
    table = read_table("rlbench.agents", f"settings/{profile}.toml")
    own = table.get(env, {})
    sections = [s for s in agent.settings if s in own]
    found = bool(sections) or not agent.settings
    rows = own if found else table["default"]
    settings: dict[str, Any] = {}
    for name in agent.settings:
        settings |= {k: v for k, v in rows.get(name, {}).items() if k != "source"}
    network = own.get("network", table["default"]["network"])
    if agent.plugin:
        return {}, network, f"defaults of {agent.plugin.owner}; network of {profile} settings"
    sources = [rows[s]["source"] for s in agent.settings if "source" in rows.get(s, {})]
    if found:
        told = f": {sources[-1]}" if sources else ""
        return settings, network, f"{profile} settings for {env}{told}"
    return settings, network, f"{profile} settings have none for {env}: their documented default"


def check_seed(profile: str, env: str, agent: AgentEntry, seed: int) -> None:
    """Refuses to report a seed that the settings were tuned on.

    Raises:
        UsageError: it is one of those; says which are.
    """
    if profile in PROFILES:
        return
    tuned = as_table(_section(Path(profile), env, agent.name).get("tuning", {}), profile)
    seeds = tuned.get("seeds", [])
    if seed in (seeds if isinstance(seeds, list) else [seeds]):
        raise UsageError(
            f"seed {seed} is one that {Path(profile).name} was tuned on for {agent.name} on {env}, "
            f"and was looked at; report others than {', '.join(map(str, seeds))}"
        )


def _section(path: Path, env: str, agent: str) -> dict[str, Any]:
    """What a file says of an agent on an environment."""
    data = read_given(path, "settings file")
    if data.pop("schema", None) != FILE_SCHEMA:
        raise UsageError(f"{path} is no settings file: it must say `schema = {FILE_SCHEMA}`")
    agents = as_table(data.get(env, {}), f"{env} in {path}")
    if agent not in agents:
        tables = {where: rows for where, rows in data.items() if isinstance(rows, dict)}
        has = [f"{name} on {where}" for where, rows in tables.items() for name in rows]
        raise UsageError(
            f"{path} has no settings of {agent} on {env}; it has {', '.join(has) or 'none'}"
        )
    section = as_table(agents[agent], f"{agent} on {env} in {path}")
    for name in ("settings", "network"):
        as_table(section.get(name, {}), f"{name} of {agent} on {env} in {path}")
    return section
