"""Real runs in two processes: the bits of one process, one record, and no end without a word."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlbench.options import RunOptions, resolve
from rlbench.store import read_run, run_path

ROOT = Path(__file__).resolve().parents[1]
RUN = [sys.executable, "-m", "rlbench.run", "--env", "cartpole", "--eval-episodes", "8"]
RUN += ["--host-devices", "2"]
EGGROLL = ["--algo", "eggroll", "--set", "pop_size=16", "--budget", "2e4"]
PPO = ["--algo", "ppo", "--set", "num_envs=8", "--set", "num_steps=16", "--set", "num_epochs=1"]
PPO += ["--set", "num_minibatches=2", "--budget", "512"]
ENDLESS = ["--algo", "random", "--budget", "1e12"]
LOST_SECONDS = 15.0


class Pair:
    """The same command in two processes of this machine."""

    def __init__(self, out, *argv, extra=((), ())):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        hosts = ["--hosts", f"localhost:{port},localhost"]
        self.out = out
        self.processes = [
            subprocess.Popen(
                [
                    *RUN,
                    *argv,
                    *hosts,
                    "--host-index",
                    str(i),
                    "--out",
                    str(out / str(i)),
                    *extra[i],
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]

    def until_training(self):
        """Waits until an update has been recorded."""
        while all(p.poll() is None for p in self.processes):
            found = list(self.out.glob("**/metrics.jsonl"))
            if found and '"updates"' in found[0].read_text():
                return
            time.sleep(0.2)
        raise AssertionError([p.communicate() for p in self.processes])

    def end(self, timeout=240.0):
        """(exit statuses, what was printed to stdout, and to stderr)."""
        try:
            told = [p.communicate(timeout=timeout) for p in self.processes]
        finally:
            for p in self.processes:
                p.kill()
        out, err = zip(*told, strict=True)
        return [p.returncode for p in self.processes], out, err

    @property
    def record(self):
        """The run directory, which process 0 has written."""
        (path,) = self.out.glob("0/adhoc/*/*/seed-0000")
        return read_run(path)

    @property
    def wrote(self):
        """Whose folder has anything in it."""
        return [i for i in range(2) if (self.out / str(i)).exists()]


@pytest.mark.parametrize("algo", [EGGROLL, PPO], ids=["eggroll", "ppo"])
def test_two_processes_have_the_bits_of_one_and_one_of_them_records(algo, tmp_path):
    pair = Pair(tmp_path, *algo)
    statuses, out, err = pair.end()
    assert statuses == [0, 0], err
    assert pair.wrote == [0]
    record = pair.record
    assert str(record.path.name) in out[0]
    assert out[1].splitlines() == [f"process 1 of 2: ok; process 0 wrote {record.path}"]
    assert err[1] == ""
    alone = subprocess.run(
        [*RUN, *algo, "--host-devices", "1", "--quiet", "--out", str(tmp_path / "alone")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    single = read_run(Path(alone.stdout.strip()))
    assert record.status["state_sha256"] == single.status["state_sha256"]
    assert [r["returns"] for r in record.evaluations] == [r["returns"] for r in single.evaluations]
    assert record.config == single.config | {"host_devices": 2}
    hardware = record.provenance["hardware"]
    assert hardware["device_count"] == 4 and len(hardware["processes"]) == 2
    assert "localhost" not in json.dumps(record.provenance)
    assert "processes" not in single.provenance["hardware"]


@pytest.mark.parametrize("lost", [1, 0])
def test_a_killed_process_ends_the_other_with_a_sentence(lost, tmp_path):
    pair = Pair(tmp_path, *ENDLESS)
    pair.until_training()
    pair.processes[lost].kill()
    begun = time.monotonic()
    statuses, _, err = pair.end(timeout=LOST_SECONDS)
    assert time.monotonic() - begun < LOST_SECONDS
    left = 1 - lost
    assert statuses[left] == 3
    sentence = f"process {lost} of 2 was lost: its connection closed"
    last = err[left].splitlines()[-1]
    assert last == f"rlbench: {sentence}; start all processes again, with --resume"
    assert "Traceback" not in err[left] and "coordination" not in err[left]
    if lost:
        assert pair.record.status["status"] == "failed"
        assert pair.record.status["reason"] == sentence


def test_a_run_that_lost_a_process_goes_on_to_the_same_bits(tmp_path):
    common = ["--out", str(tmp_path / "0")]  # a disk that both see
    argv = [*EGGROLL, "--budget", "6e5", "--checkpoint-seconds", "0"]
    pair = Pair(tmp_path, *argv, extra=(common, common))
    while not list(tmp_path.glob("0/adhoc/*/*/*/checkpoints/*.json")):
        time.sleep(0.05)
    pair.processes[1].kill()
    statuses, _, err = pair.end(timeout=LOST_SECONDS)
    assert statuses[0] == 3, err
    statuses, _, err = Pair(tmp_path, *argv, "--resume", extra=(common, common)).end()
    assert statuses == [0, 0], err
    (entry,) = pair.record.provenance["resumed_from"]
    assert entry["updates"] > 0
    alone = subprocess.run(
        [*RUN, *argv, "--quiet", "--out", str(tmp_path / "alone")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    single = read_run(Path(alone.stdout.strip()))
    assert pair.record.status["state_sha256"] == single.status["state_sha256"]
    assert [r["returns"] for r in pair.record.evaluations] == [
        r["returns"] for r in single.evaluations
    ]


def test_a_signal_to_one_process_ends_the_run_in_both(tmp_path):
    # On Brax, whose models are arrays that must be on a device of each process.
    pair = Pair(tmp_path, *ENDLESS, "--env", "inverted_pendulum")
    pair.until_training()
    pair.processes[1].send_signal(signal.SIGTERM)
    statuses, out, err = pair.end()
    assert statuses == [4, 4], err
    status = pair.record.status
    assert status["status"] == "interrupted"
    assert pair.record.evaluations[-1]["updates"] == status["updates"] > 0
    assert "process 1 of 2: interrupted" in out[1]


def test_other_devices_are_refused_in_a_sentence_and_nothing_is_written(tmp_path):
    pair = Pair(tmp_path, *ENDLESS, extra=((), ("--host-devices", "1")))
    statuses, _, err = pair.end()
    assert statuses == [2, 2], err
    for text in err:
        assert "process 1 was started with another command: host_devices is 1 there and 2" in text
        assert text.startswith("rlbench: ") and text.count("\n") == 1
    assert pair.wrote == []


def test_a_refusal_by_process_0_alone_ends_both(tmp_path):
    config = resolve(RunOptions(env="cartpole", algo="random", budget="1e12", eval_episodes="8"))
    there = run_path(tmp_path / "0", config)
    there.mkdir(parents=True)
    statuses, _, err = Pair(tmp_path, *ENDLESS).end()
    assert statuses == [2, 2], err
    assert err[0].startswith(f"rlbench: {there} holds this run already")
    assert err[1].startswith("rlbench: process 0 of 2 ended: ") and str(there) in err[1]
    assert list(there.iterdir()) == []
