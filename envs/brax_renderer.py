"""Brax's tasks in pictures, by `brax.io.image`, and as a page that holds Brax's own viewer.

MuJoCo draws the model of every backend, with OpenGL; it reads MUJOCO_GL when it is imported, so a
renderer is made before the environment is.
"""

import base64
import copy
import hashlib
import html
import importlib
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rlbench.errors import UsageError

BODILESS = ("fast",)
"""Tasks that simulate no bodies."""
HEIGHT, WIDTH = 240, 320
TOGETHER = 10
"""Frames that one OpenGL context draws; to make one takes as long as four frames."""
CAMERA = "track"
"""What Brax calls a camera that follows the body; a model without one keeps still."""
DIGITS = 4
"""Of positions in metres, and of quaternions, in a page."""
PLANE = 0
"""MuJoCo's number of that shape (mjGEOM_PLANE)."""


class BraxRenderer:
    """Draws states of a `BraxEnv`."""

    def __init__(self, name: str, page: bool) -> None:
        """Looks for what drawing needs.

        Args:
            name: Brax's own name of the task.
            page: whether a page is wanted, not pictures.

        Raises:
            UsageError: the task has nothing to draw, or there is no OpenGL here.
        """
        if name in BODILESS:
            raise UsageError(f"env 'brax/{name}' cannot be drawn: it has no bodies")
        if not page:
            _find_opengl()

    def step_seconds(self, env: Any) -> float:
        """Simulated seconds of one env step."""
        return float(env.library.dt)

    def draw(self, env: Any, states: Sequence[Any]) -> Iterator[UInt8[np.ndarray[Any, Any], "..."]]:
        """The states' pictures, each (240, 320, 3)."""
        from brax.io import image

        model = copy.copy(env.library.sys.mj_model)
        camera = CAMERA if _runs(model) else None
        _extend_floors(model) if camera else _close_in(model)
        drawn = SimpleNamespace(mj_model=model)
        for i in range(0, len(states), TOGETHER):
            some = [state.brax.pipeline_state for state in states[i : i + TOGETHER]]
            yield from image.render_array(drawn, some, HEIGHT, WIDTH, camera)

    def page(self, env: Any, states: Sequence[Any], title: str) -> str:
        """A page that plays the states in real time, holds everything it needs, and may load
        nothing.
        """
        from brax.io import json

        system = env.library.sys
        sizes = np.array(system.geom_size)
        if _runs(system.mj_model):
            sizes[_floors(system.mj_model)] = 0.0
        told = system.tree_replace({"opt.timestep": env.library.dt, "geom_size": sizes})
        text = json.dumps(told, [_pose(state.brax.pipeline_state) for state in states])
        packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        script = (
            files("rlbench.envs")
            .joinpath("brax_viewer", "viewer.min.js")
            .read_text("utf-8")
            .strip()
        )
        allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return PAGE.format(title=html.escape(title), hash=allowed, packed=packed, script=script)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'sha256-{hash}'; style-src 'unsafe-inline'; font-src data:; img-src data: blob:">
<title>{title}</title>
<style>body {{ margin: 0 }} #brax-viewer {{ height: 100vh; width: 100vw; overflow: hidden }}</style>
</head>
<body>
<div id="brax-viewer"></div>
<script type="text/plain" id="episode">{packed}</script>
<script>{script}</script>
</body>
</html>
"""


def _runs(model: Any) -> bool:
    """Whether the task's body is to be followed."""
    return CAMERA in [model.camera(i).name for i in range(model.ncam)]


def _floors(model: Any) -> Any:
    """Which shapes are planes. A trained ant runs off its floor of 80 m, into grey where nobody
    sees that it moves; a plane of size 0 is drawn without an end.
    """
    return np.asarray(model.geom_type) == PLANE


def _extend_floors(model: Any) -> None:
    """Floors without an end; their pattern's repeats, before by floor, are now by metre."""
    for floor in np.flatnonzero(_floors(model)):
        material, half = model.geom_matid[floor], model.geom_size[floor, :2].copy()
        if material >= 0 and not model.mat_texuniform[material] and half.all():
            model.mat_texrepeat[material] /= 2 * half
            model.mat_texuniform[material] = True
        model.geom_size[floor] = 0.0


def _close_in(model: Any) -> None:
    """Has a camera that keeps still look at the bodies, not at the whole floor below them."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    reach, bodies = model.geom_rbound[:, None], ~_floors(model)
    low = (data.geom_xpos - reach)[bodies].min(axis=0)
    high = (data.geom_xpos + reach)[bodies].max(axis=0)
    model.stat.center, model.stat.extent = (low + high) / 2, (high - low).max()


def _pose(state: Any) -> Any:
    """What the viewer reads of a state, rounded to what is seen."""
    pos, rot = (np.round(np.asarray(x, np.float64), DIGITS) for x in (state.x.pos, state.x.rot))
    return SimpleNamespace(x=SimpleNamespace(pos=pos, rot=rot))


def _find_opengl() -> None:
    """Has MuJoCo draw without a display, unless MUJOCO_GL says otherwise, and tries it.

    Raises:
        UsageError: says what to install.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        early = "mujoco.rendering.classic.gl_context" in sys.modules
        context = importlib.import_module("mujoco.rendering.classic.gl_context")
        if early:  # imported before the variable was set: it is read once more
            importlib.reload(context)
        context.GLContext(WIDTH, HEIGHT).free()
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UsageError(
            f"MuJoCo cannot draw here with MUJOCO_GL={os.environ['MUJOCO_GL']}: install the "
            "package libegl1 (or libosmesa6, and set MUJOCO_GL=osmesa), or take --format html "
            f"({str(error).partition(chr(10))[0]})"
        ) from None
