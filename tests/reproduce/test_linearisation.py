"""Proves that the closed forms are what ES and EGGROLL add to a gradient, that the harness's
estimates are held against them, and that each rule can come out either way."""

import dataclasses
import json

import numpy as np
import pytest

from rlbench.analysis import style
from rlbench.analysis.reproduced import linearisation as claim
from rlbench.analysis.reproduced import linearisation_curves as curves
from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED
from rlbench.reproduce.measures import _numbers, linearisation
from rlbench.reproduce.measures import linearisation_tensor as tensor
from tests.reproduce.made import data, small, spec, verdicts

SHAPE = (4, 3)


def noise(rank, samples=400_000, seed=0):
    """(samples, out, in): E, by its definition; rank None is full noise."""
    rng = np.random.default_rng(seed)
    if rank is None:
        return rng.normal(size=(samples, *SHAPE))
    a, b = (rng.normal(size=(samples, n, rank)) for n in SHAPE)
    return a @ b.swapaxes(1, 2) / np.sqrt(rank)


def in_batches(values):
    """(40, ...) means of as many parts of (samples, ...)."""
    return np.array([part.mean(0) for part in np.array_split(values, 40)])


@pytest.mark.parametrize("algo", [0, 1])
@pytest.mark.parametrize(("f", "alpha"), [("norm", 0.5), ("norm", 2.0), ("product", 2.0)])
def test_what_is_added_is_that_of_plain_monte_carlo(algo, f, alpha) -> None:
    u, e = _numbers.unit(SHAPE, 1), noise((None, 1)[algo])
    inner = np.einsum("oi,soi->s", u, e)
    rest = inner * np.linalg.norm(e, axis=(1, 2)) ** alpha
    if f == "product":
        rest = np.einsum("oi,soi->s", u, e @ e.swapaxes(1, 2) @ e)
    m, n = np.array(SHAPE, np.float64)[:, None]
    exact = linearisation.moments(f, alpha, m, n)[algo] * u
    # 12 entries of 6 cases, Student's t with 39 degrees of freedom: above 4.5 once in 240 times.
    assert _numbers.largest_t(in_batches(rest[:, None, None] * e), exact) < 4.5


def test_moments_of_a_normal_vector() -> None:
    n = np.array([1.0, 7.0, 1e6])
    np.testing.assert_allclose(linearisation.moment(0.0, n), 1, rtol=1e-12)
    np.testing.assert_allclose(linearisation.moment(2.0, n), n + 2, rtol=1e-9)
    # E|x|^3 = 2 sqrt(2 / pi).
    assert linearisation.moment(1.0, n)[0] == pytest.approx(2 * np.sqrt(2 / np.pi))


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_what_a_general_cubic_adds(rank) -> None:
    c = tensor.random_tensor(12, 0)
    for one in (c, tensor.without_trace(c)):
        e = noise(rank, 200_000, seed=5)
        flat = e.reshape(-1, 12)
        rows = (flat @ one.reshape(12, 144)).reshape(-1, 12, 12)
        values = np.einsum("sab,sa,sb->s", rows, flat, flat)
        found = in_batches(values[:, None, None] / 6 * e)
        # 12 entries of 6 cases, Student's t with 39 degrees of freedom: above 4.5 once in 240.
        assert _numbers.largest_t(found, tensor.extra(one, SHAPE, rank)) < 4.5


def test_random_tensors_are_symmetric_and_one_has_no_trace() -> None:
    c = tensor.random_tensor(6, 0)
    rest = tensor.without_trace(c)
    for one in (c, rest):
        np.testing.assert_allclose(one, one.transpose(1, 0, 2), atol=1e-12)
        np.testing.assert_allclose(one, one.transpose(2, 1, 0), atol=1e-12)
    assert np.linalg.norm(tensor.partial_trace(c)) == pytest.approx(1)
    np.testing.assert_allclose(tensor.partial_trace(rest), 0, atol=1e-12)


@pytest.mark.parametrize("rank", [None, 1, 5])
def test_the_cubic_of_the_norm_is_a_tensor(rank) -> None:
    # <U, W> ||W||^2 = C(W, W, W) / 6, C = 2 (U_i d_jk + U_j d_ik + U_k d_ij); at rank r it adds
    # m n + 2 + (2 m + 2 n + 2) / r.
    u, one = _numbers.unit(SHAPE, 0), np.eye(12)
    part = 2 * np.einsum("i,jk->ijk", u.ravel(), one)
    c = part + part.transpose(1, 0, 2) + part.transpose(1, 2, 0)
    more = 0 if rank is None else (2 * 4 + 2 * 3 + 2) / rank
    np.testing.assert_allclose(tensor.extra(c, SHAPE, rank), (12 + 2 + more) * u, rtol=1e-9)


def exact():
    return small("linearisation", "exact")


