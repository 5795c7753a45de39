"""Cells on a Ray cluster of two nodes end in the runs of this machine's engine, whatever dies."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from rlbench.cli import main
from rlbench.sweep.claims import FOLDER, OWNER, Claims
from rlbench.sweep.on_ray import clear

from .test_sweep import results

FILE = """
about = "a test"
[defaults]
budget = 300_000
eval_episodes = 2
seeds = 2
[[cell]]
env = "cartpole"
algo = "eggroll"
set = { hidden = [[8]], pop_size = 4 }
[[cell]]
env = "cartpole"
algo = "random"
budget = 50_000_000
device = "cpu"
"""
FAILING = FILE + '[[cell]]\nenv = "cartpole"\nalgo = "broken:Raises"\nset = {}\nseeds = 1\n'
BROKEN = """
from dataclasses import dataclass
from rlbench.agents.random_policy import RandomPolicy
@dataclass(frozen=True)
class Raises(RandomPolicy):
    def step(self, task, state):
        raise ValueError("no step for you")
"""
CLUSTER = """
import signal
import sys
from ray.cluster_utils import Cluster
# As where a script has started it with an ampersand.
signal.signal(signal.SIGINT, signal.SIG_IGN)
node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
cluster = Cluster(initialize_head=True, head_node_args=node)
other = cluster.add_node(**node)
print(cluster.address, flush=True)
for line in sys.stdin:
    word, _, path = line.strip().partition(" ")
    if word == "kill":
        cluster.remove_node(other, allow_graceful=False)
    else:
        other = cluster.add_node(**node, env_vars={"PYTHONPATH": path} if path else None)
    print(word, flush=True)
cluster.shutdown()
"""


def settings(home):
    """The environment of a cluster and of who uses it: nothing listens beyond this machine."""
    return {
        **os.environ,
        "HOME": str(home),  # Ray writes a token there
        "TMPDIR": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


class Nodes:
    """A cluster of two nodes, in a process of its own."""

    def __init__(self, home):
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            cwd=home,
            env=settings(home),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.address = self.process.stdout.readline().strip()

    def tell(self, words):
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == words.split()[0]

    def sweep(self, file, out, *flags, cwd=None):
        words = ["sweep", str(file), "--out", str(out), "--engine", "ray", *flags]
        return subprocess.Popen(
            [sys.executable, "-m", "rlbench", *words, "--address", self.address],
            cwd=cwd or file.parent,
            env=settings(self.home),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture(scope="module")
def nodes():
    # A short path: that of a Unix socket below it has at most 107 characters.
    home = Path(tempfile.mkdtemp(prefix="ray"))
    cluster = Nodes(home)
    yield cluster
    cluster.process.stdin.close()
    cluster.process.stdout.close()
    cluster.process.wait(60)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ray") / "small.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def undisturbed(file):
    """The states that the other engine ends in."""
    out = file.parent / "undisturbed"
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    states, _ = results(out)
    assert len(states) == 4
    return states


def attempts(out):
    """Folders of runs in progress, by cell."""
    found = {}
    for path in out.glob("small/.sweep/*/attempt-*"):
        found.setdefault(path.parent.name, set()).add(path.name)
    return found


def left_behind(out):
    """What is in a sweep's own folder besides who had a cell and how it ended."""
    kept = {"owner.json", "done.json"}
    return [p for p in out.glob("small/.sweep/*/*") if p.name not in kept]


