"""What does not fit in memory is told in a sentence, before anything large is computed."""

import re
import resource
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import pytest

from rlbench import runner
from rlbench.agents.eggroll import Eggroll
from rlbench.agents.open_es import OpenES
from rlbench.agents.ppo import PPO
from rlbench.cli import main
from rlbench.errors import RunError, WriteError
from rlbench.fitting import Programs, memory_told
from rlbench.memory import least_bytes, room_for
from rlbench.meter import Clocks
from rlbench.store import read_run
from tests.test_runner import prepared
from tests.toy_envs import Counting

ROOT = Path(__file__).resolve().parents[1]
MIB, GIB = 1 << 20, 1 << 30
RUN = ["run", "--env", "cartpole", "--host-devices", "1", "--budget-seconds", "1"]
RUN += ["--set", "hidden=[8]", "--quiet"]


def test_without_a_limit_the_room_is_what_is_available_and_a_group_can_make_it_less(monkeypatch):
    free = room_for(None)
    assert 0 < free.bytes <= 1.1 * jax.device_count() * 1024 * GIB
    assert "available here" in free.told or "cgroup" in free.told
    monkeypatch.setattr("rlbench.memory.memory_room", lambda: 5 * MIB)
    less = room_for(None)
    assert "that its cgroup allows" in less.told and 5 * MIB < less.bytes < free.bytes
    assert room_for(3 * GIB)[:2] == (3 * GIB, "--max-memory 3,072 MiB")


SIZES = [
    *[Eggroll(pop_size=n) for n in (8, 512, 16384)],
    Eggroll(pop_size=512, unroll=3),
    *[OpenES(pop_size=n, n_parallel_evaluations=2) for n in (8, 4096)],
    *[PPO(num_envs=n, num_steps=8, num_minibatches=2) for n in (4, 4096)],
]


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("algorithm", SIZES, ids=lambda x: f"{type(x).__name__}{vars(x)}"[:24])
def test_the_lower_bound_is_below_what_xla_assigns_and_not_far_below_where_it_is_much(
    algorithm, devices
):
    task = prepared(Counting(), algorithm, devices).task
    programs = Programs(algorithm, task, 0, 8, Clocks())
    least = programs.sizes()
    programs.compile()
    assigned = programs.update.buffer_bytes()
    assert 0 < least["update"] <= assigned
    assert least["evaluation"] <= programs.evaluate.buffer_bytes()
    assert programs.sizes()["update"] == devices * assigned
    # A program of a megabyte is mostly arrays that the bound knows.
    assert assigned < MIB or least["update"] > assigned / 16


def test_the_bound_knows_what_loops_keep_and_nothing_that_is_fused_or_unused():
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)

    def of(function):
        return least_bytes(jax.make_jaxpr(function)(x).jaxpr)

    def stacked(x, turns):
        return jax.lax.scan(lambda c, _: (c + 1.0, c[None] * x), x[0], length=turns)[1]

    assert of(lambda x: jnp.sum(jnp.outer(x, x))) == 4
    assert of(lambda x: (jnp.sin(x), x, jnp.sum(x))) == 4004  # what comes out and did not go in
    assert of(lambda x: jnp.sum(stacked(x, 50))) == 50 * 4000
    assert of(lambda x: jnp.sum(stacked(x, 1))) == 4  # one turn is no loop
    assert of(lambda x: (stacked(x, 50), x[0])[1]) == 4  # nobody needs it

    inner = jax.jit(lambda x: (jnp.sum(stacked(x, 50)), x[0]))
    assert of(lambda x: inner(x)[1]) == 4  # nor from a program within
    assert of(lambda x: inner(x)[0]) == 50 * 4000

    def both(x):  # of what a loop stacks up, one part is needed
        return jax.lax.scan(lambda c, _: (c, (c * x, x[::2])), x[0], length=50)[1][1]

    assert of(lambda x: jnp.sum(both(x))) == 50 * 2000

    def nested(x):
        return jax.lax.scan(lambda c, _: (c, jnp.sum(stacked(x, 50))), 0, length=9)[1]

    assert of(lambda x: jnp.sum(nested(x))) == 9 * 4 + 50 * 4000

    def kept(x):
        body = lambda c: (c[0] + 1, c[1] * 2.0, c[2])  # noqa: E731
        start = (0, jnp.outer(x, x), jnp.zeros((2000, 1000)))
        return jnp.sum(jax.lax.while_loop(lambda c: c[0] < 9, body, start)[1])

    assert of(kept) == 4_000_000  # and not what every turn leaves alone


def told(argv, out, capsys):
    code = main([*argv, "--out", str(out), "--overwrite"])
    error = capsys.readouterr().err
    assert error.count("\n") <= 1 and "Traceback" not in error
    return code, error


HUGE = {
    "--algo eggroll --set pop_size=1000000000": "--set pop_size=",
    "--algo open_es --set hidden=[100000,100000]": "even --set pop_size=2 would need ",
    "--algo ppo --set num_envs=10000000": "--set num_envs=",
    "--algo random --eval-episodes 1000000000": "fewer --eval-episodes",
}


