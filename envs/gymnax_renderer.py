"""gymnax's tasks in pictures: classic control by `rlbench.envs.classic_drawing`, games and mazes by
gymnax's own Visualizer.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from rlbench.envs.classic_drawing import DRAWN
from rlbench.errors import UsageError

VISUALIZED = (
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
    "Catch-bsuite",
    "FourRooms-misc",
    "MetaMaze-misc",
    "PointRobot-misc",
    "Pong-misc",
)
"""What gymnax 1.0.1's Visualizer draws without pygame."""
MOVE_SECONDS = 0.1
"""Of a game's move, which is no time: as the Visualizer shows it."""
DPI = 60
"""Of the Visualizer's figure, 6 by 5 inches."""


class GymnaxRenderer:
    """Draws states of a `GymnaxEnv`."""

    def __init__(self, name: str, page: bool) -> None:
        """Checks that the task can be drawn.

        Args:
            name: gymnax's own name of the task.
            page: whether a page is wanted, not pictures.

        Raises:
            UsageError: it cannot; names what can.
        """
        can = sorted([*DRAWN, *VISUALIZED])
        if name not in can:
            raise UsageError(
                f"env 'gymnax/{name}' cannot be drawn; of gymnax's, these can: {', '.join(can)}"
            )
        if page:
            raise UsageError(
                f"--format html is the viewer of Brax's bodies, and 'gymnax/{name}' is drawn flat; "
                "take --format gif"
            )
        self._name = name

    def step_seconds(self, env: Any) -> float:
        """Seconds that one env step is shown."""
        return DRAWN[self._name][1] if self._name in DRAWN else MOVE_SECONDS

    def draw(self, env: Any, states: Sequence[Any]) -> Iterator[UInt8[np.ndarray[Any, Any], "..."]]:
        """The states' pictures, (H, W, 3) each."""
        if self._name in DRAWN:
            draw, _ = DRAWN[self._name]
            return (draw(state, env.params).frame() for state in states)
        return _visualized(env, states)


def _visualized(env: Any, states: Sequence[Any]) -> Iterator[UInt8[np.ndarray[Any, Any], "..."]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of what it imports
        import matplotlib

        matplotlib.use("Agg")  # no window, whatever display there is
        from gymnax.visualize import Visualizer
        from matplotlib import pyplot
    # Plain numbers: the library places text at what it reads off the state.
    states = [jax.tree.map(np.asarray, state) for state in states]
    shown = Visualizer(env.library, env.params, states)
    try:
        shown.fig.set_dpi(DPI)
        shown.init()
        for i, state in enumerate(states):
            shown.update(i)
            # The library's title counts frames, and not every step is one.
            shown.ax.set_title(f"{env.library.name}, step {int(state.time)}", fontsize=15)
            shown.fig.canvas.draw()
            yield np.asarray(shown.fig.canvas.buffer_rgba())[..., :3].copy()
    finally:
        pyplot.close(shown.fig)
