"""Settings as data: `agents/settings/paper.toml` and `laptop.toml`, by environment and agent.

A file has a section per full env id, and one called `default`. In it, `network` is the policy
network of every algorithm compared there, and an agent's settings are the sections that
`agents.toml` names for it, a later one over an earlier (`es`, then `eggroll`).
"""

from typing import Any

from rlbench.errors import UsageError, nearest
from rlbench.registry import AgentEntry, read_table

PROFILES = ("laptop", "paper")


def profile_settings(
    profile: str, env: str, agent: AgentEntry
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The settings a profile has for an agent on an environment.

    Args:
        profile: "laptop" or "paper".
        env: full env id.
        agent: whose settings.

    Returns:
        (the agent's settings, the network's, where they come from in words).

    Raises:
        UsageError: no such profile.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown settings {profile!r}; {nearest(profile, PROFILES)}")
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
