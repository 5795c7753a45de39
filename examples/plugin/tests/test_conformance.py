"""What rlbench asks of every agent and every environment, and that the two are found by name."""

import pytest
from rlbench_example.one_plus_one_es import OnePlusOneES
from rlbench_example.point_mass import PointMass

from rlbench import testing
from rlbench.registry import find_agent, find_env


@pytest.mark.parametrize("check", testing.AGENT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("env", [*testing.PROBES, PointMass()], ids=lambda env: env.spec.id)
def test_the_agent_conforms(check, env):
    check(testing.Agent(OnePlusOneES(), env))


@pytest.mark.parametrize("check", testing.ENV_CHECKS, ids=lambda check: check.__name__)
def test_the_environment_conforms(check):
    check(testing.Environment(PointMass()))


def test_rlbench_finds_both():
    assert find_agent("one_plus_one_es").plugin.owner == "rlbench-example 0.1.0"
    assert find_env("example/point-mass").plugin.owner == "rlbench-example 0.1.0"
