"""What rliable says of fixed scores: `rliable.json`, which tests hold ours against.

rliable does not work beside pandas 3, so this runs in an environment of its own:

    python -m venv rliable-env
    rliable-env/bin/pip install rliable==1.2.0 "pandas<3" "arch<8"
    rliable-env/bin/python tests/oracles/rliable_numbers.py > tests/oracles/rliable.json
"""

import importlib.metadata
import json
import sys

import numpy as np
from rliable import library, metrics

RESAMPLES = 50_000
THRESHOLDS = np.linspace(0.0, 1.5, 16)
SHAPES = {"a": (10, 6), "b": (10, 6), "c": (7, 6)}


def scores():
    """Scores with the troubles of real ones: skewed, bimodal, tied, above the reference."""
    rng = np.random.default_rng(7)
    found = {}
    for name, (runs, tasks) in SHAPES.items():
        x = rng.normal(0.6 + 0.05 * len(found), 0.25, (runs, tasks))
        x[:, 1] = rng.lognormal(-0.5, 0.6, runs)
        x[:, 2] = np.where(rng.random(runs) < 0.3, 0.05, 0.95)
        x[:, 3] = np.round(x[:, 3], 1)
        found[name] = x
    return found


def aggregate(x):
    return np.array(
        [
            metrics.aggregate_iqm(x),
            metrics.aggregate_median(x),
            metrics.aggregate_mean(x),
            metrics.aggregate_optimality_gap(x),
        ]
    )


def main():
    np.random.seed(11)  # noqa: NPY002  (rliable ignores the generator it is given)
    found = scores()
    points, intervals = library.get_interval_estimates(found, aggregate, reps=RESAMPLES)
    profiles, bands = library.create_performance_profile(found, THRESHOLDS, reps=2_000)
    pairs = {f"{a},{b}": (found[a], found[b]) for a, b in (("a", "b"), ("a", "c"))}
    better, better_intervals = library.get_interval_estimates(
        pairs, metrics.probability_of_improvement, reps=5_000
    )
    names = ("rliable", "arch", "numpy", "scipy", "pandas")
    data = {
        "made_by": "python tests/oracles/rliable_numbers.py",
        "versions": {name: importlib.metadata.version(name) for name in names},
        "resamples": {"aggregates": RESAMPLES, "profiles": 2_000, "improvement": 5_000},
        "scores": {name: x.tolist() for name, x in found.items()},
        "aggregates": ["IQM", "median", "mean", "optimality gap"],
        "points": {name: x.tolist() for name, x in points.items()},
        "intervals": {name: x.tolist() for name, x in intervals.items()},
        "thresholds": THRESHOLDS.tolist(),
        "profiles": {name: x.tolist() for name, x in profiles.items()},
        "profile_intervals": {name: x.tolist() for name, x in bands.items()},
        "improvement": {name: float(x) for name, x in better.items()},
        "improvement_intervals": {name: x.ravel().tolist() for name, x in better_intervals.items()},
    }
    json.dump(data, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
