"""The episode that is drawn is the one that an evaluation would play; files hold it in real time;
what cannot be drawn is refused in one sentence, with nothing written."""

import itertools
import os
import shutil
import stat
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rlbench import episode, film
from rlbench.algorithm import Task, evaluate
from rlbench.blocks import Blocks
from rlbench.cli import main
from rlbench.export import restore_run
from rlbench.judge import hear, read_policy
from rlbench.seeding import evaluation_keys
from rlbench.stages import Stages
from rlbench.store import read_run
from rlbench.testing.probes import LIMIT
from tests.records import alter

SMALL = ["--budget", "8e3", "--eval-episodes", "8", "--quiet", "--host-devices", "1"]
SHORT = [*SMALL, "--set", "pop_size=16"]


def train(out, *flags):
    assert main(["run", "--out", str(out), *flags]) == 0
    (status,) = out.glob("**/status.json")
    return status.parent


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Stopped before it balances, so that episodes differ and end early."""
    out = tmp_path_factory.mktemp("half")
    return train(out, "--env", "cartpole", "--algo", "eggroll", *SHORT)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """An environment and an agent of others, neither with a network."""
    flags = ["--env", "tests.drawn_plugins:Drawn", "--algo", "tests.broken_plugins:Good"]
    return train(tmp_path_factory.mktemp("pushed"), *flags, "--budget", "3e3", *SMALL[2:])


def elsewhere(run, out, env):
    """The run's copy, as if it had been trained in another environment of the same spaces."""
    shutil.copytree(run, out)
    alter(out, "config.json", {"env": env})
    return out


def frames_of(path):
    """The pictures of a GIF, (H, W, 3), and the milliseconds that each is shown."""
    with Image.open(path) as picture:
        shown = []
        for i in range(picture.n_frames):
            picture.seek(i)
            shown.append((np.asarray(picture.convert("RGB")), picture.info["duration"]))
        assert picture.info["loop"] == 0
        return shown


def played(run, seed, most=10**6):
    prepared, state = restore_run(read_run(run), allow_code=True)
    return episode.record(prepared, state, seed, most, lambda done, of: None)


@pytest.mark.parametrize("seed", [0, 3])
def test_it_is_the_episode_that_an_evaluation_plays_with_this_key(half, seed):
    one = played(half, seed)
    policy = read_policy(half)
    verdict = hear(policy, policy.card.env, 1, seed)
    assert (one.returned, one.steps) == (verdict.returns[0], verdict.lengths[0])
    assert one.ended and len(one.states) == one.steps + 1 > 5


def test_it_is_none_of_the_evaluation_s_and_starts_where_the_seed_says(half):
    prepared, _ = restore_run(read_run(half))
    split = jax.vmap(jax.random.split, out_axes=1)
    theirs, _ = jax.vmap(prepared.task.env.reset)(split(evaluation_keys(8))[0])
    starts = [episode.pick(played(half, seed, 1), [0])[0] for seed in (0, 0, 1)]
    assert float(starts[0].theta) == float(starts[1].theta) != float(starts[2].theta)
    assert not np.isin(float(starts[0].theta), np.asarray(theirs.theta))


def test_each_state_follows_from_the_one_before_by_the_policy_s_own_action(half):
    """CartPole's step is deterministic, so that it can be taken once more outside the rollout."""
    prepared, state = restore_run(read_run(half))
    env, one = prepared.task.env, played(half, 0)
    states, key = episode.pick(one, list(range(one.steps + 1))), jax.random.key(0)
    for before, after in itertools.pairwise(states[:7]):
        obs = jnp.array([before.x, before.x_dot, before.theta, before.theta_dot])
        action = prepared.algorithm.act(prepared.task, state, obs, key)
        again, _ = env.step(key, before, action)
        np.testing.assert_allclose(float(again.theta), float(after.theta), rtol=1e-5)
    assert [int(s.time) for s in states] == list(range(one.steps + 1))


def test_a_noisy_environment_and_an_agent_without_a_network_play_as_in_an_evaluation(pushed):
    prepared, state = restore_run(read_run(pushed), allow_code=True)
    one = played(pushed, 5)
    root = jax.random.fold_in(jax.random.key(5), zlib.crc32(b"play"))
    calm = Task(prepared.task.env, prepared.task.policy, Blocks(32, 1))
    keys = jax.random.fold_in(root, 0)[None]
    lone = evaluate(prepared.algorithm, calm, state, keys)
    assert one.steps == int(lone.lengths[0])
    np.testing.assert_allclose(one.returned, float(lone.returns[0]), rtol=1e-6)


