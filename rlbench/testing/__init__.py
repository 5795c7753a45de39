"""The conformance suite: what every agent and every environment must pass, yours too.

In a test of your own:

    import pytest
    from rlbench import testing

    @pytest.mark.parametrize("check", testing.AGENT_CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(testing.Agent(MyAgent()))

and `testing.ENV_CHECKS` with `testing.Environment(MyEnv())`. `rlbench check NAME` runs the same
checks from the command line. A check that fails raises `ContractError`, which says what was wrong.
"""

from rlbench.contract import ContractError
from rlbench.testing.agents import AGENT_CHECKS, Agent
from rlbench.testing.envs import ENV_CHECKS, Environment
from rlbench.testing.probes import PROBES

__all__ = ["AGENT_CHECKS", "ENV_CHECKS", "PROBES", "Agent", "ContractError", "Environment"]
