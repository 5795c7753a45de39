"""Run directories written by hand, as a run would leave them."""

import json

HARDWARE = {
    "platform": "cpu",
    "device_kind": "cpu",
    "device_count": 2,
    "processor": "Test CPU",
    "usable_cores": 2,
}
NETWORK = {"hidden": [32], "activation": "tanh", "head_scale": 1.0}


def evaluation(steps, seconds, value, episodes=4):
    """A row of metrics.jsonl."""
    return {
        "kind": "evaluation",
        "updates": steps // 100,
        "simulated_env_steps": steps,
        "live_env_steps": steps * 9 // 10,
        "eval_env_steps": 0,
        "train_seconds": seconds,
        "eval_seconds": 0.5,
        "return_mean": value,
        "return_std": 1.0,
        "returns": [value] * episodes,
        "lengths": [7] * episodes,
    }


def make_run(
    root,
    algo="eggroll",
    seed=0,
    final=100.0,
    *,
    env="gymnax/CartPole-v1",
    status="ok",
    budget=1_000,
    seconds=10.0,
    curve=None,
    hardware=HARDWARE,
    settings=None,
    network=NETWORK,
    episodes=4,
    evaluations=4,
    memory=2**20,
    name=None,
    started=None,
    **config,
):
    """Writes a run that rose in equal steps from 10 to `final`; returns its directory."""
    settings = {"pop_size": 64} if settings is None else settings
    folder = name or f"{env}/{algo}/{json.dumps(settings)}/{budget}/seed-{seed:04d}"
    path = root / folder.replace(":", "_")
    path.mkdir(parents=True)
    whole = {
        "schema": 1,
        "env": env,
        "algo": algo,
        "seed": seed,
        "budget_env_steps": budget,
        "budget_seconds": None,
        "settings": settings,
        "settings_source": "a test",
        "network": network,
        "eval_episodes": episodes,
        "evaluations": evaluations,
        "block_lanes": 64,
        "queues": 2,
        "reduction": "ordered",
        "device": "cpu",
        "host_devices": 2,
        "suite": "test",
    }
    rows = curve
    if rows is None:
        shares = [i / evaluations for i in range(evaluations + 1)]
        rows = [
            evaluation(int(budget * s), seconds * s, 10 + (final - 10) * s, episodes)
            for s in shares
        ]
    state = {
        "status": status,
        "reason": "" if status == "ok" else "a test",
        "started": started or f"2026-01-01T00:00:{seed % 60:02d}+00:00",
        "ended": "2026-01-01T01:00:00+00:00",
        "updates": budget // 100,
        "simulated_env_steps": budget,
        "live_env_steps": budget * 9 // 10,
        "eval_env_steps": 0,
        "train_seconds": seconds,
        "eval_seconds": 0.5,
        "compile_seconds": 3.0,
        "eval_compile_seconds": 1.0,
        "setup_seconds": 0.2,
        "return_mean": rows[-1]["return_mean"] if rows else None,
        "state_sha256": f"{algo}-{seed}-{final}",
        "memory": {
            "update_buffer_bytes": memory,
            "device_peak_bytes": None,
            "rss_after_compile_bytes": 2**29,
            "peak_rss_bytes": 2**30,
        },
    }
    provenance = {
        "argv": ["run.py", "--env", env, "--algo", algo, "--seed", str(seed)],
        "versions": {"python": "3.11", "jax": "0.10.2"},
        "commit": "c" * 40,
        "dirty": False,
    }
    if hardware is not None:
        provenance["hardware"] = hardware
    (path / "config.json").write_text(json.dumps(whole | config))
    (path / "status.json").write_text(json.dumps(state))
    (path / "provenance.json").write_text(json.dumps(provenance))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_cells(root, means, seeds=5, spread=5.0, **options):
    """Runs of several algorithms: each seed's score is its algorithm's mean plus a fixed offset."""
    offsets = [spread * ((i * 7919) % 11 - 5) / 5 for i in range(seeds)]
    for algo, mean in means.items():
        for seed, offset in enumerate(offsets):
            make_run(root, algo, seed, mean + offset, **options)
