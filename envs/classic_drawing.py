"""The classic control tasks as Gymnasium draws them, in plain shapes: its own drawing needs pygame.

Angles are turned the way Gymnasium turns them. Shapes are in the task's own units; a `Canvas` knows
where they are in the picture.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

SMOOTH = 2
"""Pixels drawn for one that is kept, in either direction."""
WHITE, GREY, BLACK = (255, 255, 255), (170, 170, 170), (0, 0, 0)
WOOD, RED, BLUE = (202, 152, 101), (204, 77, 77), (129, 132, 203)

Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass
class Canvas:
    """A white picture of a window of the plane.

    Attributes:
        left: x at the left edge.
        bottom: y at the lower edge.
        scale: pixels a unit.
        width: pixels.
        height: pixels.
    """

    left: float
    bottom: float
    scale: float
    width: int
    height: int
    _image: Image.Image = field(init=False)

    def __post_init__(self) -> None:
        """Starts with white."""
        self._image = Image.new("RGB", (self.width * SMOOTH, self.height * SMOOTH), WHITE)
        self._draw = ImageDraw.Draw(self._image)

    def pixel(self, point: Point) -> Point:
        """(column, row) of a point of the plane in the finished picture, row 0 at the top."""
        x, y = point
        return (x - self.left) * self.scale, self.height - (y - self.bottom) * self.scale

    def _at(self, point: Point) -> Point:
        column, row = self.pixel(point)
        return column * SMOOTH, row * SMOOTH

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled one."""
        self._draw.polygon([self._at(p) for p in points], colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Joined pieces, `width` thick in the plane's units."""
        thick = max(1, round(width * self.scale * SMOOTH))
        self._draw.line([self._at(p) for p in points], colour, thick, "curve")

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        (x, y), r = self._at(centre), radius * self.scale * SMOOTH
        self._draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def rod(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        """A line with round ends."""
        self.line([start, end], width, colour)
        for point in (start, end):
            self.disc(point, width / 2, colour)

    def frame(self) -> UInt8[np.ndarray[Any, Any], "H W 3"]:
        """What was drawn, (height, width, 3)."""
        return np.asarray(self._image.reduce(SMOOTH))


def cart_pole(state: Any, params: Any) -> Canvas:
    """Track, cart, and the pole at its angle from upright, clockwise."""
    edge, x, angle = float(params.x_threshold), float(state.x), float(state.theta)
    canvas = Canvas(-edge - 0.2, -0.6, 480 / (2 * edge + 0.4), 480, 240)
    canvas.line([(-edge, 0.0), (edge, 0.0)], 0.02, GREY)
    cart = [(x - 0.25, -0.15), (x + 0.25, -0.15), (x + 0.25, 0.15), (x - 0.25, 0.15)]
    canvas.polygon(cart, BLACK)
    length = 2 * float(params.length)
    tip = (x + length * math.sin(angle), 0.1 + length * math.cos(angle))
    canvas.rod((x, 0.1), tip, 0.1, WOOD)
    canvas.disc((x, 0.1), 0.04, BLUE)
    return canvas


def pendulum(state: Any, params: Any) -> Canvas:
    """The rod at its angle from upright, anticlockwise."""
    angle, length = float(state.theta), float(params.l)
    canvas = Canvas(-1.3 * length, -1.3 * length, 300 / (2.6 * length), 300, 300)
    canvas.rod((0.0, 0.0), (-length * math.sin(angle), length * math.cos(angle)), 0.2, RED)
    canvas.disc((0.0, 0.0), 0.05, BLACK)
    return canvas


def acrobot(state: Any, params: Any) -> Canvas:
    """Both links, their angles from hanging, anticlockwise; and the height to be reached."""
    first, second = float(state.joint_angle1), float(state.joint_angle2)
    upper, lower = float(params.link_length_1), float(params.link_length_2)
    reach = 1.1 * (upper + lower)
    canvas = Canvas(-reach, -reach, 300 / (2 * reach), 300, 300)
    canvas.line([(-reach, 1.0), (reach, 1.0)], 0.03, GREY)
    elbow = (upper * math.sin(first), -upper * math.cos(first))
    turn = first + second
    tip = (elbow[0] + lower * math.sin(turn), elbow[1] - lower * math.cos(turn))
    for start, end in (((0.0, 0.0), elbow), (elbow, tip)):
        canvas.rod(start, end, 0.16, WOOD)
        canvas.disc(start, 0.1, BLUE)
    return canvas


def mountain_car(state: Any, params: Any) -> Canvas:
    """The valley, a flag at the goal, and the car."""
    low, high, x = float(params.min_position), float(params.max_position), float(state.position)
    canvas = Canvas(low, -0.1, 480 / (high - low), 480, 340)

    def ground(x: float) -> float:
        return 0.45 * math.sin(3 * x) + 0.55

    canvas.line([(v, ground(v)) for v in np.linspace(low, high, 100)], 0.01, GREY)
    goal = float(params.goal_position)
    canvas.line([(goal, ground(goal)), (goal, ground(goal) + 0.15)], 0.01, BLACK)
    canvas.polygon([(goal, ground(goal) + h) for h in (0.15, 0.09)] + [(goal + 0.07, 1.1)], RED)
    slope = math.atan(1.35 * math.cos(3 * x))
    cos, sin = math.cos(slope), math.sin(slope)

    def on_car(along: float, above: float) -> Point:
        return x + along * cos - above * sin, ground(x) + along * sin + above * cos

    body = [(-0.06, 0.02), (0.06, 0.02), (0.06, 0.06), (-0.06, 0.06)]
    canvas.polygon([on_car(*corner) for corner in body], BLACK)
    for along in (-0.03, 0.03):
        canvas.disc(on_car(along, 0.02), 0.02, BLUE)
    return canvas


DRAWN: dict[str, tuple[Callable[[Any, Any], Canvas], float]] = {
    "CartPole-v1": (cart_pole, 0.02),
    "Pendulum-v1": (pendulum, 0.05),
    "Acrobot-v1": (acrobot, 0.2),
    "MountainCar-v0": (mountain_car, 1 / 30),
    "MountainCarContinuous-v0": (mountain_car, 1 / 30),
}
"""How a task is drawn, and the seconds of an env step: its own, or for the car, whose step is no
time, Gymnasium's frame."""
