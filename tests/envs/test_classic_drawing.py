"""A pole is drawn where its angle puts it; the answers are worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from rlbench.envs import classic_drawing as drawing
from rlbench.registry import find_env, make_env


def params(alias):
    return make_env(find_env(alias)).params


def is_at(canvas, point, colour):
    """Whether the 3 x 3 pixels around a point of the plane have this colour."""
    column, row = (round(v) for v in canvas.pixel(point))
    seen = canvas.frame()[row - 1 : row + 2, column - 1 : column + 2]
    assert seen.shape == (3, 3, 3)
    return bool((np.abs(seen.astype(int) - colour) <= 2).all())


@pytest.mark.parametrize("x", [-1.5, 0.0, 1.5])
@pytest.mark.parametrize("angle", [-0.5, 0.0, 0.9])
def test_cartpole_s_pole_leans_clockwise_from_the_cart(x, angle):
    state = SimpleNamespace(x=x, theta=angle)
    canvas = drawing.cart_pole(state, params("cartpole"))
    for share in (0.2, 0.6, 0.95):  # of the pole's length, 1 m: twice the half length 0.5
        lean, up = share * math.sin(angle), 0.1 + share * math.cos(angle)
        assert is_at(canvas, (x + lean, up), drawing.WOOD)
        assert angle == 0.0 or not is_at(canvas, (x - lean, up), drawing.WOOD)
    assert is_at(canvas, (x + 0.2, -0.1), drawing.BLACK)
    assert canvas.pixel((0.0, 0.0))[0] == pytest.approx(240)


@pytest.mark.parametrize("angle", [0.0, 1.0, math.pi, -2.0])
def test_the_pendulum_turns_anticlockwise_from_upright(angle):
    canvas = drawing.pendulum(SimpleNamespace(theta=angle), params("pendulum"))
    for share in (0.3, 0.9):
        tip = (-share * math.sin(angle), share * math.cos(angle))
        assert is_at(canvas, tip, drawing.RED)
        assert not is_at(canvas, (-tip[0], -tip[1]), drawing.RED)


def test_the_acrobot_hangs_and_bends_at_its_elbow():
    def drawn(first, second):
        state = SimpleNamespace(joint_angle1=first, joint_angle2=second)
        return drawing.acrobot(state, params("acrobot"))

    assert is_at(drawn(0.0, 0.0), (0.0, -1.7), drawing.WOOD)
    bent = drawn(math.pi / 2, math.pi / 2)  # out to the right, then up
    assert is_at(bent, (0.5, 0.0), drawing.WOOD) and is_at(bent, (1.0, 0.6), drawing.WOOD)
    assert not is_at(bent, (0.0, -0.5), drawing.WOOD)


@pytest.mark.parametrize("alias", ["mountain_car", "mountain_car_continuous"])
def test_the_car_stands_on_the_ground_below_the_flag(alias):
    task = params(alias)
    bottom = -math.pi / 6  # where sin(3 x) is least, and the ground level: 0.55 - 0.45
    canvas = drawing.mountain_car(SimpleNamespace(position=bottom), task)
    assert is_at(canvas, (bottom, 0.1 + 0.045), drawing.BLACK)
    elsewhere = drawing.mountain_car(SimpleNamespace(position=0.2), task)
    assert not is_at(elsewhere, (bottom, 0.1 + 0.045), drawing.BLACK)
    goal = float(task.goal_position)
    assert is_at(canvas, (goal + 0.02, 0.55 + 0.45 * math.sin(3 * goal) + 0.12), drawing.RED)
