"""Which states of an episode become frames, how long each is shown, and the files they make."""

import io
import itertools
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rlbench.errors import UsageError
from rlbench.files import replace_file

Frames = Sequence[UInt8[np.ndarray[Any, Any], "H W 3"]]

MOST_FRAMES = 300
SHORTEST = 0.04
"""Seconds a frame is shown at least: 25 a second."""
LAST = 1.0
"""Seconds more that the last frame stays, so that an end is told from the loop's next start."""
PALETTE_OF = 8
"""Frames whose colours a GIF's palette is made of."""


def drawn_steps(steps: int, step_seconds: float) -> list[int]:
    """The env steps whose states are drawn: every n-th from the start state (0) on, and the last.

    n is the smallest that leaves no more than 25 frames a second and 300 in all.

    Args:
        steps: of the episode.
        step_seconds: of one env step when it is shown.
    """
    apart = max(math.ceil(SHORTEST / step_seconds - 1e-6), math.ceil(steps / (MOST_FRAMES - 1)), 1)
    return [*range(0, steps, apart), steps]


def shown_ms(drawn: list[int], step_seconds: float) -> list[int]:
    """Milliseconds that each frame of a GIF is shown: its own unit is 10, and what rounding takes
    from one frame the next one has.
    """
    ticks = [round(100 * step_seconds * step) for step in drawn]
    ticks.append(ticks[-1] + round(100 * LAST))
    return [10 * max(1, b - a) for a, b in itertools.pairwise(ticks)]


def write_gif(path: Path, frames: Frames, milliseconds: Sequence[int]) -> None:
    """A GIF that repeats for ever; one palette, so that only what changes is stored."""
    sampled = frames[:: max(1, len(frames) // PALETTE_OF)]
    palette = Image.fromarray(np.concatenate(sampled)).quantize(256, Image.Quantize.MEDIANCUT)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    out = io.BytesIO()
    pictures[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=list(milliseconds),
        loop=0,
        optimize=False,
    )
    replace_file(path, out.getvalue(), "report")


def find_ffmpeg() -> str:
    """The program: on the path, or the one that the package imageio-ffmpeg brings.

    Raises:
        UsageError: there is neither.
    """
    found = os.environ.get("IMAGEIO_FFMPEG_EXE") or shutil.which("ffmpeg")
    if not found:
        try:
            from imageio_ffmpeg import get_ffmpeg_exe

            found = str(get_ffmpeg_exe())
        except (ImportError, RuntimeError):
            raise UsageError(
                "--format mp4 needs ffmpeg, which is not on the path; install it, or take "
                "--format gif"
            ) from None
    return found


def write_mp4(path: Path, frames: Frames, per_second: float, ffmpeg: str) -> None:
    """H.264 at a constant rate; an odd last row or column is left out, which the format wants.

    Raises:
        UsageError: ffmpeg cannot do it; says what it said last.
    """
    height, width = (n - n % 2 for n in frames[0].shape[:2])
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    temporary = path.with_name(path.name + ".tmp")
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    command = [ffmpeg, "-v", "error", "-y", *raw, "-r", f"{per_second:.6f}", "-i", "-", *coded]
    data = b"".join(frame[:height, :width].tobytes() for frame in frames)
    try:
        done = subprocess.run(
            [*command, str(temporary)], input=data, capture_output=True, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise UsageError(f"{ffmpeg} cannot write an mp4; it said: {said[-1]}")
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"cannot run {ffmpeg}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
