"""Proves that what a population sees is W +- sigma E and nothing else, that the sum over it is
sum_i w_i E_i of that same E, and that E has the law the theory is about.

The last is checked against closed forms: the kurtosis of E's entries, and the exact gradient of
f(W) = sin<U, W> smoothed by rank-r noise. Tolerances of Monte Carlo tests are sampling errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from rlbench.agents import _perturbation as noises
from rlbench.agents._perturbation import FullRank, LowRank
from rlbench.agents.eggroll import Eggroll
from rlbench.algorithm import Task
from rlbench.blocks import Blocks
from rlbench.env import Box, Discrete, EnvSpec, Vector
from rlbench.network import Network
from rlbench.policy import MLPPolicy
from rlbench.seeding import run_streams
from tests.toy_envs import Drift, as64, network64

HOW = [LowRank(1), LowRank(2), LowRank(4), LowRank(8), FullRank()]
PAIRS, LANES = 3, 4
EPOCH = np.int32(5)
SCALE = jnp.where(jnp.arange(LANES) < LANES // 2, 1.0, -1.0) * jnp.ones((PAIRS, 1))
draw = jax.jit(noises.draw, static_argnums=(0, 1))
weighted_sum = jax.jit(noises.weighted_sum, static_argnums=0)


def numbers(rng, shape):
    return rng.normal(size=shape).astype(np.float32)


def any_params(policy, seed):
    """Weights in the form of the initial ones; no bias or log-std is zero, so none goes unseen."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    return jax.tree.map(lambda x: numbers(rng, x.shape) / np.float32(x.shape[-1] ** 0.5), shapes)


def any_noise(how, params, pairs, seed):
    """Noise in the form that `draw` gives it. A forward pass and a sum must be right for any
    factors; the law of those that are drawn is tested by itself (and compiles for seconds)."""
    rng = np.random.default_rng(seed)

    def one(x):
        if isinstance(how, LowRank) and np.ndim(x) == 2:
            return noises.Factors(*(numbers(rng, (pairs, how.rank, n)) for n in x.shape))
        return numbers(rng, (pairs, *x.shape[::-1]))

    return jax.tree.map(one, params)


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 64, 65)])
def test_normals_are_jax_s_own(shape):
    key = jax.random.key(11)
    with jax.threefry_partitionable(False):
        theirs = jax.random.normal(key, shape)
    np.testing.assert_array_equal(jax.jit(noises.normal, static_argnums=1)(key, shape), theirs)


def is_factors(x):
    return isinstance(x, noises.Factors)


def materialise(noise):
    """Every E in float64, from the factors where there are some."""

    def one(e):
        if not is_factors(e):
            return np.asarray(e, np.float64).swapaxes(1, -1)
        a, b = np.asarray(e.a, np.float64), np.asarray(e.b, np.float64)
        return np.einsum("pro,pri->poi", a, b) / np.sqrt(a.shape[1])

    return jax.tree.map(one, noise, is_leaf=is_factors)


def member(params, noise64, pair, sign, sigma):
    """W + sign sigma E of one member, as float64 arrays that exist."""
    return jax.tree.map(lambda w, e: w + sign * sigma * e[pair], as64(params), noise64)


def draw_one_matrix(how, shape, pairs, seed):
    params = {"w": jnp.zeros(shape)}
    noise = draw(how, "float16", jax.random.key(seed), params, EPOCH, jnp.arange(pairs))
    return params, noise