def running(out):
    """Processes that were started in a cell's folder, or with this one on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(out) in f"{process.cwd()} {process.cmdline()}":
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(out):
    """Whether every process of the sweep ends within seconds."""
    deadline = time.monotonic() + 20
    while running(out) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not running(out)


def begun(process, out, name="small"):
    """Waits until two runs are in progress."""
    while len(list(out.glob(f"{name}/.sweep/*/attempt-*/results/**/metrics.jsonl"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)


def test_cells_of_a_lost_node_run_on_the_other_one(nodes, file, undisturbed, tmp_path):
    process = nodes.sweep(file, tmp_path)
    begun(process, tmp_path)
    before = attempts(tmp_path)
    assert len(before) == 2  # one on each node
    nodes.tell("kill")
    seen = {cell: set(names) for cell, names in before.items()}
    while process.poll() is None:
        for cell, names in attempts(tmp_path).items():
            seen.setdefault(cell, set()).update(names)
        time.sleep(0.02)
    told, errors = process.communicate()
    nodes.tell("add")
    assert process.returncode == 0, errors
    assert "4 ok of 4 cells" in told
    # One cell was begun again on the other node, and that is no attempt of its own.
    assert sorted(len(names) for names in seen.values())[-2:] == [1, 2]
    states, records = results(tmp_path)
    assert states == undisturbed
    assert len(records) == 4
    assert all(record["status"] == "ok" and record["attempts"] == 1 for record in records.values())
    assert not left_behind(tmp_path)


def test_runs_end_with_their_sweep(nodes, tmp_path):
    path = tmp_path / "long.toml"
    path.write_text(FILE.replace("budget = 300_000", "budget = 1_000_000_000"))
    out = tmp_path / "out"
    stopped = nodes.sweep(path, out)
    begun(stopped, out, "long")
    assert len(running(out)) == 3
    stopped.send_signal(signal.SIGTERM)
    told, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == 4 and "4 left of 4 cells" in told, errors
    assert not list(out.glob("long/.sweep/*")) and not running(out)
    # They were told, and ended after an update.
    ends = [json.loads(p.read_text())["status"] for p in out.glob("long/*/*/*/status.json")]
    assert ends == ["interrupted"] * 2

    killed = nodes.sweep(path, out)
    begun(killed, out, "long")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert gone(out)


def test_killed_it_goes_on(nodes, file, undisturbed, tmp_path):
    killed = nodes.sweep(file, tmp_path)
    begun(killed, tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert gone(tmp_path) and attempts(tmp_path)

    last = nodes.sweep(file, tmp_path)
    told, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    assert "4 ok of 4 cells" in told
    assert results(tmp_path)[0] == undisturbed
    assert not left_behind(tmp_path)


def test_without_a_common_disk_runs_come_back(nodes, undisturbed, tmp_path):
    (tmp_path / "small.toml").write_text(FAILING)
    (tmp_path / "broken.py").write_text(BROKEN)
    # The same words are another place in every process that reads them.
    out = "/proc/self/cwd/out"
    process = nodes.sweep(tmp_path / "small.toml", out, cwd=tmp_path)
    while process.poll() is None:
        assert not attempts(tmp_path / "out")
        time.sleep(0.02)
    told, errors = process.communicate()
    assert process.returncode == 3 and "no step for you" in told, errors
    states, records = results(tmp_path / "out")
    assert states == undisturbed
    ends = sorted((record["status"], record["attempts"]) for record in records.values())
    assert ends == [("failed", 2)] + [("ok", 1)] * 4
    assert not left_behind(tmp_path / "out")
    assert not list(nodes.home.glob("rlbench-????????"))


def test_a_node_with_other_versions_is_refused(nodes, file, tmp_path):
    other = tmp_path / "other" / "jax-9.9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 9.9.9\n")
    nodes.tell(f"add {other.parent}")
    try:
        process = nodes.sweep(file, tmp_path / "out")
        _, errors = process.communicate(timeout=60)
    finally:
        nodes.tell("kill")
    assert process.returncode == 2
    assert "has jax 9.9.9, and this machine has" in errors.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_runs_of_another_owner_are_left_alone(tmp_path):
    with Claims(tmp_path) as claims:
        assert claims.claim("c")
        claim = tmp_path / FOLDER / "c"
        (claim / "attempt-1" / "results").mkdir(parents=True)
        clear(claim, "of one who slept and was taken over")
        assert (claim / "attempt-1" / "results").is_dir()
        clear(claim, claims.token)
        assert [path.name for path in claim.iterdir()] == [OWNER]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--engine", "rya"], "did you mean 'ray'"),
        (["--address", "auto"], "goes with --engine ray"),
        (["--engine", "local", "--address", "auto"], "goes with --engine ray"),
        (["--engine", "ray", "--export", "slurm"], "leave one out"),
        (["--engine", "ray", "--jobs", "0"], "--jobs must be at least 1"),
        (["--engine", "ray", "--address", "here"], "must be HOST:PORT"),
        (["--engine", "ray", "--address", "10.0.0.1:99999"], "must be HOST:PORT"),
        (["--engine", "ray", "--address", "ray://10.0.0.1:1"], "must be HOST:PORT"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "smoke", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_without_ray_it_says_how_to_get_it(tmp_path):
    code = "import sys; sys.modules['ray'] = None; from rlbench.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "sweep", "smoke", "--engine", "ray"]
    done = subprocess.run(words, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "pip install 'rlbench[ray]'" in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
