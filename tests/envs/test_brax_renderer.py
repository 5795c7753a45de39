"""MuJoCo's pictures of Brax's bodies follow the state; the page carries all it needs and may load
nothing.
"""

import base64
import ctypes.util
import hashlib
import json
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlbench.envs.brax_renderer import BraxRenderer
from rlbench.errors import UsageError
from rlbench.registry import find_env, make_env
from rlbench.render import find_renderer


@pytest.fixture(scope="module")
def env():
    return make_env(find_env("inverted_pendulum"))


@pytest.fixture(scope="module")
def start(env):
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    return state


@pytest.fixture
def renderer():
    # Not by the renderer's own refusal: a broken one would then be skipped.
    if ctypes.util.find_library("EGL") is None:
        pytest.skip("this machine has no libEGL")
    return find_renderer(find_env("inverted_pendulum"), False)


def moved(state, cart, pole=0.0):
    """The pendulum's state with its two joints set by hand, in metres and radians."""
    body = state.brax.pipeline_state
    return state._replace(
        brax=state.brax.replace(pipeline_state=body.replace(q=jnp.array([cart, pole])))
    )


def middle_of_cart(frame):
    """The column around which what differs from the black sky and the white rail is spread."""
    bright = frame.astype(int)
    brown = (bright[..., 0] > bright[..., 2] + 10) & (bright[..., 0] > 30)
    assert brown.any()
    return np.flatnonzero(brown.any(axis=0)).mean()


def test_a_cart_moved_by_hand_moves_in_the_picture(env, start, renderer):
    left, middle, right = map(
        middle_of_cart, renderer.draw(env, [moved(start, x) for x in (-0.5, 0.0, 0.5)])
    )
    assert middle - left > 30 and right - middle == pytest.approx(middle - left, abs=4)


def test_a_pole_leans_to_the_side_of_its_angle(env, start, renderer):
    upright, leaning = renderer.draw(env, [moved(start, 0.0), moved(start, 0.0, 0.8)])
    assert upright.shape == leaning.shape == (240, 320, 3) and upright.dtype == np.uint8
    assert middle_of_cart(leaning) > middle_of_cart(upright) + 10


def test_more_states_than_one_context_draws_are_drawn_in_order(env, start, renderer):
    frames = list(renderer.draw(env, [moved(start, x) for x in np.linspace(-0.6, 0.6, 13)]))
    middles = [middle_of_cart(frame) for frame in frames]
    assert len(frames) == 13 and middles == sorted(middles) and len(set(middles)) == 13


def test_an_ant_far_off_its_floor_is_in_the_picture_with_floor_below(renderer):
    ant = make_env(find_env("ant"))
    model = ant.library.sys.mj_model
    at = ant.library.sys.init_q.at[0].add(100.0)
    poses = [ant.library.sys.init_q, at, at.at[0].add(1.0)]
    states = [_Brax(_Body(q, jnp.zeros(ant.library.sys.qd_size()))) for q in poses]
    near, far, further = (f.astype(int) for f in BraxRenderer("ant", False).draw(ant, states))
    assert (model.geom_size[0] > 0).all()  # the model that simulates is left as it was
    # The ant stands in the middle of all, and the floor's pattern moves with a metre of way.
    middle = np.s_[100:140, 140:180]
    assert np.abs(near[middle] - far[middle]).mean() < 25
    floor = np.s_[150:, :60]
    assert np.ptp(far[floor]) > 150
    assert np.abs(far[floor] - further[floor]).mean() > 30


class _Body:
    def __init__(self, q, qd):
        self.q, self.qd = q, qd


class _Brax:
    def __init__(self, body):
        self.brax, self.pipeline_state = self, body


def test_a_page_loads_nothing_and_runs_only_the_viewer(env, start):
    page = BraxRenderer("inverted_pendulum", True).page(env, [start] * 3, "a <b> & c")
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert "http" not in policy and "*" not in policy and "eval" not in policy
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert [attributes for attributes, _ in scripts] == [' type="text/plain" id="episode"', ""]
    assert scripts[1][1].startswith("(()=>{") and scripts[1][1].endswith("})();")
    digest = base64.b64encode(hashlib.sha256(scripts[1][1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert not re.search(r"\beval\(|new Function|importScripts|<iframe|<link", page)
    # What is left of addresses: XML's name of HTML, and lil-gui's home in its licence's comment.
    found = set(re.findall(r"https?://[\w./-]*", page))
    assert found <= {"http://www.w3.org/1999/xhtml", "https://lil-gui.georgealways.com"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mujoco, in Brax's step
def test_a_page_holds_every_state_in_real_time(env, start):
    step = jax.jit(env.step)
    after, _ = step(jax.random.key(0), start, jnp.array([1.0]))
    page = BraxRenderer("inverted_pendulum", True).page(env, [start, after], "")
    (packed,) = re.findall(r'id="episode">([^<]*)<', page)
    told = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert told["opt"]["timestep"] == pytest.approx(float(env.library.dt))
    for x, state in zip(told["states"]["x"], (start, after), strict=True):
        body = state.brax.pipeline_state.x
        np.testing.assert_allclose(x["pos"], body.pos, atol=6e-5)
        np.testing.assert_allclose(x["rot"], body.rot, atol=6e-5)


def test_a_task_without_bodies_is_refused():
    with pytest.raises(UsageError, match="it has no bodies"):
        find_renderer(find_env("fast"), True)


def test_where_mujoco_cannot_draw_the_remedy_is_told(monkeypatch):
    def broken(module):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    monkeypatch.setattr("rlbench.envs.brax_renderer.importlib.import_module", broken)
    with pytest.raises(UsageError, match=r"libegl1 .*MUJOCO_GL=osmesa.*--format html"):
        BraxRenderer("ant", False)
    BraxRenderer("ant", True)
