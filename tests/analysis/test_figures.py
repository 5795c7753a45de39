"""Figures of runs in any condition are drawn, or say why not; what they show is what was found."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlbench.analysis.figures import learning_curves
from rlbench.analysis.findings import find
from rlbench.analysis.runs import find_runs
from rlbench.analysis.style import looks, styled
from rlbench.analysis.suite_figures import FIGURES

from .made_runs import evaluation, make_cells, make_run

NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 500.0, 1e-30, -1e12, 1e300]), st.floats(-1e6, 1e6)
)
RUN = st.fixed_dictionaries(
    {
        "algo": st.sampled_from(["eggroll", "open_es", "a $\\frac{name}$ & <more>"]),
        "env": st.sampled_from(["gymnax/CartPole-v1", "brax/ant@spring", "somebody/s-env"]),
        "status": st.sampled_from(["ok", "ok", "failed", "running"]),
        "seconds": st.sampled_from([0.0, 1e-6, 10.0, 1e6]),
        "budget": st.sampled_from([1, 1_000, 10**12]),
        "curve": st.lists(NUMBERS, max_size=3),
        "settings": st.sampled_from([{}, {"pop_size": 2}, {"pop_size": 4}, {"pop_size": "x"}]),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(described=st.lists(RUN, min_size=1, max_size=5))
def test_any_numbers_give_figures_without_a_warning(described, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for i, run in enumerate(described):
        values, budget, seconds = run["curve"], run["budget"], run["seconds"]
        shares = np.linspace(0, 1, len(values))
        rows = [
            evaluation(int(budget * share), seconds * share, value)
            for share, value in zip(shares, values, strict=True)
        ]
        make_run(root, seed=i, name=f"run-{i}", **(run | {"curve": rows}))
    findings = find(find_runs([root]))
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, make in FIGURES.items():
            figure = make(findings)
            if isinstance(figure, str):
                assert figure
            else:
                figure.savefig(root / f"{name}.png", dpi=30)


def test_a_curve_in_the_figure_is_the_mean_of_its_runs(tmp_path):
    make_cells(tmp_path, {"eggroll": 100.0, "ppo": 50.0})
    findings = find(find_runs([tmp_path]))
    with styled():
        (axes,) = learning_curves(findings, "steps").axes
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"eggroll", "ppo"}
    # 1.8 is the mean of the seeds' offsets (made_runs); curves begin at 10.
    np.testing.assert_allclose(lines["eggroll"].get_ydata(), np.linspace(10, 101.8, 5))
    np.testing.assert_allclose(lines["ppo"].get_xdata(), [0, 250, 500, 750, 1000])


def test_bars_are_mean_times_with_the_ratio_of_medians(tmp_path):
    for seed, seconds in enumerate([8.0, 10.0, 15.0]):
        make_run(tmp_path, "eggroll", seed, seconds=seconds)
        make_run(tmp_path, "ppo", seed, seconds=2.5 * seconds)
    findings = find(find_runs([tmp_path]))
    with styled():
        (axes,) = FIGURES["wall_clock"](findings).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([11.0, 27.5])
    assert [text.get_text() for text in axes.texts] == ["1", "2.5x"]


def test_no_two_of_twenty_entries_look_the_same():
    found = looks([f"algorithm {i}" for i in range(20)])
    assert len({(look.colour, look.marker, str(look.line)) for look in found.values()}) == 20
    # In grey, what lies beside each other differs by marker and line.
    first = list(found.values())[:10]
    assert len({look.marker for look in first}) == 10
