"""Measures what random actions and doing nothing score, and writes `scores.toml` beside this file.

    python -m rlbench.envs.measure_scores [--episodes N] [IDS ...]

Every environment of the table is played on its default backend; with ids (or aliases, or either
with `@backend`) only those are measured and the other rows are kept. Returns are undiscounted sums
of rewards over complete episodes, from the start states of every algorithm's evaluation.
"""

import argparse
import time
import tomllib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlbench.blocks import Blocks
from rlbench.env import AnyEnv, Box, uniform_action, zero_action
from rlbench.registry import EnvEntry, env_entries, find_env, make_env
from rlbench.rollout import Episodes, SlotPolicy, play
from rlbench.seeding import evaluation_keys

SCORES = Path(__file__).with_name("scores.toml")
EPISODES = 128
NO_OP_SUFFIXES = ("-MinAtar",)
"""Endings of the ids with discrete actions whose action 0 is "do nothing"; elsewhere 0 acts."""

Row = dict[str, Any]


def random_policy(env: AnyEnv) -> SlotPolicy:
    """Uniform random actions, one draw a lane and step."""
    draw = jax.vmap(jax.vmap(lambda key: uniform_action(env.spec.action, key)))
    return lambda _, obs, keys: draw(keys)


def idle_policy(env: AnyEnv) -> SlotPolicy:
    """The zero action, always (in the action's own units, e.g. N m of torque)."""
    still = jax.vmap(jax.vmap(lambda key: zero_action(env.spec.action)))
    return lambda _, obs, keys: still(keys)


def can_idle(env: AnyEnv) -> bool:
    """Whether the zero action means "do nothing" in this environment."""
    return isinstance(env.spec.action, Box) or env.spec.id.endswith(NO_OP_SUFFIXES)


def measure(
    entry: EnvEntry, env: AnyEnv, policy: SlotPolicy, episodes: int
) -> tuple[np.ndarray, float]:
    """Plays complete episodes with a policy, on one device.

    Args:
        entry: whose block size to play in.
        env: the environment of the entry.
        policy: batched over slots and lanes.
        episodes: how many to play.

    Returns:
        (episodes,) returns, in units of the env's reward; and simulated env steps per second,
        compilation excluded.
    """
    blocks = Blocks(entry.block_lanes)
    queues, size = blocks.split(episodes, 1)
    slots = blocks.slots(size, 1)
    keys = evaluation_keys(episodes).reshape(queues, size, 1)

    def queue(shared: None, keys: jax.Array) -> Episodes:
        return play(
            env,
            policy,
            keys,
            horizon=env.spec.max_steps,
            slots=slots,
            refill_at=blocks.refill_at(slots),
        )

    compiled = jax.jit(lambda keys: blocks.map(queue, None, keys)).lower(keys).compile()
    start = time.perf_counter()
    out = jax.block_until_ready(compiled(keys))
    seconds = time.perf_counter() - start
    return np.asarray(out.returns).reshape(-1), float(np.sum(out.simulated)) / seconds


def summary(name: str, returns: np.ndarray) -> Row:
    """Mean and sample standard deviation over episodes, in units of return.

    Raises:
        ValueError: a return is not finite.
    """
    if not np.all(np.isfinite(returns)):
        raise ValueError(f"{name}: a return is not finite")
    wide = returns.astype(np.float64)
    return {name: float(np.mean(wide)), f"{name}_std": float(np.std(wide, ddof=1))}


def measure_env(entry: EnvEntry, episodes: int) -> Row:
    """The row of one environment, all in units of return; prints its progress line."""
    start = time.perf_counter()
    env = make_env(entry)
    returns, speed = measure(entry, env, random_policy(env), episodes)
    row = summary("random", returns)
    if can_idle(env):
        row |= summary("do_nothing", measure(entry, env, idle_policy(env), episodes)[0])
    row["episodes"] = episodes
    values = ", ".join(f"{name} {value:.6g}" for name, value in row.items())
    seconds = time.perf_counter() - start
    print(f"{entry.id}: {values}; {speed:,.0f} random steps/s; {seconds:.0f} s", flush=True)
    return row


def read_scores() -> dict[str, Row]:
    """The rows measured so far, by full id; none if the file is not there."""
    return tomllib.loads(SCORES.read_text(encoding="utf-8")) if SCORES.exists() else {}


def write_scores(rows: dict[str, Row]) -> None:
    """Writes the rows in the env table's order (others after it), returns to 6 digits."""
    order = {entry.id: place for place, entry in enumerate(env_entries())}
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "brax", "gymnax"))
    lines = [
        "# Returns of uniform random actions and of doing nothing (the zero action): mean and",
        "# sample standard deviation over complete episodes. Measured, not edited by hand:",
        "#     python -m rlbench.envs.measure_scores",
        f"# Last written on {datetime.now(UTC):%Y-%m-%d}, with {versions}, on {jax.devices()[0]}.",
    ]
    for id in sorted(rows, key=lambda id: (order.get(id, len(order)), id)):
        lines += ["", f'["{id}"]']
        for name, value in rows[id].items():
            lines.append(f"{name} = {value if isinstance(value, int) else float(f'{value:.6g}')}")
    SCORES.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """The command line; every env is written as soon as it is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ids", nargs="*", help="ids or aliases; all envs if none")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="episodes a policy")
    args = parser.parse_args()
    for entry in [find_env(name) for name in args.ids] or env_entries():
        write_scores(read_scores() | {entry.id: measure_env(entry, args.episodes)})


if __name__ == "__main__":
    main()
