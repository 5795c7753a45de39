"""Flops and bytes counted anew against the paper's closed forms, and the rules on a roofline."""

import tomllib
from importlib import resources

import numpy as np
import pytest

from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED, Case
from rlbench.analysis.reproduced.intensity import (
    REPRODUCTION,
    eggroll,
    full_rank,
    inference,
    points,
    roofs,
    smallest_batch,
    work,
)
from rlbench.reproduce.measures.intensity import measure
from tests.reproduce.made_costs import NOTHING, data, drawn, verdicts

SIZES = [(64, 1), (256, 7), (8192, 324), (4096, 100_000)]
PEAK, BANDWIDTH = 1e12, 1e11


def intensity(counts):
    return counts[0] / counts[1]


# The formulas as appendix F prints them, for two bytes a number.


@pytest.mark.parametrize(("m", "batch"), SIZES)
@pytest.mark.parametrize("r", [1, 2, 8])
def test_counted_intensities_are_the_papers_at_two_bytes(m, batch, r):
    np.testing.assert_allclose(intensity(inference(m, batch, 2)), batch * m / (2 * batch + m))
    np.testing.assert_allclose(intensity(full_rank(m, batch, 2)), m / (2 + m))
    theirs = (m + 2 * r + 0.5) / (2 + r * (2 + 2 / m) + m / batch)
    np.testing.assert_allclose(intensity(eggroll(m, batch, 2, r)), theirs)
    extra = eggroll(m, batch, 2, r)[0] / inference(m, batch, 2)[0] - 1
    np.testing.assert_allclose(extra, (4 * r + 1) / (2 * m))


def test_intensity_falls_as_numbers_get_wider():
    for counts in (inference, full_rank):
        assert intensity(counts(512, 32, 2)) == 2 * intensity(counts(512, 32, 4))
    assert intensity(eggroll(512, 32, 2, 3)) == 2 * intensity(eggroll(512, 32, 4, 3))


def test_smallest_batches_are_the_papers_and_the_first_at_the_ridge():
    assert smallest_batch(8192, 2, 300) == 324
    assert smallest_batch(8192, 2, 300, rank=1) == 352
    for m, s, ridge, rank in [(8192, 2, 300, 4), (1024, 4, 14, 0), (1024, 4, 14, 1)]:
        batch = smallest_batch(m, s, ridge, rank)
        form = (lambda b: eggroll(m, b, s, rank)) if rank else (lambda b: inference(m, b, s))  # noqa: B023
        assert intensity(form(batch)) >= ridge > intensity(form(batch - 1))
    # At most m / 2 flops a byte, whatever the batch.
    assert smallest_batch(512, 2, 300) is None


# Rules.


def case(es=1.0, top=0.8, width=8192, flops=1.0, moved=1.0, cache=2**25, forms=("inference",)):
    """A layer whose ES has `es` times what the memory roof allows, and whose others reach `top` of
    the peak at a batch of 1024 in two bytes a number.
    """
    params = {"width": width}
    work_done = {"gemm": PEAK, "triad": BANDWIDTH, "read": BANDWIDTH / 2}
    samples, xla = {name: [1.0, 1.5] for name in work_done}, {}
    for name in ("inference 16", "inference 1024", "eggroll r=1 16", "eggroll r=1 1024", "es 8"):
        count, bytes_ = work(name, params, 2)
        rate = top * PEAK if name.endswith("1024") else es * BANDWIDTH * count / bytes_
        samples[name] = [count / rate] * 3
        factor = moved if name.startswith(forms) else 1.0
        xla[name] = {"flops": flops * count, "bytes": factor * bytes_}
    values = {"work": work_done, "xla": xla, "cache_bytes": cache, "bytes_per_number": 2}
    return data(layer=Case("layer", params, samples, values))


def test_the_roofs_are_the_best_rounds_and_the_faster_stream():
    assert roofs(case().cases["layer"]) == {"peak": PEAK, "bandwidth": BANDWIDTH}


def test_points_are_flops_over_seconds():
    found = points(case(es=0.5).cases["layer"])["es 8"]
    np.testing.assert_allclose(found["memory_roof"], BANDWIDTH * 8192 / 8194)
    np.testing.assert_allclose(found["flops_per_second"], 0.5 * found["memory_roof"])


def test_a_textbook_roofline_agrees():
    assert verdicts(REPRODUCTION, case()) == [AGREE] * 4


def test_an_es_above_its_memory_roof_or_an_eggroll_that_does_not_rise_differs():
    assert verdicts(REPRODUCTION, case(es=2.0)) == [AGREE, DIFFER, AGREE, AGREE]
    assert verdicts(REPRODUCTION, case(top=0.3)) == [AGREE, DIFFER, AGREE, AGREE]


def test_other_counts_of_xla_differ():
    assert verdicts(REPRODUCTION, case(flops=1.02)) == [AGREE, AGREE, DIFFER, AGREE]
    assert verdicts(REPRODUCTION, case(moved=1.3)) == [AGREE, AGREE, AGREE, DIFFER]


def test_matrices_in_a_cache_and_missing_cases_test_nothing():
    assert verdicts(REPRODUCTION, case(cache=2**27)) == [AGREE, UNTESTED, AGREE, AGREE]
    assert verdicts(REPRODUCTION, NOTHING) == [AGREE, UNTESTED, UNTESTED, UNTESTED]
    found = case()
    for counts in found.cases["layer"].values["xla"].values():
        counts.update(flops=None, bytes=None)
    assert verdicts(REPRODUCTION, found) == [AGREE, AGREE, UNTESTED, UNTESTED]
    drawn(REPRODUCTION, NOTHING)


def test_the_small_scale_is_measured_judged_and_drawn():
    spec = tomllib.loads((resources.files("rlbench.sweeps.claims") / "intensity.toml").read_text())
    params = spec["case"]["layer"] | spec["small"]
    made = measure(params)
    found = data(layer=Case("layer", params, made["samples"], made["values"]))
    drawn(REPRODUCTION, found)
    rows = REPRODUCTION.rows(found)
    forms, batches = 1 + len(params["ranks"]), len(params["batches"])
    assert len(rows) == forms * batches + len(params["full_batches"])
    # XLA counts the products independently of our formulas. It leaves out little of EGGROLL's: at
    # width 256 a vector's scaling is 1 / 512 of a matrix product.
    for row in rows:
        counts = work(f"{row['form']} {row['batch']}", params, 4)
        np.testing.assert_allclose(row["xla_flops"], counts[0], rtol=3e-3)
        if row["form"] in ("inference", "es") and row["batch"] > 1:
            np.testing.assert_allclose(row["xla_bytes"], counts[1], rtol=1e-3)
