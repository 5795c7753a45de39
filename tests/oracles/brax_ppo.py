"""Brax's own PPO (brax 0.14.2, `brax.training.agents.ppo`) beside ours on Brax environments.

    python -m tests.oracles.brax_ppo --env ant --seeds 5

Equal: task, budget, settings, networks, distribution of initial weights, evaluation's episodes.
Brax's arguments allow a Gaussian with one log-std an action and no tanh, weights N(0, 1/fan_in)
with `head_scale`, and no scaling of rewards; its environment clips actions into the box, as our
policy does. Value loss (0.5 x vf_coef), entropy and the normalisation of advantages are the same.

Different, Brax's first:
- the advantage's first TD error has weight 1 and all later ones 1/lambda of GAE's; GAE.
- values, advantages and targets are estimated anew for every minibatch; once an update.
- a truncated step's advantage is 0; it counts with the value of its true next observation.
- a minibatch holds whole unrolls; steps, shuffled over lanes and time.
- an ended episode goes back to its lane's first start state; to a fresh one.
- the normaliser sees an update's observations before its gradient steps, so that ratios start off
  1; after them. Its output is not clipped; to +-10. Deviations are at least 1e-6; 1e-3.
- one norm clips both networks' gradients, where clipping is on; each has its own.
- adam's epsilon is 1e-8; 1e-5.
- the first weights are other draws of the same distribution.
"""

import argparse
import contextlib
import io
import json
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from rlbench.algorithm import Task, evaluate
from rlbench.blocks import Blocks
from rlbench.config import build
from rlbench.fitting import EVAL_LANES
from rlbench.network import Network
from rlbench.policy import ACTIVATIONS, MLPPolicy
from rlbench.registry import find_env, make_env
from rlbench.seeding import evaluation_keys
from rlbench.store import now, read_run

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    # On import brax prints that it has no warp, and its jaxopt that it is unmaintained.
    warnings.simplefilter("ignore")
    from brax.envs.base import Wrapper
    from brax.training import types as brax_types
    from brax.training.agents.ppo import losses as brax_losses
    from brax.training.agents.ppo import networks as brax_networks
    from brax.training.agents.ppo import train as brax_train

__all__ = ["brax_losses", "brax_types"]  # for the tests, which cannot import them quietly

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "tests/oracles/brax_ppo.toml"
BUDGETS = {"ant": "1e6", "inverted_double_pendulum": "2e6"}
"""Env steps by environment. Compare on ant: the pendulum's returns are all or nothing
(ours reach the ceiling and may lose it again), and their intervals admit nearly anything."""
BOOTSTRAPS = 10_000


class InBox(Wrapper):
    """Clips actions into [-1, 1] before the task sees and charges for them, as our policy does."""

    def step(self, state: Any, action: jax.Array) -> Any:
        """One step of what is wrapped."""
        return self.env.step(state, jnp.clip(action, -1.0, 1.0))


@dataclass(frozen=True)
class BraxPolicy:
    """What `rlbench.algorithm.evaluate` needs of an algorithm; the state is Brax's parameters."""

    make_policy: Callable[..., Any]

    def act(self, task: Task, state: Any, obs: jax.Array, key: jax.Array) -> jax.Array:
        """The mean, moved into the box."""
        drawn, _ = self.make_policy(state, deterministic=True)(obs, key)
        return task.policy.to_action(drawn)


def brax_settings(ours: dict[str, Any]) -> dict[str, Any]:
    """Arguments of Brax's `train` that mean what our settings mean."""
    lanes, parts = ours["num_envs"], ours["num_minibatches"]
    if lanes % parts or ours["lr_decay"] != 1.0 or ours["normalize_rewards"]:
        raise SystemExit("Brax has no lr_decay, no normalize_rewards, and minibatches of lanes")
    return {
        "num_envs": lanes,
        "unroll_length": ours["num_steps"],
        "batch_size": lanes // parts,  # in unrolls
        "num_minibatches": parts,
        "num_updates_per_batch": ours["num_epochs"],
        "learning_rate": ours["learning_rate"],
        "discounting": ours["gamma"],
        "gae_lambda": ours["gae_lambda"],
        "clipping_epsilon": ours["clip_eps"],
        "entropy_cost": ours["ent_coef"],
        "vf_loss_coefficient": ours["vf_coef"],
        "max_grad_norm": ours["max_grad_norm"],
        "normalize_observations": ours["normalize_observations"],
        "normalize_advantage": True,
        "reward_scaling": 1.0,
    }


