"""Proves that the exact curves are those of E[E f(M + sigma E)] / sigma, that the harness's
estimates are held against them, and that each rule can come out either way."""

import dataclasses
import json

import numpy as np
import pytest

from rlbench.agents._perturbation import FullRank, LowRank
from rlbench.analysis import style
from rlbench.analysis.reproduced import convergence as claim
from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED
from rlbench.reproduce.measures import _harness, _numbers, convergence, convergence_tanh
from rlbench.reproduce.measures.convergence import Law, Sine
from tests.reproduce.made import data, small, verdicts

SIGMA, PHASE = 1.3, np.pi / 4


def sine(shape, seed=0):
    return Sine(1.5, _numbers.unit(shape, seed), PHASE)


def draw_law(rng, name, size):
    if name == "Gaussian":
        return rng.normal(size=size)
    if name == "Rademacher":
        return rng.choice([-1.0, 1.0], size=size)
    if name == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), size=size)
    # A coin with p = 1/5: value 2 with probability 1/5, else -1/2.
    return np.where(rng.random(size) < 0.2, 2.0, -0.5)


def monte_carlo(f, laws, r, samples=200_000):
    """(20, out, in): (1 / sigma) E f(M + sigma E), by nothing but the definition."""
    rng = np.random.default_rng(7)
    out, into = f.u.shape
    batches = []
    for _ in range(20):
        a = draw_law(rng, laws[0], (samples // 20, out, r))
        b = draw_law(rng, laws[1], (samples // 20, into, r))
        e = a @ b.swapaxes(1, 2) / np.sqrt(r)
        values = f.weight * np.sin(f.phase + SIGMA * np.einsum("oi,soi->s", f.u, e))
        batches.append(np.einsum("s,soi->oi", values, e) / SIGMA / len(a))
    return np.array(batches)


@pytest.mark.parametrize(
    ("law", "of"),
    [
        ("Gaussian", ("Gaussian", "Gaussian")),
        ("Rademacher", ("Rademacher", "Rademacher")),
        ("uniform", ("uniform", "uniform")),
        ("both skewed", ("skewed", "skewed")),
        ("only A skewed", ("skewed", "Rademacher")),
    ],
)
@pytest.mark.parametrize("r", [1, 3])
def test_the_exact_gradient_is_that_of_plain_monte_carlo(law, of, r) -> None:
    f = sine((4, 3))
    exact = convergence.LAWS[law][0](f, SIGMA, r)
    # 12 entries of 10 cases, 20 batches: Student's t with 19 degrees of freedom is above 5.4 with
    # probability 3e-5 for one, 0.4 % for any.
    assert _numbers.largest_t(monte_carlo(f, of, r), exact) < 5.4


@pytest.mark.parametrize("r", [1, 2, 16])
def test_the_closed_form_is_the_enumeration_of_a_gaussian_law(r) -> None:
    x, w = np.polynomial.hermite_e.hermegauss(24)
    gaussian = Law(x, w / w.sum())
    f = sine((4, 3))
    closed = convergence.gaussian_low_rank(f, SIGMA, r)
    np.testing.assert_allclose(
        convergence.enumerated_low_rank(f, SIGMA, r, gaussian, gaussian), closed, atol=1e-9
    )


@pytest.mark.parametrize("law", list(convergence.LAWS))
def test_at_a_high_rank_every_law_gives_the_gradient_under_full_noise(law) -> None:
    f = sine((3, 2))
    low, full = convergence.LAWS[law][0](f, SIGMA, 10**8), f.full_rank(SIGMA)
    # 1/r, or r^-1/2 with a constant below 1 if E is skewed.
    np.testing.assert_allclose(low, full, atol=1e-4 if law == "both skewed" else 1e-7)


def test_laws_have_mean_0_and_variance_1_and_quadrature_is_fine_enough() -> None:
    for law in (convergence.rademacher(), convergence.uniform(), convergence.two_point()):
        moments = [law.weights @ law.values**k for k in range(3)]
        np.testing.assert_allclose(moments, [1, 0, 1], atol=1e-12)
    assert convergence.two_point().third_moment == pytest.approx(1.5)
    f = sine((4, 3))
    coarse, fine = (
        convergence.enumerated_low_rank(f, SIGMA, 1, convergence.uniform(k), convergence.uniform(k))
        for k in (convergence.LEGENDRE, 16)
    )
    np.testing.assert_allclose(coarse, fine, atol=1e-9)


def test_a_sum_of_sines_is_the_sum_of_their_gradients() -> None:
    params = {"shape": [4, 3], "sigma": 0.8, "phase": PHASE, "ranks": [2], "seed": 1}
    found = convergence.measure(params | {"sines": 3, "laws": ["Gaussian"]})
    f = convergence.sines((4, 3), 3, PHASE, 1)
    assert [one.weight for one in f] == [1, 1 / 2, 1 / 3]
    full = sum(one.full_rank(0.8) for one in f)
    low = sum(convergence.gaussian_low_rank(one, 0.8, 2) for one in f)
    expected = np.linalg.norm(low - full) / np.linalg.norm(full)
    assert found["values"]["curves"]["Gaussian"]["errors"] == [pytest.approx(expected)]


def test_tanh_of_a_rank_one_direction_is_known_by_one_integral() -> None:
    # For U = u w^T, ||U B||^2 / r is chi-squared, V with r degrees of freedom over r, and the
    # gradient is E[h(V) V] U: by symmetry only the part of B B^T along w is left.
    r, out, into = 3, 4, 3
    u = np.zeros((out, into))
    u[1, 2] = 1.0
    nodes, weights = np.polynomial.legendre.leggauss(400)
    v = 20 * (nodes + 1)
    of_v = weights * 20 * v ** (r / 2 - 1) * np.exp(-v / 2) / (2 ** (r / 2) * np.sqrt(np.pi) / 2)
    h = convergence_tanh.slope_of_tanh(PHASE, SIGMA * np.sqrt(v / r))
    full = convergence_tanh.slope_of_tanh(PHASE, np.array([SIGMA]))
    expected = (np.sum(of_v * h * v / r) - full[0]) * u
    found = convergence_tanh.differences(u, PHASE, SIGMA, r, (32, 4000), 0)
    # Entries of other rows are 0 exactly; of 3 entries, |t| of 31 degrees above 5: 7e-5.
    assert not found[:, [0, 2, 3]].any()
    assert _numbers.largest_t(found[:, 1], expected[1]) < 5


def test_the_norm_of_a_mean_is_not_raised_by_its_noise() -> None:
    rng = np.random.default_rng(0)
    batches = 1 / np.sqrt(30) + rng.normal(size=(200, 50, 6, 5))
    norms, errors = np.array([_numbers.norm_of_mean(each) for each in batches]).T
    # The squared norm, 1, has a spread of sqrt(2 * 30 / 50^2 + 4 / 50) = 0.32, and its mean over
    # 200 one of 0.023, of which 0.1 is 4.4. The noise would add 30 / 50.
    assert np.mean(norms**2) == pytest.approx(1.0, abs=0.1)
    # Along any direction a mean of 50 has an error of 50^-1/2 = 0.141, known to 1 / sqrt(2 * 49).
    assert np.mean(errors) == pytest.approx(50**-0.5, rel=0.1)


@pytest.mark.parametrize("how", [LowRank(2), FullRank()], ids=str)
def test_what_is_seen_is_what_is_summed(how) -> None:
    # The estimate of a linear f is sum <U, E> E / N: a mean of projections, U on average. With
    # 4,096 pairs a generation it is beyond the 32,768 results up to which a compiler's fault hid.
    u = _numbers.unit((6, 5), 0)
    found = _harness.gradients(
        how,
        (6, 5),
        lambda e: (e * np.asarray(u, np.float32)).sum((1, 2)),
        0.7,
        _harness.Draws(16, 4096),
        3,
    )
    # 30 entries of 2 cases, Student's t with 15 degrees of freedom: above 6.5 once in 1,600 times.
    assert _numbers.largest_t(found, u) < 6.5


@pytest.fixture(scope="module")
def measured():
    exact = [small("convergence", name) for name in ("one_sine", "three_sines", "larger")]
    draws = small("convergence", "draws", ranks=[2])
    return data(*exact, small("convergence", "tanh"), draws)


def test_measured_data_agree_are_drawn_and_are_json(measured) -> None:
    assert verdicts(claim.judge(measured)) == [AGREE] * 3
    json.dumps({name: case.values for name, case in measured.cases.items()}, allow_nan=False)
    rows = claim.REPRODUCTION.rows(measured)
    assert {row["f"] for row in rows} == set(claim.TITLES)
    assert len({tuple(row) for row in rows}) == 1
    with style.styled():
        figure = claim.REPRODUCTION.draw(measured)
    assert len(figure.axes) == 4


def changed(found, name, **values):
    case = found.cases[name]
    return data(*(found.cases | {name: dataclasses.replace(case, values=values)}).values())


def curves(exponents, third):
    ranks = [2.0**k for k in range(11)]
    return {
        "ranks": ranks,
        "curves": {
            str(exponent): {
                "errors": [0.3 * r**exponent for r in ranks],
                "third": third,
                "symmetric": not third,
            }
            for exponent in exponents
        },
    }


def test_a_slow_symmetric_law_and_a_fast_skewed_one_differ(measured) -> None:
    slow = changed(measured, "larger", **curves([-1.0, -0.8], 0.0))
    assert verdicts(claim.judge(slow)) == [DIFFER, AGREE, AGREE]
    fast = changed(measured, "larger", **curves([-0.9], 1.5))
    assert verdicts(claim.judge(fast)) == [AGREE, DIFFER, AGREE]


def test_an_exponent_that_is_not_known_well_enough_is_not_ruled_on(measured) -> None:
    ranks = [8, 16, 32, 64]
    vague = {"ranks": ranks, "errors": [1 / r for r in ranks]}
    vague["standard_errors"] = [0.3 / r for r in ranks]
    assert verdicts(claim.judge(changed(measured, "tanh", **vague)))[0] == UNTESTED


def test_a_wrong_estimate_of_the_harness_differs(measured) -> None:
    values = dict(measured.cases["draws"].values)
    one = values["draws"]["r=2"] | {"largest_t": 9.0}
    wrong = changed(measured, "draws", **(values | {"draws": values["draws"] | {"r=2": one}}))
    assert verdicts(claim.judge(wrong)) == [AGREE, AGREE, DIFFER]


def test_missing_cases_are_not_testable(measured) -> None:
    assert verdicts(claim.judge(data())) == [UNTESTED] * 3
    partly = data(measured.cases["larger"])
    assert verdicts(claim.judge(partly)) == [AGREE, UNTESTED, UNTESTED]
    assert claim.REPRODUCTION.rows(data()) == []
    with style.styled():
        claim.REPRODUCTION.draw(data())
        claim.REPRODUCTION.draw(partly)
