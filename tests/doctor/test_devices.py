"""Whatever jax does when it starts is told in a line."""

import sys

import pytest

from rlbench.doctor.devices import Outcome, ask, devices


def test_jax_that_ends_hangs_or_raises_is_told_in_a_line():
    aborted = ask([sys.executable, "-c", "import os; os.abort()"])
    hanging = ask([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.5)
    raising = ask([sys.executable, "-c", "raise SystemExit('no module\\nbad jaxlib')"])
    for outcome, words in [
        (aborted, "(SIGABRT)"),
        (hanging, "was not done with starting"),
        (raising, "does not start: bad jaxlib"),
        (Outcome(0, "[1]"), "does not start"),
    ]:
        (one,) = devices(outcome, "3.11.9", {})
        assert one.level == "problem" and words in one.found and "\n" not in one.found
        assert one.command.endswith("--force-reinstall --no-deps jax==0.10.2 jaxlib==0.10.2")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("jax.numpy.matmul = lambda a, b: 0 * (a @ b)", "two integer matrices"),
        ("jax.extend.random.threefry_2x32 = lambda key, count: key ^ count", "Threefry-2x32"),
    ],
)
def test_jax_that_computes_wrongly_is_a_problem(broken, words):
    code = f"import json, jax.extend.random, jax.numpy\n{broken}\n"
    code += "from rlbench.doctor.probe import probe\nprint(json.dumps(probe()))"
    (one,) = devices(ask([sys.executable, "-c", code]), "3.11.9", {})
    assert one.level == "problem" and "computes wrongly" in one.found and words in one.found
