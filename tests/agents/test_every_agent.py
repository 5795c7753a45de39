"""What holds for every built-in agent: the contract, its file, its documentation."""

import ast
import dataclasses
import inspect
import sys

import pytest

from rlbench import testing
from rlbench.contract import make_agent
from rlbench.help import documented
from rlbench.registry import agent_entries, load_agent

AGENTS = agent_entries()
SMALL = {
    "pop_size": 16,
    "num_envs": 8,
    "num_steps": 8,
    "num_minibatches": 4,
    "episodes": 16,
    "unroll": 5,
}
"""Settings under which an update is quick, where an agent has them; programs stay the same."""


def small(entry, **settings):
    names = {field.name for field in dataclasses.fields(load_agent(entry))}
    return make_agent(entry, {k: v for k, v in (SMALL | settings).items() if k in names})


@pytest.fixture(scope="module", params=AGENTS, ids=lambda entry: entry.name)
def subjects(request):
    """The agent on each probe; the second only where its programs differ (`make test-all`)."""
    return [testing.Agent(small(request.param), env) for env in testing.PROBES]


@pytest.mark.parametrize("check", testing.AGENT_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(subjects, check):
    check(subjects[0])


@pytest.mark.slow
@pytest.mark.parametrize("check", testing.AGENT_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms_with_integers(subjects, check):
    check(subjects[1])


@pytest.mark.parametrize("entry", AGENTS, ids=lambda entry: entry.name)
def test_every_setting_is_documented_where_it_is_defined(entry):
    cls = load_agent(entry)
    fields = {field.name for field in dataclasses.fields(cls)}
    told = documented(cls)
    assert fields <= set(told) and all(told[name] for name in fields)
    assert set(told) <= fields


@pytest.mark.parametrize("entry", AGENTS, ids=lambda entry: entry.name)
def test_its_file_is_short_and_opens_with_its_paper(entry):
    module = sys.modules[load_agent(entry).__module__]
    text = inspect.getsource(module)
    assert text.count("\n") < 250
    if entry.source:
        assert entry.source in (ast.get_docstring(ast.parse(text)) or "")