def assert_members_see_their_weights(policy, how, obs, encode):
    sigma = 0.4
    params = any_params(policy, 0)
    noise = any_noise(how, params, PAIRS, 2)

    @jax.jit
    def forward(params, noise, obs):
        return policy.apply(params, obs, linear=noises.linear(how, noise, sigma * SCALE))

    seen = np.asarray(forward(params, noise, obs))
    noise64 = materialise(noise)
    for pair in range(PAIRS):
        for lane in range(LANES):
            weights = member(params, noise64, pair, +1 if lane < LANES // 2 else -1, sigma)
            expected = network64(
                weights["layers"], policy.network.activation, encode(obs[pair, lane])
            )
            # Some 20 roundings of 6e-8 a layer on values below 10, through three layers.
            np.testing.assert_allclose(seen[pair, lane], expected, rtol=0, atol=4e-5)


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("activation", ["pqn", "tanh"])
def test_a_member_acts_with_w_plus_or_minus_sigma_e(how, activation) -> None:
    spec = EnvSpec("toy/box", Vector(5), Box((-1.0,) * 3, (1.0,) * 3), 1)
    policy = MLPPolicy(spec, Network((16, 16), activation))
    obs = numbers(np.random.default_rng(3), (PAIRS, LANES, 5))
    assert_members_see_their_weights(policy, how, obs, lambda x: np.asarray(x, np.float64))


@pytest.mark.parametrize("how", [LowRank(2), FullRank()], ids=str)
def test_a_member_acts_with_its_weights_on_discrete_observations(how) -> None:
    policy = MLPPolicy(EnvSpec("toy/grid", Discrete(7), Discrete(4), 1), Network((16, 16), "pqn"))
    obs = np.arange(PAIRS * LANES, dtype=np.int32).reshape(PAIRS, LANES) % 7
    assert_members_see_their_weights(policy, how, obs, lambda x: np.eye(7)[int(x)])


def test_a_member_samples_with_its_own_log_std() -> None:
    sigma, actions = 0.4, 3
    spec = EnvSpec("toy/box", Vector(5), Box((-9.0,) * actions, (9.0,) * actions), 1)
    policy = MLPPolicy(spec, Network((4,)))
    params = any_params(policy, 0)
    noise = any_noise(LowRank(1), params, PAIRS, 2)
    keys = jax.random.split(jax.random.key(4), (PAIRS, LANES))
    out = 0.1 * numbers(np.random.default_rng(5), (PAIRS, LANES, actions))
    normals = jax.jit(jax.vmap(jax.vmap(lambda k: jax.random.normal(k, (actions,)))))(keys)

    @jax.jit
    def sample(params, noise, out, keys):
        hook = noises.vector(noise, sigma * SCALE)
        return policy.sample(params, out, keys, vector=hook)

    sampled = np.asarray(sample(params, noise, out, keys))
    noise64 = materialise(noise)
    for pair in range(PAIRS):
        for lane in range(LANES):
            weights = member(params, noise64, pair, +1 if lane < LANES // 2 else -1, sigma)
            normal = np.asarray(normals[pair, lane], np.float64)
            action = out[pair, lane] + np.exp(weights["log_std"]) * normal
            np.testing.assert_allclose(
                sampled[pair, lane], 9.0 * np.clip(action, -1.0, 1.0), rtol=0, atol=2e-5
            )


@pytest.mark.parametrize("how", HOW, ids=str)
def test_the_weighted_sum_is_a_loop_over_members(how) -> None:
    params = {"w": np.zeros((6, 9)), "b": np.zeros(6)}
    noise = any_noise(how, params, 11, 0)
    weights = numbers(np.random.default_rng(1), 11)
    got = weighted_sum(how, params, noise, weights)
    noise64 = materialise(noise)
    for name, total in got.items():
        expected = np.zeros(total.shape)
        for pair in range(11):
            expected += float(weights[pair]) * noise64[name][pair]
        np.testing.assert_allclose(total, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("pairs", "rank", "m", "n"),
    [(1, 1, 8, 8), (1, 4, 8, 9), (3, 2, 12, 20), (5, 1, 20, 12), (2, 8, 12, 10), (40, 1, 8, 8)],
)
def test_the_low_rank_sum_has_rank_pairs_times_r_and_no_more(pairs, rank, m, n) -> None:
    how = LowRank(rank)
    params = {"w": np.zeros((m, n))}
    noise, weights = any_noise(how, params, pairs, 0), numbers(np.random.default_rng(1), pairs)
    total = np.asarray(weighted_sum(how, params, noise, weights)["w"])
    assert np.linalg.matrix_rank(total) == min(pairs * rank, m, n)


def test_one_full_rank_pair_already_has_full_rank() -> None:
    params = {"w": np.zeros((12, 9))}
    noise = any_noise(FullRank(), params, 1, 0)
    total = np.asarray(weighted_sum(FullRank(), params, noise, np.ones(1, np.float32))["w"])
    assert np.linalg.matrix_rank(total) == 9


def moment_of_entry(rank, order):
    """E[E_ij^order] for even orders. Given b, E_ij is N(0, Q / r) with Q chi-squared with r degrees
    of freedom, so it is (order - 1)!! E[Q^k] / r^k, k = order / 2, E[Q^k] = r (r + 2) ...;
    rank None is the normal distribution."""
    k = order // 2
    normal = np.prod(np.arange(order - 1, 0, -2, dtype=float))
    return normal if rank is None else normal * np.prod(1.0 + 2.0 * np.arange(k) / rank)


@pytest.mark.parametrize("rank", [1, 2, 4, None])
def test_entries_have_mean_0_variance_1_and_excess_kurtosis_6_over_r(rank) -> None:
    # One entry a pair: independent samples. With mean 0 and variance 1 the kurtosis is E[E^4],
    # and the mean of E^k over n samples has variance (E[E^2k] - E[E^k]^2) / n exactly.
    n = 2**18
    _, noise = draw_one_matrix(LowRank(rank) if rank else FullRank(), (1, 1), n, seed=0)
    entry = materialise(noise)["w"][:, 0, 0]
    excess = 6.0 / rank if rank else 0.0
    for order, expected in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0 + excess)):
        error = np.sqrt((moment_of_entry(rank, 2 * order) - expected**2) / n)
        assert abs(np.mean(entry**order) - expected) < 5 * error, order