def test_distances_are_those_of_smoothed_gradients() -> None:
    (family,) = (f for f in curves.families(data(exact()), "square", [2.0]) if f.power == 0.75)
    sigma, c, d = 16**-0.75, 0.5, 16  # a 4 x 4 matrix
    at = family.d.tolist().index(16)
    assert family.distance("es")[at] == pytest.approx(c * sigma**2 * (d + 2))
    assert family.distance("eggroll")[at] == pytest.approx(c * sigma**2 * 6 * 6)
    gap = c * sigma**2 * (36 - 18) / (1 + c * sigma**2 * 18)
    assert family.relative_gap[at] == pytest.approx(gap)
    assert family.predicted == -0.5


@pytest.fixture(scope="module")
def measured():
    return data(exact(), small("linearisation", "draws"), small("linearisation", "tensor"))


def test_measured_data_agree_are_drawn_and_are_json(measured) -> None:
    assert verdicts(claim.judge(measured)) == [AGREE] * 6
    json.dumps({name: case.values for name, case in measured.cases.items()}, allow_nan=False)
    rows = claim.REPRODUCTION.rows(measured)
    assert {row["kind"] for row in rows} == {"exact", "harness's draws"}
    assert len({tuple(row) for row in rows}) == 1
    with style.styled():
        assert len(claim.REPRODUCTION.draw(measured).axes) == 3


def test_draws_are_drawn_where_the_exact_curve_is(measured) -> None:
    rows = claim.REPRODUCTION.rows(measured)
    key = ("f", "alpha", "power", "algo", "d")
    lines = {
        tuple(row[name] for name in key): row["distance"]
        for row in rows
        if (row["kind"], row["shapes"]) == ("exact", "square")
    }
    marks = [row for row in rows if row["kind"] != "exact"]
    assert marks
    for row in marks:
        # Student's t with 31 degrees of freedom: above 5 once in 50,000 times.
        off = row["distance"] - lines[tuple(row[name] for name in key)]
        assert abs(off) < 5 * row["standard_error"]


def made(es, eggroll=None, f="norm", alpha=2.0):
    """Moments of any growth, as `exact` has them; others stay."""
    case = exact()
    moments = [dict(one) for one in case.values["moments"]]
    for one in moments:
        if (one["f"], one["alpha"]) == (f, alpha):
            d = np.array(one["d"])
            one["es"] = es(d).tolist()
            one["eggroll"] = (eggroll or es)(d * 1.001).tolist()
    return data(dataclasses.replace(case, values={"moments": moments}))


def test_other_exponents_differ() -> None:
    def faster(d):
        return d**0.4

    def square(d):
        return d**3.0

    assert verdicts(claim.judge(made(faster, alpha=0.5)))[:2] == [DIFFER, AGREE]
    assert verdicts(claim.judge(made(faster, alpha=2.0)))[:2] == [AGREE, DIFFER]
    # Beyond (sigma d)^2 = sigma^2 d^2, and ever farther from ES.
    found = verdicts(claim.judge(made(lambda d: d, square, f="product")))
    assert found[3:5] == [DIFFER, DIFFER]


def test_wrong_estimates_differ(measured) -> None:
    case = measured.cases["draws"]
    points = [dict(point) for point in case.values["points"]]
    points[0]["moment"] *= 1.3
    wrong = dataclasses.replace(case, values=case.values | {"points": points})
    assert verdicts(claim.judge(data(wrong)))[5] == DIFFER
    case = measured.cases["tensor"]
    tensors = case.values["tensors"]
    wrong_es = tensors["traceless"] | {"es": tensors["traceless"]["es"] | {"largest_t": 7.0}}
    values = case.values | {"tensors": tensors | {"traceless": wrong_es}}
    wrong = dataclasses.replace(case, values=values)
    assert verdicts(claim.judge(data(wrong)))[2] == DIFFER


def test_missing_cases_are_not_testable(measured) -> None:
    assert verdicts(claim.judge(data())) == [UNTESTED] * 6
    partly = verdicts(claim.judge(data(measured.cases["exact"])))
    assert partly == [AGREE, AGREE, UNTESTED, AGREE, AGREE, UNTESTED]
    assert claim.REPRODUCTION.rows(data()) == []
    with style.styled():
        claim.REPRODUCTION.draw(data())
        claim.REPRODUCTION.draw(data(measured.cases["exact"]))


def test_bounds_are_of_theorem_3() -> None:
    (family,) = (f for f in curves.families(data(exact()), "square", [2.0]) if f.power == 1.25)
    # L (sigma d)^2 and sigma sqrt(d) (1 + L sigma d^(3/2)), the slower of its terms, at d = 10^8.
    assert claim._bound(family, 0.5) == (2 - 2.5 - 0.5, max(0.5 - 1.25, 2 - 2.5 - 0.5))


@pytest.mark.parametrize("name", ["convergence", "marginals", "linearisation"])
def test_scales_name_cases_and_their_own_params(name) -> None:
    found = spec(name)
    for scale in ("laptop", "small"):
        assert set(found[scale]) <= set(found["case"])
    assert set(found["seconds"]) == {"laptop", "small"}