def test_a_gif_holds_every_second_state_of_cartpole_in_real_time(half, capfd):
    assert main(["render", str(half), "--seed", "3"]) == 0
    told = capfd.readouterr().out
    shown = frames_of(half / "render" / "seed-0003.gif")
    one = played(half, 3)
    assert told.count("\n") == 1 and f"in {one.steps:,} env steps" in told
    assert f"return {one.returned:,.5g}" in told and "seed-0003.gif" in told
    # 0.02 s a step is 50 a second: every second step, and the last.
    assert f"{-(-one.steps // 2) + 1} frames, one for every 2 steps" in told
    seconds = sum(ms for _, ms in shown) / 1000
    assert seconds == pytest.approx(one.steps * 0.02 + film.LAST, abs=0.011)
    shutil.rmtree(half / "render")


def test_steps_cuts_the_episode_and_says_so(half, tmp_path, capfd):
    out = tmp_path / "new" / "cut.gif"
    assert main(["render", str(half), "--steps", "4", "--out", str(out)]) == 0
    assert "in 4 env steps, cut there" in capfd.readouterr().out
    assert 2 <= len(frames_of(out)) <= 3


@pytest.mark.parametrize(
    ("steps", "seconds", "apart"),
    [(500, 0.02, 2), (1000, 0.05, 4), (100, 0.05, 1), (299, 0.1, 1), (300, 0.1, 2), (7, 0.015, 3)],
)
def test_frames_are_at_most_25_a_second_and_300_in_all(steps, seconds, apart):
    drawn = film.drawn_steps(steps, seconds)
    assert drawn[0] == 0 and drawn[-1] == steps and drawn[1] == apart
    assert len(drawn) == -(-steps // apart) + 1 <= film.MOST_FRAMES
    shown = film.shown_ms(drawn, seconds)
    assert len(shown) == len(drawn) and all(ms % 10 == 0 for ms in shown)
    assert sum(shown) / 1000 == pytest.approx(steps * seconds + film.LAST, abs=0.0051)


def test_an_environment_of_others_draws_itself(pushed, tmp_path):
    out = tmp_path / "x.gif"
    assert main(["render", str(pushed), "--out", str(out), "--allow-code"]) == 0
    steps = played(pushed, 0).steps
    shown = frames_of(out)
    # A GIF's colours are near: its palette is made of boxes of them.
    expected = [[10 * t, 0, 0] for t in range(steps + 1)]
    np.testing.assert_allclose([frame[0, 0].astype(int) for frame, _ in shown], expected, atol=4)
    assert [ms for _, ms in shown] == [100] * steps + [1000] and steps <= LIMIT


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Floating", "must return uint8 frames"),
        ("OneFrame", "must return uint8 frames"),
        ("Raising", "no paint left"),
        ("Instant", "step_seconds must be above 0, not 0"),
    ],
)
def test_one_that_draws_wrong_is_refused_by_name(name, expected, pushed, tmp_path, capfd):
    run = elsewhere(pushed, tmp_path / "run", f"tests.drawn_plugins:{name}")
    assert main(["render", str(run), "--allow-code"]) == 2
    told = capfd.readouterr().err
    assert expected in told and f"tests.drawn_plugins:{name}" in told
    assert not (run / "render").exists()


def test_one_that_does_not_draw_is_refused(pushed, tmp_path, capfd):
    run = elsewhere(pushed, tmp_path / "run", "rlbench.testing.probes:Push")
    assert main(["render", str(run), "--allow-code"]) == 2
    assert "it has no method render" in capfd.readouterr().err and not (run / "render").exists()


def fake_ffmpeg(folder, script):
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(folder)


def test_an_mp4_is_what_ffmpeg_makes_of_the_frames(half, tmp_path, monkeypatch):
    """A program in its place writes down what it was given."""
    script = 'for last; do :; done; { echo "$@"; cat; } > "$last"'
    path = fake_ffmpeg(tmp_path / "bin", script) + os.pathsep + os.environ["PATH"]
    monkeypatch.setenv("PATH", path)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    out = tmp_path / "x.mp4"
    assert main(["render", str(half), "--out", str(out), "--steps", "6"]) == 0
    asked, _, raw = out.read_bytes().partition(b"\n")
    assert b"-s 480x240 -r 25.000000 -i -" in asked and b"yuv420p" in asked
    assert len(raw) == 4 * 480 * 240 * 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "x.mp4"]