@pytest.mark.parametrize("argv", HUGE)
def test_what_is_far_too_large_ends_in_a_sentence_and_nothing_is_computed(argv, tmp_path, capsys):
    argv, advice = [*RUN, *argv.split(), "--max-memory", "4GiB"], HUGE[argv]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, error = told(argv, tmp_path, capsys)
    assert code == 3 and "not begun" in error and advice in error
    assert "more than --max-memory 4,096 MiB" in error
    (path,) = tmp_path.glob("adhoc/*/*/seed-*")
    assert read_run(path).status["status"] == "skipped"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * MIB  # in KiB


@pytest.mark.parametrize(
    "argv",
    [
        "--algo eggroll --set pop_size=3000000000",
        "--algo open_es --set pop_size=2000000000 --set n_parallel_evaluations=2",
        "--algo ppo --set num_envs=100000000",
        "--algo snes --set pop_size=5000000000",
    ],
)
def test_what_32_bits_do_not_count_is_a_mistake(argv, tmp_path, capsys):
    code, error = told([*RUN, *argv.split()], tmp_path, capsys)
    assert code == 2 and "must be at most 2147483647 (32 bits)" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argv", ["--algo cma_es", "--algo simple_ga", "--algo snes"])
def test_a_population_that_is_built_is_refused_before_its_strategy_is(argv, tmp_path, capsys):
    argv = [*RUN, *argv.split(), "--set", "hidden=[100000,100000]"]
    code, error = told(argv, tmp_path, capsys)
    assert code == 2 and "a smaller network or pop_size" in error and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "argv",
    [
        "--algo eggroll --set pop_size=16777216",
        pytest.param("--algo ppo --set num_envs=786432", marks=pytest.mark.slow),
    ],
)
def test_what_is_advised_fits(argv, tmp_path):
    """In processes of their own, as one that has run other tests gives memory back as it likes."""
    argv = argv.split()
    code, error, small = alone(argv[:2], tmp_path / "small")
    assert code == 0, error
    # What the process needs to compile anything at all is below the limit; the first is far above,
    # whatever a cache of compiled programs leaves out.
    limit = ["--max-memory", str(small["memory"]["rss_after_compile_bytes"] + 160 * MIB)]
    code, error, _ = alone([*argv, *limit], tmp_path / "large")
    assert code == 3
    (found,) = re.findall(r"; --set (\w+=\d+) would fit\n", error)
    assert found.partition("=")[0] in argv[-1]
    code, error, _ = alone([*argv, "--set", found, *limit], tmp_path / "advised")
    assert code == 0, error


def alone(argv, out):
    """Exit status, what was told, and the status file of a run in its own process."""
    words = [sys.executable, "-m", "rlbench", *RUN, *argv, "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True)
    (path,) = out.glob("adhoc/*/*/seed-*")
    return done.returncode, done.stderr, read_run(path).status


@dataclass(frozen=True)
class Absurd(Eggroll):
    """Computes with more than there are addresses for: 256 TiB."""

    memory_setting: ClassVar[None] = None

    def step(self, task, state):
        state, metrics = super().step(task, state)
        absurd = jnp.zeros((1 << 23, 1 << 23))
        sums = jax.lax.fori_loop(0, state.generation, lambda i, x: x + x[0, i], absurd)
        return state, metrics | {"sigma": sums[0, 0]}


def test_without_a_setting_to_name_the_sentence_is_general(tmp_path):
    record = runner.run(prepared(Counting(), Absurd(pop_size=8)), tmp_path / "run")
    assert record.status["status"] == "skipped"
    reason = record.status["reason"]
    assert reason.endswith("; a smaller population, batch or network needs less")
    assert float(re.findall(r"([0-9,.]+) GiB of buffers", reason)[0].replace(",", "")) >= 256 * 1024


def test_what_the_allocator_refuses_during_a_run_is_a_sentence(tmp_path):
    care = runner.Care(max_memory=1 << 59)
    with pytest.raises(RunError, match=r"out of memory: .*llocat") as told:
        runner.run(prepared(Counting(), Absurd(pop_size=8)), tmp_path / "run", care=care)
    assert told.value.details == ""
    record = read_run(tmp_path / "run")
    assert record.status["status"] == "failed"
    assert record.status["reason"].startswith("out of memory: ")
    assert len(record.evaluations) == 1  # it had begun


def test_so_is_what_the_system_refuses(tmp_path):
    # 8 GB of addresses, and an update that needs four times as much.
    argv = [*RUN, "--algo", "eggroll", "--set", "pop_size=1000000000", "--max-memory", "1TB"]
    words = [sys.executable, "-m", "rlbench", *argv, "--out", str(tmp_path)]
    done = subprocess.run(
        ["sh", "-c", f"ulimit -v 8000000; exec {shlex.join(words)}"],
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
    assert (
        "out of memory: " in done.stderr
        and "pop_size=500000000 or a smaller network" in done.stderr
    )


def test_a_disk_that_is_full_is_no_lack_of_memory():
    """As the library below orbax says it."""
    told = "cannot write checkpoint 1: RESOURCE_EXHAUSTED: no space"
    with pytest.raises(WriteError, match=told), memory_told(Eggroll()):
        raise WriteError(told)
