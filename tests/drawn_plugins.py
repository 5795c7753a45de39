"""An environment of others that draws itself, and some that do it wrong."""

import jax.numpy as jnp
import numpy as np

from rlbench.testing.probes import Push


class Drawn(Push):
    """A frame is as red as the episode is old, ten levels a step."""

    step_seconds = 0.1

    def render(self, states):
        red = 10 * jnp.broadcast_to(states.t[:, None, None], (*states.t.shape, 12, 16))
        return np.asarray(jnp.stack([red, 0 * red, 0 * red], axis=-1), np.uint8)


class Floating(Drawn):
    def render(self, states):
        return super().render(states) / 255


class OneFrame(Drawn):
    def render(self, states):
        return super().render(states)[0]


class Raising(Drawn):
    def render(self, states):
        raise ValueError("no paint left")


class Instant(Drawn):
    step_seconds = 0
