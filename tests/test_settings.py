"""Every shipped setting is one that its algorithm takes, for an environment that exists."""

import pytest

from rlbench import registry
from rlbench.config import build
from rlbench.network import Network
from rlbench.settings import PROFILES, profile_settings

TABLES = {p: registry.read_table("rlbench.agents", f"settings/{p}.toml") for p in PROFILES}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("agent", registry.agent_entries(), ids=lambda a: a.name)
def test_settings_of_every_environment_make_the_algorithm(profile, agent):
    for env in [*TABLES[profile], "gymnax/Acrobot-v1"]:
        settings, network, source = profile_settings(profile, env, agent)
        algorithm = build(registry.resolve(agent.make), settings, "setting")
        assert {k: getattr(algorithm, k) for k in settings} == settings
        assert build(Network, network, "network")
        assert ("documented default" in source) == (
            env not in TABLES[profile] or not set(agent.settings) & set(TABLES[profile][env])
        )


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_name_full_ids_and_known_sections(profile):
    ids = {entry.id for entry in registry.env_entries()}
    sections = {s for agent in registry.agent_entries() for s in agent.settings} | {"network"}
    for env, table in TABLES[profile].items():
        assert env == "default" or env in ids
        assert set(table) <= sections
        assert any("source" in row for row in table.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_one_network_serves_all_algorithms_on_an_environment(profile):
    for env in registry.env_entries():
        networks = [profile_settings(profile, env.id, a)[1] for a in registry.agent_entries()]
        assert all(n == networks[0] for n in networks)


def test_the_paper_s_settings_are_those_of_its_tables():
    # Tables 17 to 21, 33 and 34 of arXiv 2511.16652v2: a few cells of each, read off by hand.
    table = TABLES["paper"]
    cells = {
        ("gymnax/CartPole-v1", "eggroll"): {"rank": 4, "optimizer": "sgd", "sigma": 0.2},
        ("gymnax/CartPole-v1", "open_es"): {"pop_size": 512, "optimizer": "adamw", "sigma": 0.5},
        ("gymnax/Pendulum-v1", "eggroll"): {"pop_size": 4096, "sigma_decay": 0.995},
        ("gymnax/Pendulum-v1", "open_es"): {"n_parallel_evaluations": 4, "sigma_decay": 1.0},
        ("gymnax/CartPole-v1", "ppo"): {"num_envs": 256, "gae_lambda": 0.9, "learning_rate": 3e-4},
        ("gymnax/Pendulum-v1", "ppo"): {"num_epochs": 16, "gamma": 0.999, "clip_eps": 0.1},
        ("brax/humanoid@spring", "ppo"): {
            "num_minibatches": 64,
            "max_grad_norm": 2,
            "vf_coef": 0.75,
        },
        ("brax/ant@spring", "eggroll"): {"pop_size": 2048, "rank": 1, "learning_rate": 0.01},
        ("brax/ant@spring", "open_es"): {"n_parallel_evaluations": 8, "learning_rate": 0.1},
        ("brax/humanoid@spring", "eggroll"): {"n_parallel_evaluations": 8, "sigma": 0.2},
        ("brax/humanoid@spring", "open_es"): {"optimizer": "sgd", "deterministic_policy": False},
        ("brax/inverted_double_pendulum@spring", "eggroll"): {"rank": 2, "sigma": 0.5},
        ("brax/inverted_double_pendulum@spring", "open_es"): {"pop_size": 4096, "sigma": 0.05},
    }
    for (env, agent), expected in cells.items():
        row = table[env][agent]
        assert {k: row[k] for k in expected} == expected
        assert row["source"].startswith("Table")
