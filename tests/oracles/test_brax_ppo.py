"""Our PPO against Brax's: one gradient exactly, and final returns of full runs."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.agents._advantages import estimate_advantages
from rlbench.agents.ppo import PPO, Batch
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from tests.oracles import brax_ppo as oracle
from tests.toy_envs import Drift

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "results" / "recorded" / "oracles" / "brax_ppo.json"
NETWORK = Network((16, 16), "tanh", 0.5)
STEPS, LANES, GAMMA = 12, 4, 0.97


def played():
    """A random segment by time and lane: observations, next ones, draws, rewards, terminations."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(STEPS + 1, LANES, 2))
    drawn, reward = rng.normal(size=(STEPS, LANES, 2)), rng.normal(size=(STEPS, LANES))
    ended = rng.random((STEPS, LANES)) < 0.2
    return *(jnp.asarray(x, jnp.float32) for x in (obs[:-1], obs[1:], drawn, reward)), ended


def dense(layer):
    return {"kernel": layer["w"].T, "bias": layer["b"]}


def as_brax(params):
    """Our parameters in the tree of Brax's networks."""
    *hidden, head = params["policy"]["layers"]
    named = {f"hidden_{i}": dense(layer) for i, layer in enumerate(hidden)}
    std = {"log_value": params["policy"]["log_std"]}
    policy = {"MLP_0": named, "Dense_0": dense(head), "std_logparam": std}
    value = {f"hidden_{i}": dense(x) for i, x in enumerate(params["critic"]["layers"])}
    return oracle.brax_losses.PPONetworkParams({"params": policy}, {"params": value})


def brax_gradient(settings, params, segment):
    """Of Brax's loss of one minibatch that holds the whole segment, none of it truncated."""
    obs, drawn, before, reward, ended, after = segment
    networks = oracle.brax_network(NETWORK)(2, 2, lambda x, _: x)
    out = (jnp.zeros_like(drawn), jnp.ones_like(drawn))  # for a metric only
    chosen = {"raw_action": drawn, "log_prob": before, "distribution_params": out}
    extras = {
        "state_extras": {"truncation": jnp.zeros_like(reward)},
        "policy_extras": chosen,
    }
    data = oracle.brax_types.Transition(obs, drawn, reward, 1.0 - ended, after, extras)
    data = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), data)
    theirs = oracle.brax_settings({**settings, "num_minibatches": 1})
    names = ("entropy_cost", "discounting", "gae_lambda", "clipping_epsilon", "reward_scaling")
    given = {name: theirs[name] for name in (*names, "normalize_advantage")}
    given["vf_coefficient"] = theirs["vf_loss_coefficient"]

    def loss(params):
        key = jax.random.PRNGKey(0)
        return oracle.brax_losses.compute_ppo_loss(params, None, data, key, networks, **given)[0]

    return jax.grad(loss)(as_brax(params))


def test_the_gradient_of_a_minibatch_is_brax_s():
    """At lambda 1, where the two estimates of advantages are the same; some ratios are clipped."""
    ppo = PPO(gamma=GAMMA, gae_lambda=1.0, ent_coef=0.01)
    task = Task(Drift(), MLPPolicy(Drift().spec, NETWORK), Blocks(8, 1))
    params = ppo.init(task, run_streams(0)).params
    obs, after, drawn, reward, ended = played()
    out = task.policy.apply(params["policy"], obs)
    shift = jnp.linspace(-0.5, 0.5, STEPS)[:, None]
    before = task.policy.log_prob(params["policy"], out, drawn) + shift
    values = [task.policy.critic().apply(params["critic"], x)[..., 0] for x in (obs, after)]
    advantage = estimate_advantages(reward, values, (ended, jnp.zeros_like(ended)), GAMMA, 1.0)
    target = advantage + values[0]
    advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
    batch = Batch(obs, drawn, before, advantage, target)
    ours = jax.grad(lambda p: ppo._loss(task, p, batch, STEPS * LANES)[0])(params)

    theirs = brax_gradient(vars(ppo), params, (obs, drawn, before, reward, ended, after))
    for a, b in zip(*map(jax.tree.leaves, (as_brax(ours), theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
    assert all(float(jnp.max(jnp.abs(x))) > 1e-3 for x in jax.tree.leaves(theirs))


def test_value_targets_are_brax_s():
    """At lambda < 1 too, where Brax's advantages give the first step no lambda."""
    obs, after, _, reward, ended = played()
    value, last = jnp.sin(obs[..., 0]), jnp.sin(after[-1, :, 0])
    lam, ends = 0.9, (ended, jnp.zeros_like(ended))
    ours = estimate_advantages(reward, (value, jnp.sin(after[..., 0])), ends, GAMMA, lam)
    targets, theirs = oracle.brax_losses.compute_gae(
        jnp.zeros_like(reward), ended * 1.0, reward, value, last, lam, GAMMA
    )
    np.testing.assert_allclose(ours + value, targets, rtol=1e-5, atol=1e-5)
    one_step = estimate_advantages(reward, (value, jnp.sin(after[..., 0])), ends, GAMMA, 0.0)
    np.testing.assert_allclose(theirs, one_step + (ours - one_step) / lam, rtol=1e-4, atol=1e-5)


def test_initial_weights_are_distributed_as_ours():
    networks = oracle.brax_network(Network((256, 256), "tanh", 0.01))(256, 8, lambda x, _: x)
    params = networks.policy_network.init(jax.random.PRNGKey(0))["params"]
    value = networks.value_network.init(jax.random.PRNGKey(0))["params"]
    kernels = [params["MLP_0"]["hidden_1"]["kernel"], value["hidden_0"]["kernel"]]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(256**-0.5, rel=0.02)
        assert np.max(np.abs(kernel)) > 3.5 * 256**-0.5  # not truncated
    assert np.std(params["Dense_0"]["kernel"]) == pytest.approx(0.01 / 16, rel=0.1)
    np.testing.assert_array_equal(params["std_logparam"]["log_value"], 0.0)


def agreement(*comparisons):
    """Whether both means, over all seeds of these, lie within the other's interval."""
    ours, brax = (
        oracle.summary([x for c in comparisons for x in c[name]["returns"]])
        for name in ("ours", "brax")
    )
    return oracle.agree(ours, brax, "t_interval"), (ours, brax)


@pytest.mark.parametrize("env", oracle.BUDGETS)
def test_recorded_returns_lie_within_each_other_s_intervals(env):
    recorded = json.loads(RECORDED.read_text())["comparisons"]
    mine = [c for c in recorded if c["env"] == f"brax/{env}@spring"]
    seeds = [seed for c in mine for seed in c["seeds"]]
    assert seeds == list(range(len(seeds))) and len(seeds) >= 5
    for comparisons in (mine, *([c] for c in mine)):
        within, both = agreement(*comparisons)
        assert within, both


@pytest.mark.learning
def test_final_returns_on_ant_lie_within_each_other_s_intervals(tmp_path):
    """About 15 minutes. Equal algorithms pass in 8 of 10 draws of 5 seeds each."""
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "tests.oracles.brax_ppo", "--env", "ant", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    (comparison,) = json.loads(out.read_text())["comparisons"]
    within, both = agreement(comparison)
    assert within, both