@pytest.mark.parametrize("rank", [1, 4])
def test_entries_of_one_matrix_are_uncorrelated(rank) -> None:
    # E[(E_ij E_kh)^2] is 3 (1 + 2 / r) for the same entry, 1 + 2 / r in a common row or column
    # (given the shared factor both are normal), and 1 otherwise.
    n, shape = 2**16, (3, 2)
    _, noise = draw_one_matrix(LowRank(rank), shape, n, seed=1)
    entries = materialise(noise)["w"].reshape(n, -1)
    second = entries.T @ entries / n
    for p, (i, j) in enumerate(np.ndindex(shape)):
        for q, (k, h) in enumerate(np.ndindex(shape)):
            same, shared = p == q, i == k or j == h
            fourth = (3.0 if same else 1.0) * (1.0 + 2.0 / rank if shared else 1.0)
            error = np.sqrt((fourth - same) / n)
            assert abs(second[p, q] - same) < 5 * error, (i, j, k, h)


SHAPE, SIGMA = (6, 5), 1.3


def sine_problem():
    """U of norm 1 and a mean M with cos<U, M> = 0.8 or so: neither 0 nor 1."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=SHAPE)
    u /= np.linalg.norm(u)
    m = rng.normal(size=SHAPE)
    return u, m + (0.6 - np.sum(u * m)) * u


def smoothed_gradient(rank):
    """E[f(M + sigma E) E] / sigma for f(W) = sin<U, W>, exactly (paper.md, section 4, fixture a);
    rank None is full rank."""
    u, m = sine_problem()
    v, cos = SIGMA * u, np.cos(np.sum(u * m))
    if rank is None:
        return cos * np.exp(-0.5 * np.sum(v * v)) * u
    inner = np.eye(SHAPE[1]) + v.T @ v / rank
    return cos / SIGMA * np.linalg.det(inner) ** (-rank / 2) * v @ np.linalg.inv(inner)


@pytest.mark.parametrize("rank", [1, 2, 4, 8, None])
def test_the_estimate_is_the_exact_gradient_of_the_smoothed_objective(rank) -> None:
    how, pairs = LowRank(rank) if rank else FullRank(), 2**16
    u, m = sine_problem()
    params, noise = draw_one_matrix(how, SHAPE, pairs, seed=3)
    e = materialise(noise)["w"]
    f_plus, f_minus = (np.sin(np.einsum("ij,pij->p", u, m + s * SIGMA * e)) for s in (1, -1))
    weights = jnp.asarray(f_plus - f_minus, jnp.float32)
    estimate = np.asarray(weighted_sum(how, params, noise, weights)["w"], np.float64)
    gap = (estimate / (2 * pairs * SIGMA) - smoothed_gradient(rank)).reshape(-1)

    each = ((f_plus - f_minus)[:, None, None] * e / (2 * SIGMA)).reshape(pairs, -1)
    covariance = np.cov(each.T) / pairs
    z = gap / np.sqrt(np.diag(covariance))
    assert np.max(np.abs(z)) < 5
    # All entries together: gap' C^-1 gap is chi-squared with one degree of freedom an entry.
    statistic = gap @ np.linalg.solve(covariance, gap)
    assert chi2.ppf(1e-6, z.size) < statistic < chi2.isf(1e-6, z.size)
    # These are enough samples to tell this rank from full rank (and full rank from rank 4).
    other = smoothed_gradient(None if rank else 4).reshape(-1)
    away = gap + smoothed_gradient(rank).reshape(-1) - other
    assert away @ np.linalg.solve(covariance, away) > chi2.isf(1e-6, z.size)


def test_the_exact_low_rank_gradient_tends_to_the_full_rank_one_like_1_over_r() -> None:
    ranks = np.array([8, 16, 32, 64, 128, 256])
    full = smoothed_gradient(None)
    errors = [np.linalg.norm(smoothed_gradient(r) - full) / np.linalg.norm(full) for r in ranks]
    slope = np.polyfit(np.log(ranks), np.log(errors), 1)[0]
    # The next term is O(1 / r^2): at r = 8 it still bends the line by a few hundredths.
    assert -1.02 < slope < -0.95


PARAMS = {"a": np.zeros((4, 3)), "b": np.zeros((4, 3)), "c": np.zeros(7)}


def bits(noise):
    """All numbers of a noise tree, pair by pair: (P, everything)."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(noise)]
    return np.concatenate([x.reshape(x.shape[0], -1) for x in leaves], axis=1)


