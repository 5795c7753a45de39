"""Proves that the shared network is what its docstring says: how weights are drawn, what a forward
pass computes (against NumPy in float64), and how outputs become actions of both kinds of space.

Tolerances of statistical tests are sampling errors: a right network fails one in a million times.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, chisquare, entropy, norm

from rlbench.env import Box, Discrete, EnvSpec, Vector
from rlbench.network import Network
from rlbench.policy import MLPPolicy, pqn
from tests.toy_envs import as64, network64, pqn64, quick

RARE = 1e-6


SMALL = Network((8,))


def policy_for(observation: Any, action: Any, network: Network = SMALL) -> MLPPolicy:
    return MLPPolicy(EnvSpec("toy/any", observation, action, 1), network)


def assert_normal(x: Any, scale: float) -> None:
    """All entries are draws of N(0, scale^2), by their mean and their sum of squares."""
    z = np.asarray(x, np.float64).reshape(-1) / scale
    assert abs(z.sum() / np.sqrt(z.size)) < norm.isf(RARE / 2)
    assert chi2.ppf(RARE, z.size) < np.sum(z * z) < chi2.isf(RARE, z.size)


@pytest.mark.parametrize("head_scale", [1.0, 0.01])
def test_initial_weights_have_variance_one_over_fan_in(head_scale: float) -> None:
    policy = policy_for(
        Vector(30), Box((-1.0,) * 5, (1.0,) * 5), Network((70, 40), "pqn", head_scale)
    )
    params = quick(policy.init)(jax.random.key(0))
    for layer, (n_in, n_out) in zip(params["layers"], [(30, 70), (70, 40), (40, 5)], strict=True):
        assert layer["w"].shape == (n_out, n_in)
        assert_normal(layer["w"], n_in**-0.5 * (head_scale if n_out == 5 else 1.0))
        assert layer["b"].shape == (n_out,) and not np.any(layer["b"])
    assert params["log_std"].shape == (5,) and not np.any(params["log_std"])


def test_layers_are_drawn_independently() -> None:
    policy = policy_for(Vector(20), Discrete(20), Network((20, 20)))
    layers = quick(policy.init)(jax.random.key(0))["layers"]
    drawn = np.stack([np.asarray(layer["w"]).reshape(-1) for layer in layers])
    correlations = np.corrcoef(drawn)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < norm.isf(RARE) / np.sqrt(400))


def test_a_head_of_logits_has_no_log_std() -> None:
    assert "log_std" not in jax.eval_shape(
        policy_for(Vector(2), Discrete(3)).init, jax.random.key(0)
    )


def test_a_network_without_hidden_layers_is_linear() -> None:
    policy = policy_for(Vector(2), Discrete(3), Network(()))
    params = {"layers": [{"w": jnp.arange(6.0).reshape(3, 2), "b": jnp.array([0.5, 0.0, -1.0])}]}
    np.testing.assert_array_equal(policy.apply(params, jnp.array([10.0, 1.0])), [1.5, 23.0, 44.0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_pqn_is_relu_of_layer_norm(scale: float) -> None:
    x = (scale * np.random.default_rng(0).normal(0.5, 1.0, (7, 5, 24))).astype(np.float32)
    got = quick(pqn)(x)
    assert np.any(got == 0) and np.any(got > 1e-2)
    np.testing.assert_allclose(got, pqn64(x.astype(np.float64)), rtol=0, atol=1e-5)


def test_pqn_of_a_constant_is_zero() -> None:
    assert not np.any(pqn(jnp.full((2, 8), 3.0)))


@pytest.mark.parametrize("activation", ["pqn", "tanh", "relu"])
def test_forward_passes_are_those_of_float64(activation: str) -> None:
    policy = policy_for(Vector(6), Discrete(4), Network((16, 12), activation))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    params = jax.tree.map(lambda x: (0.5 * rng.normal(size=x.shape)).astype(np.float32), shapes)
    obs = rng.normal(size=(3, 2, 6)).astype(np.float32)
    got = quick(policy.apply)(params, obs)
    assert got.shape == (3, 2, 4)
    for index in np.ndindex(3, 2):
        expected = network64(as64(params)["layers"], activation, obs[index].astype(np.float64))
        np.testing.assert_allclose(got[index], expected, rtol=0, atol=1e-5)


def test_a_discrete_observation_is_the_column_of_its_number() -> None:
    policy = policy_for(Discrete(5), Discrete(3), Network(()))
    w, b = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32), np.ones(3, np.float32)
    obs = jnp.array([[0, 4], [2, 2]])
    got = policy.apply({"layers": [{"w": jnp.asarray(w), "b": jnp.asarray(b)}]}, obs)
    np.testing.assert_allclose(got, w.T[np.asarray(obs)] + b, rtol=1e-6)


def test_the_mode_of_logits_is_the_largest() -> None:
    policy = policy_for(Vector(1), Discrete(3))
    got = policy.mode(jnp.array([[0.0, 2.0, 1.0], [-1.0, -3.0, -2.0]]))
    np.testing.assert_array_equal(got, [1, 0])
    assert got.dtype == jnp.int32


def test_the_mode_maps_minus_one_to_low_and_plus_one_to_high() -> None:
    policy = policy_for(Vector(1), Box((2.0, -1.0), (4.0, 0.5)))
    out = jnp.array([[-1.0, 1.0], [0.0, 0.0], [0.5, -0.5], [7.0, -7.0]])
    expected = [[2.0, 0.5], [3.0, -0.25], [3.5, -0.625], [4.0, -1.0]]
    np.testing.assert_allclose(policy.mode(out), expected, rtol=1e-6)


N = 20_000


def samples(policy: MLPPolicy, params: Any, out: Any) -> np.ndarray:
    """N actions of one output, with a key each."""
    keys = jax.random.split(jax.random.key(0), N)
    many = jnp.broadcast_to(jnp.asarray(out, jnp.float32), (N, len(out)))
    return np.asarray(quick(policy.sample)(params, many, keys))


def test_sampled_actions_follow_the_softmax() -> None:
    logits = np.array([1.0, -1.0, 0.0, 2.0])
    actions = samples(policy_for(Vector(1), Discrete(4)), {}, logits)
    softmax = np.exp(logits) / np.exp(logits).sum()
    assert chisquare(np.bincount(actions, minlength=4), N * softmax).pvalue > RARE


def test_sampled_actions_are_a_gaussian_clipped_into_the_box() -> None:
    low, high, mean, log_std = (2.0, -3.0), (4.0, 1.0), (0.5, -0.8), (-0.5, 0.3)
    policy = policy_for(Vector(1), Box(low, high))
    actions = samples(policy, {"log_std": jnp.array(log_std)}, mean)
    assert np.all(actions >= low) and np.all(actions <= high)
    for i in range(2):
        # Cells in units of the box: what was clipped to either end, and slices in between.
        unit = (actions[:, i] - low[i]) / (high[i] - low[i]) * 2.0 - 1.0
        inner = np.linspace(-1.0, 1.0, 9)
        cells = np.concatenate([[-np.inf, -1.0 + 1e-5], inner[1:-1], [1.0 - 1e-5, np.inf]])
        observed = np.histogram(unit, cells)[0]
        edges = np.concatenate([[-np.inf], inner, [np.inf]])
        expected = N * np.diff(norm.cdf(edges, mean[i], np.exp(log_std[i])))
        assert chisquare(observed, expected).pvalue > RARE
    # Dimensions have noise of their own.
    inside = np.all((actions > low) & (actions < high), axis=1)
    assert abs(np.corrcoef(actions[inside].T)[0, 1]) < norm.isf(RARE / 2) / np.sqrt(inside.sum())


def test_a_sample_depends_on_its_own_key_alone() -> None:
    policy = policy_for(Vector(1), Box((-9.0,), (9.0,)))
    keys = jax.random.split(jax.random.key(0), (2, 3))
    params, out = {"log_std": jnp.full(1, -2.0)}, jnp.zeros((2, 3, 1))
    together = np.asarray(policy.sample(params, out, keys))
    assert np.unique(together).size == 6
    alone = policy.sample(params, out[1, 2], keys[1, 2])
    np.testing.assert_array_equal(alone, together[1, 2])


def test_log_probabilities_and_entropies_are_scipy_s() -> None:
    rng = np.random.default_rng(0)
    out, drawn, log_std = (
        rng.normal(size=(3, 5, 2)),
        rng.normal(size=(3, 5, 2)),
        np.array([-1, 0.4]),
    )
    policy = policy_for(Vector(1), Box((-1.0, -2.0), (1.0, 3.0)))
    params = {"log_std": jnp.asarray(log_std)}
    got = policy.log_prob(params, jnp.asarray(out), jnp.asarray(drawn))
    wanted = norm.logpdf(drawn, out, np.exp(log_std)).sum(-1)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    spread = norm.entropy(0, np.exp(log_std)).sum()
    np.testing.assert_allclose(policy.entropy(params, jnp.asarray(out)), np.full((3, 5), spread))
    discrete, which = policy_for(Vector(1), Discrete(2)), np.array([[0, 1, 1, 0, 1]] * 3)
    p = np.exp(out) / np.exp(out).sum(-1, keepdims=True)
    got = discrete.log_prob({}, jnp.asarray(out), jnp.asarray(which))
    np.testing.assert_allclose(got, np.log(np.where(which, p[..., 1], p[..., 0])), rtol=1e-5)
    np.testing.assert_allclose(
        discrete.entropy({}, jnp.asarray(out)), entropy(p, axis=-1), rtol=1e-5
    )