def brax_network(network: Network) -> Callable[..., Any]:
    """Brax's networks with our shapes, initial weights' distribution and Gaussian."""

    def factory(obs_size: Any, action_size: int, preprocess_observations_fn: Any) -> Any:
        init = jax.nn.initializers.variance_scaling
        normal = {"scale": 1.0, "mode": "fan_in", "distribution": "normal"}
        return brax_networks.make_ppo_networks(
            obs_size,
            action_size,
            preprocess_observations_fn,
            policy_hidden_layer_sizes=network.hidden,
            value_hidden_layer_sizes=network.hidden,
            activation=ACTIVATIONS[network.activation],
            distribution_type="normal",
            noise_std_type="log",
            init_noise_std=1.0,
            policy_network_kernel_init_fn=init,
            policy_network_kernel_init_kwargs=normal,
            value_network_kernel_init_fn=init,
            value_network_kernel_init_kwargs=normal,
            mean_kernel_init_fn=init,
            mean_kernel_init_kwargs=normal | {"scale": network.head_scale**2},
        )

    return factory


def run_brax(config: dict[str, Any]) -> float:
    """Trains Brax's PPO as a run of ours was configured, and evaluates it as ours was."""
    network = build(Network, config["network"], "setting of the network")
    env = make_env(find_env(config["env"].partition("/")[2]))
    make_policy, params, _ = brax_train.train(
        InBox(env.library),
        config["budget_env_steps"],
        max_devices_per_host=1,
        episode_length=env.spec.max_steps,
        network_factory=brax_network(network),
        seed=config["seed"],
        run_evals=False,
        num_eval_envs=1,
        **brax_settings(config["settings"]),
    )
    task = Task(env, MLPPolicy(env.spec, network), Blocks(EVAL_LANES, 1))
    play = jax.jit(lambda params, keys: evaluate(BraxPolicy(make_policy), task, params, keys))
    returns = play(params, evaluation_keys(config["eval_episodes"])).returns
    return float(np.mean(returns))


def our_command(env: str, seed: int, budget: str) -> list[str]:
    """The run of ours, as arguments of Python."""
    flags = ["--config", CONFIG, "--env", env, "--budget", budget, "--seed", str(seed)]
    return ["-m", "rlbench.run", *flags]


def run_ours(env: str, seed: int, budget: str) -> Any:
    """Trains our PPO in a process of its own; what it recorded."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, *our_command(env, seed, budget), "--out", out, "--quiet"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return read_run(Path(done.stdout.strip()))


def summary(returns: list[float]) -> dict[str, Any]:
    """Returns by seed, and 95 % intervals of their mean."""
    mean, error = float(np.mean(returns)), stats.sem(returns)
    draws = np.random.default_rng(0).choice(returns, (BOOTSTRAPS, len(returns))).mean(axis=1)
    return {
        "returns": returns,
        "mean": mean,
        "t_interval": list(map(float, stats.t.interval(0.95, len(returns) - 1, mean, error))),
        "bootstrap_interval": np.percentile(draws, [2.5, 97.5]).tolist(),
    }


def agree(a: dict[str, Any], b: dict[str, Any], interval: str) -> bool:
    """Whether each mean lies within the other's interval."""
    return all(y[interval][0] <= x["mean"] <= y[interval][1] for x, y in ((a, b), (b, a)))


def compare(env: str, seeds: list[int], budget: str) -> dict[str, Any]:
    """Both on the same seeds, as plain data."""
    ours, brax = [], []
    for seed in seeds:
        record = run_ours(env, seed, budget)
        ours.append(record.status["return_mean"])
        brax.append(run_brax(record.config))
        print(f"{env} seed {seed}: ours {ours[-1]:.1f}, Brax's {brax[-1]:.1f}", file=sys.stderr)
    a, b = summary(ours), summary(brax)
    result: dict[str, Any] = {name: record.config[name] for name in ("env", "settings", "network")}
    return result | {
        "brax_settings": brax_settings(record.config["settings"]),
        "env_steps": record.status["simulated_env_steps"],
        "eval_episodes": record.config["eval_episodes"],
        "seeds": seeds,
        "ours": a,
        "brax": b,
        "within_t_intervals": agree(a, b, "t_interval"),
        "within_bootstrap_intervals": agree(a, b, "bootstrap_interval"),
        "ended": now(),
        "versions": {name: version(name) for name in ("brax", "jax", "jaxlib", "numpy", "optax")},
        "command": "python -m tests.oracles.brax_ppo " + shlex.join(sys.argv[1:]),
        "our_command": "python " + " ".join(our_command(env, seeds[0], budget)),
    }


def main() -> None:
    """Compares on every environment asked for; writes JSON to a file or to standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracles.brax_ppo")
    parser.add_argument("--env", nargs="+", default=list(BUDGETS), help="of Brax")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", help="env steps, where not the environment's own")
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    # jax 0.10 dropped what Brax 0.14.2 puts its first state on the devices with.
    jax.device_put_replicated = lambda x, devices: jax.tree.map(
        lambda a: jnp.stack([jnp.asarray(a)] * len(devices)), x
    )
    seeds = list(range(args.first_seed, args.first_seed + args.seeds))
    found = [compare(env, seeds, args.budget or BUDGETS.get(env, "2e6")) for env in args.env]
    text = json.dumps({"comparisons": found}, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