@pytest.mark.parametrize("how", [LowRank(2), FullRank()], ids=str)
def test_a_pairs_noise_has_the_same_bits_alone_and_among_64(how) -> None:
    root = jax.random.key(0)
    among = bits(draw(how, "float16", root, PARAMS, EPOCH, jnp.arange(64)))
    for pair in (0, 1, 17, 63):
        alone = bits(draw(how, "float16", root, PARAMS, EPOCH, jnp.array([pair])))
        np.testing.assert_array_equal(alone[0], among[pair])


@pytest.mark.parametrize("how", [LowRank(2), FullRank()], ids=str)
def test_noise_differs_between_pairs_leaves_epochs_and_roots(how) -> None:
    def drawn(seed, epoch):
        key, epoch = jax.random.key(seed), jnp.int32(epoch)
        # In half precision thousands of normals repeat by chance.
        return draw(how, "float32", key, PARAMS, epoch, jnp.arange(64))

    first, next_epoch, other_root = drawn(0, 5), drawn(0, 6), drawn(1, 5)
    leaves = [bits({"x": first[name]}) for name in PARAMS]
    everything = np.concatenate(
        [x.reshape(-1) for x in (*leaves, bits(next_epoch), bits(other_root))]
    )
    # 32-bit normals do repeat by chance, but not as whole sequences: 23 bits, few thousand draws.
    assert np.unique(everything).size > 0.99 * everything.size


@pytest.mark.parametrize(
    ("noise_reuse", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [0, 0, 1, 1, 2]), (0, [0, 0, 0, 0, 0])]
)
def test_noise_reuse_is_how_many_generations_share_their_noise(noise_reuse, epochs) -> None:
    algorithm, env = Eggroll(pop_size=6, noise_reuse=noise_reuse, rank=2), Drift(Discrete(3))
    task = Task(env, MLPPolicy(env.spec, Network(())), Blocks())
    state = jax.jit(algorithm.init, static_argnums=0)(task, run_streams(0))
    draw_generation = jax.jit(algorithm._draw)
    drawn = [
        bits(draw_generation(state._replace(generation=jnp.int32(g)), jnp.arange(3)))
        for g in range(5)
    ]
    for g in range(5):
        for h in range(5):
            assert np.array_equal(drawn[g], drawn[h]) == (epochs[g] == epochs[h]), (g, h)


@pytest.mark.parametrize("how", [LowRank(2), FullRank()], ids=str)
def test_half_precision_noise_is_the_same_noise_rounded(how) -> None:
    root, pairs = jax.random.key(0), jnp.arange(8)
    half, full = (draw(how, t, root, PARAMS, EPOCH, pairs) for t in ("float16", "float32"))
    assert bits(half).dtype == np.float16 and bits(full).dtype == np.float32
    np.testing.assert_array_equal(bits(half), bits(full).astype(np.float16))


def test_wide_full_rank_layers_take_the_other_path_to_the_same_product() -> None:
    how, rng = FullRank(), np.random.default_rng(0)
    noise = rng.normal(size=(4, 256, 300)).astype(np.float16)
    assert 4 * noise.size > noises.CACHED_BYTES
    x, scale = numbers(rng, (4, 2, 256)), numbers(rng, (4, 2, 1))
    got = jax.jit(how.product)(noise, x, scale)
    expected = scale * np.einsum("csi,cio->cso", x.astype(np.float64), noise.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("n", [1, 63, 64, 70, 256])
def test_dot_products_of_short_and_long_rows(n) -> None:
    """Long rows are added in chunks, and 70 is no multiple of one."""
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 2, n))
    y = y[:, :1].astype(jnp.float16)
    wanted = np.sum(np.asarray(x, np.float64) * np.asarray(y, np.float64), -1, keepdims=True)
    np.testing.assert_allclose(jax.jit(noises.dot)(x, y), wanted, rtol=1e-5, atol=1e-5)
