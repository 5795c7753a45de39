"""One layer under a population: outputs against explicit matrices, and the rules on speeds."""

import tomllib
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.agents import _perturbation as noises
from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED, Case
from rlbench.analysis.reproduced.throughput import LABELS, PAPER, REPRODUCTION, TOLERANCE, speeds
from rlbench.reproduce.measures import _layer
from rlbench.reproduce.measures._layer import Layer
from rlbench.reproduce.measures.throughput import errors, explicit, measure, noise_of, variants
from tests.reproduce.made_costs import NOTHING, data, drawn, verdicts

SECONDS = {
    "inference": 1.0,
    "eggroll": 1.1,
    "eggroll_fly": 1.4,
    "ppo": 3.0,
    "open_es_shared": 50.0,
    "open_es_shared_fly": 500.0,
    "open_es_built": 250.0,
    "open_es_built_fly": 2000.0,
}


def case(platform="gpu", width=8192, members=None, error=0.0, **seconds):
    """Three rounds that differ by 2 % each way."""
    samples = {name: [0.98 * s, s, 1.02 * s] for name, s in (SECONDS | seconds).items()}
    values = {
        "members": dict.fromkeys(LABELS, 1024) | (members or {}),
        "errors": {"eggroll": error},
        "platform": platform,
    }
    params = {"width": width, "dtype": "bfloat16", "pop_size": 1024, "passes": 2}
    return data(layer=Case("layer", params, samples, values))


# Numbers.


@pytest.mark.parametrize("rank", [1, 4])
def test_every_form_gives_what_explicitly_perturbed_matrices_give(rank):
    # Sums of 96 products in float32: rounding is near sqrt(96) 2^-24 = 6e-7 of the outputs' size.
    found = errors(Layer(96, "float32", "float16", seed=3), rank)
    assert set(found) == {name for name in LABELS if name not in ("inference", "ppo")}
    assert max(found.values()) < 2e-5


def test_in_bfloat16_the_errors_are_those_of_rounding():
    # 2^-9 of the largest output, which is some three times the root mean square: above 1e-3.
    found = errors(Layer(64, "bfloat16", "bfloat16", seed=0), 1)
    assert 1e-3 < max(found.values()) < TOLERANCE["bfloat16"]


def test_the_two_members_of_a_pair_mirror_each_other_and_pairs_differ():
    layer = Layer(32, "float32", "float32", seed=0)
    w = np.asarray(layer.weights(), np.float64)
    x = np.asarray(layer.inputs(4), np.float64)
    shift = explicit(layer, noises.FullRank(), 4) - x @ w
    e = np.asarray(layer.draw(noises.FullRank(), layer.key(), 2), np.float64)
    np.testing.assert_allclose(shift[1], -_layer.SIGMA * x[1] @ e[0], rtol=1e-6)
    np.testing.assert_allclose(shift[2], _layer.SIGMA * x[2] @ e[1], rtol=1e-6)


def test_what_is_drawn_on_the_fly_is_what_was_drawn_before_and_new_in_another_generation():
    layer, w, x = (it := Layer(16, "float32", "float32", 1)), it.weights(), it.inputs(6)
    forms = variants(layer, 2)
    before = forms["eggroll"][0](w, x, noise_of(layer, "low", 6, 2))[1]
    same, other = (forms["eggroll_fly"][0](w, x, jnp.asarray(g))[1] for g in (0, 1))
    np.testing.assert_allclose(before, same, rtol=1e-5)
    assert np.abs(other - before).max() > 0.01


def test_backpropagation_gives_the_gradients_of_a_sum():
    layer = Layer(8, "float32", "float32", seed=0)
    w, x, g = layer.weights(), layer.inputs(5), layer.inputs(5, stream=3)
    new, out = _layer.backpropagation(w, x, g)
    # The loss sum(g * x w) has gradients x^T g and g w^T.
    np.testing.assert_allclose(out, x @ w + g @ w.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(new, w - _layer.LEARNING_RATE * (x.T @ g))
    steep = jax.grad(lambda w: jnp.sum(g * (x @ w)))(w)
    np.testing.assert_allclose(steep, x.T @ g, rtol=1e-4, atol=1e-5)


def test_passes_feed_on_each_other():
    layer = Layer(12, "float32", "float32", seed=0)
    w, x = layer.weights(), layer.inputs(3)
    _, out = jax.jit(_layer.repeated(_layer.inference, 3))(w, x, jnp.zeros(()))
    np.testing.assert_allclose(out, x @ w @ w @ w, rtol=1e-4, atol=1e-5)


# Rules.


def test_speeds_count_members_within_each_round():
    found = speeds(case(members={"open_es_built": 64}).cases["layer"])
    # 64 members in 250 s beside 1024 in 1 s.
    np.testing.assert_allclose(found["open_es_built"], [100 * 64 / 1024 / 250] * 3)
    np.testing.assert_allclose(found["inference"], [100] * 3)


def test_the_papers_own_figures_agree_with_everything():
    seconds = {name: 100 / speed for name, speed in PAPER.items()}
    seconds |= {"open_es_shared": 200.0, "open_es_shared_fly": 900.0}
    assert verdicts(REPRODUCTION, case(**seconds)) == [AGREE] * 5


def test_a_slow_eggroll_differs():
    found = case(eggroll=10.0, eggroll_fly=30.0)
    assert verdicts(REPRODUCTION, found) == [DIFFER] * 5


def test_an_eggroll_faster_than_inference_or_an_openes_faster_than_ppo_is_another_order():
    assert verdicts(REPRODUCTION, case(eggroll=0.5))[2:4] == [DIFFER, AGREE]
    assert verdicts(REPRODUCTION, case(open_es_shared_fly=2.0))[2:4] == [AGREE, DIFFER]


def test_an_order_that_is_not_the_same_in_all_rounds_is_not_told_apart():
    found = case()
    found.cases["layer"].samples["ppo"][0] = 0.9
    assert verdicts(REPRODUCTION, found)[2:4] == [UNTESTED, UNTESTED]


def test_elsewhere_than_at_the_papers_size_only_the_order_is_tested():
    for found in (case(platform="cpu"), case(width=4096)):
        assert verdicts(REPRODUCTION, found) == [UNTESTED, UNTESTED, AGREE, AGREE, UNTESTED]
    assert verdicts(REPRODUCTION, case(platform="cpu", width=512)) == [UNTESTED] * 5


def test_wrong_outputs_and_missing_cases_test_nothing():
    for found in (case(error=0.5), case(error=float("nan")), NOTHING):
        assert verdicts(REPRODUCTION, found) == [UNTESTED] * 5
    found = case()
    del found.cases["layer"].samples["ppo"]
    assert verdicts(REPRODUCTION, found) == [UNTESTED] * 5
    drawn(REPRODUCTION, NOTHING)


def test_the_small_scale_is_measured_judged_and_drawn():
    spec = tomllib.loads((resources.files("rlbench.sweeps.claims") / "throughput.toml").read_text())
    params = spec["case"]["layer"] | spec["small"]
    made = measure(params)
    found = data(layer=Case("layer", params, made["samples"], made["values"]))
    assert {len(samples) for samples in made["samples"].values()} == {params["rounds"]}
    assert made["values"]["members"]["open_es_built"] == params["full_members"]
    assert max(made["values"]["errors"].values()) < TOLERANCE["float32"]
    assert verdicts(REPRODUCTION, found) == [UNTESTED] * 5  # too small for any
    drawn(REPRODUCTION, found)
    assert [row["variant"] for row in REPRODUCTION.rows(found)] == list(LABELS)