def test_what_ffmpeg_says_is_told_and_nothing_is_left(half, tmp_path, monkeypatch, capfd):
    script = 'for last; do :; done; cat > "$last"; echo "no such codec" >&2; exit 1'
    path = fake_ffmpeg(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", path + os.pathsep + os.environ["PATH"])
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    argv = ["render", str(half), "--out", str(tmp_path / "x.mp4"), "--steps", "6"]
    assert main(argv) == 2
    assert "no such codec" in capfd.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin"]


REFUSED = {
    "no run": (["render"], "rlbench render RUN"),
    "not a run": (["render", "tests"], "is not a run directory"),
    "nothing there": (["render", "nowhere"], "is not a run directory"),
    "two runs": (["render", "RUN", "RUN"], "unknown argument"),
    "unknown flag": (["render", "RUN", "--step", "3"], "did you mean '--steps'"),
    "unknown format": (["render", "RUN", "--format", "git"], "did you mean 'gif'"),
    "unknown ending": (["render", "RUN", "--out", "x.png"], "choose from gif, html, mp4"),
    "two formats": (["render", "RUN", "--format", "gif", "--out", "x.mp4"], "does not end in .gif"),
    "no steps": (["render", "RUN", "--steps", "0"], "--steps must be at least 1"),
    "half a step": (["render", "RUN", "--steps", "1.5"], "whole number"),
    "negative seed": (["render", "RUN", "--seed", "-1"], "from 0 to"),
    "page of a flat task": (["render", "RUN", "--format", "html"], "is drawn flat"),
    "below a file": (["render", "RUN", "--out", "README.md/x.gif"], "is not a directory"),
    "without ffmpeg": (["render", "RUN", "--format", "mp4"], "take --format gif"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_gets_one_sentence_and_status_2(name, half, capfd, monkeypatch):
    argv, expected = REFUSED[name]
    monkeypatch.setattr("rlbench.film.shutil.which", lambda program: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    before = sorted(half.rglob("*"))
    assert main([str(half) if a == "RUN" else a for a in argv]) == 2
    captured = capfd.readouterr()
    assert expected in captured.err
    assert captured.err.startswith("rlbench: ") and captured.err.count("\n") == 1
    assert captured.out == "" and sorted(half.rglob("*")) == before


def test_a_file_that_is_there_is_replaced_only_when_asked(half, tmp_path, capfd):
    out = tmp_path / "x.gif"
    out.write_bytes(b"mine")
    argv = ["render", str(half), "--out", str(out), "--steps", "2"]
    assert main(argv) == 2
    assert "--overwrite" in capfd.readouterr().err and out.read_bytes() == b"mine"
    assert main([*argv, "--overwrite"]) == 0
    assert out.read_bytes().startswith(b"GIF89a")


def test_a_run_without_a_final_policy_or_with_an_env_that_cannot_be_drawn(half, tmp_path, capfd):
    def altered(name, file, **values):
        copy = tmp_path / name
        shutil.copytree(half, copy)
        alter(copy, file, values)
        assert main(["render", str(copy)]) == 2
        assert not (copy / "render").exists()
        return capfd.readouterr().err

    assert "has no final policy" in altered("diverged", "status.json", status="diverged")
    refusal = altered("flat", "config.json", env="gymnax/DeepSea-bsuite")
    assert "cannot be drawn" in refusal and "CartPole-v1" in refusal
    assert "unknown env 'None'" in altered("nameless", "config.json", env=None)


def test_progress_is_told_after_two_seconds_and_then_seldom(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("rlbench.stages.time.monotonic", lambda: now[0])
    stages = Stages()
    with stages.shown():
        for second in range(30):
            now[0] = float(second)
            stages.tell("drawing", second, 60, "frames")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "drawing 2/60 frames · 1 frames/s · ETA 0:58"
    assert len(lines) == 3


def test_a_stage_that_cannot_count_is_told_when_it_takes_long(capfd, monkeypatch):
    monkeypatch.setattr("rlbench.stages.QUIET_SECONDS", 0.05)
    stages = Stages()
    with stages.shown():
        stages.tell("loading")
        stages.tell("compiling")
        stages._alarm.join()
    assert capfd.readouterr().err == "compiling …\n"
