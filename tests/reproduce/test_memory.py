"""Bytes of noise against closed forms, and the rules on how many times less."""

import tomllib
from importlib import resources

import jax
import pytest

from rlbench.analysis.reproduced.claim import AGREE, DIFFER, UNTESTED, Case
from rlbench.analysis.reproduced.memory import REPRODUCTION, numbers
from rlbench.bench.memory import memory
from rlbench.reproduce.measures.storage import measure
from tests.reproduce.made_costs import NOTHING, data, drawn, verdicts

MIB = 2**20


@pytest.fixture(scope="module")
def spec():
    return tomllib.loads((resources.files("rlbench.sweeps.claims") / "memory.toml").read_text())


@pytest.fixture(scope="module")
def noise(spec):
    params = spec["case"]["noise"]
    made = measure(params)
    return Case("noise", params, made["samples"], made["values"])


@pytest.fixture
def cache_kept():
    """`memory` turns the compile cache off, in a process that is its own."""
    before = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def update(population, eggroll, open_es, naive, **params):
    sizes = {"eggroll r=1": eggroll, "eggroll r=4": 2 * eggroll, "open_es": open_es, "naive": naive}
    samples = {name: [float(size * MIB)] for name, size in sizes.items()}
    return Case(f"update_{population}", {"pop_size": population, **params}, samples, {})


def test_the_formula_by_hand():
    # A 3 x 5 matrix and a vector of 7.
    assert numbers([[3, 5], [7]], "full") == 22
    assert numbers([[3, 5], [7]], "r=2") == 23


def test_the_harness_stores_what_the_formula_says(noise):
    assert noise.values["bytes_per_number"] == 2
    found = {tuple(m["shape"]): m["bytes"] for m in noise.values["matrices"]}
    assert found[8192, 8192] == {
        **{f"r={r}": 2 * r * 16384 for r in (1, 2, 4, 8)},
        "full": 2 * 8192**2,
    }
    # The paper's network on CartPole has 133,378 parameters, 770 of them biases; the matrices'
    # sides add up to 260 + 512 + 512 + 258.
    network = noise.values["network"]["bytes"]
    assert network["full"] == 2 * 133_378
    assert network["r=4"] == 2 * (4 * 1542 + 770)
    assert verdicts(REPRODUCTION, data(noise=noise))[:2] == [AGREE, AGREE]


def test_other_bytes_differ(noise):
    values = {
        **noise.values,
        "matrices": [{"shape": [4, 4], "bytes": {"full": 34}}],
        "network": {"shapes": [[2, 2]], "bytes": {"full": 900, "r=1": 10, "r=2": 20, "r=4": 100}},
    }
    found = data(noise=Case("noise", {}, {}, values))
    assert verdicts(REPRODUCTION, found)[:2] == [DIFFER, DIFFER]


def test_ratios_of_whole_updates_must_be_within_the_factor():
    def judged(*updates):
        return verdicts(REPRODUCTION, data(**{one.name: one for one in updates}))[2:]

    assert judged(update(256, 1, 25, 90), update(1024, 2, 60, 200)) == [AGREE, AGREE]
    # At rank 4 only 9.5 times less than OpenES; at rank 1 120 times less than built weights.
    assert judged(update(256, 1, 19, 90)) == [DIFFER, AGREE]
    assert judged(update(256, 1, 25, 90), update(1024, 1, 25, 120)) == [AGREE, DIFFER]
    assert judged(update(256, 1, 25, 90, network={"hidden": [16]})) == [UNTESTED, UNTESTED]
    assert judged() == [UNTESTED, UNTESTED]


def test_missing_cases_test_nothing():
    assert verdicts(REPRODUCTION, NOTHING) == [UNTESTED] * 4
    drawn(REPRODUCTION, NOTHING)


def test_the_small_scale_is_measured_judged_and_drawn(spec, noise, cache_kept):
    found = {"noise": noise}
    for name in ("update_256", "resident_open_es", "resident_naive"):
        params = spec["case"][name] | spec["small"][name]
        made = (memory if name.startswith("update") else measure)(params)
        found[name] = Case(name, params, made["samples"], made["values"])
    sizes = {name: size for name, (size,) in found["update_256"].samples.items()}
    assert sizes["eggroll r=1"] < sizes["eggroll r=4"]
    assert found["resident_naive"].samples["peak"][0] >= found["resident_naive"].values["before"]
    drawn(REPRODUCTION, data(**found))
    whats = {row["what"] for row in REPRODUCTION.rows(data(**found))}
    assert whats == {"noise", "buffers of an update", "resident at most"}
    told = REPRODUCTION.judge(data(**found))[3].measured
    assert "resident at most" in told and "naive" in told
