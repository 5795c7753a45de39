"""`rlbench render`: one complete episode of a run's final policy, as a GIF, a film or a page.

What an environment looks like is its library's business: `envs/envs.toml` names a renderer for each
suite, and an environment of others may have a method `render`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

import numpy as np
import tyro
from jaxtyping import UInt8

from rlbench import registry, store
from rlbench.errors import UsageError, nearest
from rlbench.files import replace_file, writing
from rlbench.flags import flag, parse_flags, whole
from rlbench.options import refuse_code
from rlbench.plugins import Plugin
from rlbench.stages import Stages

FORMATS = ("gif", "mp4", "html")
PLUGIN_STEP_SECONDS = 0.05
"""Of an environment that does not say otherwise by its attribute `step_seconds`."""

Frame = UInt8[np.ndarray[Any, Any], "H W 3"]


@dataclass(frozen=True)
class RenderOptions:
    """Play one complete episode with a run's final policy, and draw it.

    gif and mp4 have at most 25 frames a second and 300 in all, so that of a long episode only every
    n-th step is drawn; html, for Brax alone, is its viewer, which needs no network.
    """

    run: Annotated[str, tyro.conf.Positional, flag("RUN", "required")] = ""
    """A run directory."""
    format: Annotated[str, flag("gif|mp4|html", "default: by --out, or gif")] = ""
    """What to write; mp4 needs ffmpeg."""
    out: Annotated[str, flag("FILE", "default: RUN/render/seed-0000.gif")] = ""
    """Where to write it."""
    seed: Annotated[str, flag("INT", "default: 0")] = "0"
    """Of the start state; never one of the run's evaluation."""
    steps: Annotated[str, flag("INT", "default: the whole episode")] = ""
    """Env steps after which the episode is cut."""
    overwrite: Annotated[bool, flag("", "")] = False
    """Replace that file."""
    allow_code: Annotated[bool, flag("", "")] = False
    """Import the agent and environment of a run that names them as package.module:Class."""


class Renderer(Protocol):
    """How the environments of a library look. It is made before the environment, of the library's
    own name of the task and of whether a page is wanted, and refuses then what it cannot draw.
    """

    def step_seconds(self, env: Any) -> float:
        """Seconds that one env step is shown."""
        ...

    def draw(self, env: Any, states: Sequence[Any]) -> Iterator[Frame]:
        """A picture of each state, all of one size."""
        ...


class PageRenderer(Renderer, Protocol):
    """One that did not refuse a page."""

    def page(self, env: Any, states: Sequence[Any], title: str) -> str:
        """The states in motion as one HTML file."""
        ...


class PluginRenderer:
    """The method `render(states)` of an environment of others: states stacked along a leading axis
    T, to uint8 frames (T, H, W, 3).
    """

    def __init__(self, plugin: Plugin, page: bool) -> None:
        """Takes whose it is.

        Raises:
            UsageError: a page is wanted.
        """
        if page:
            raise UsageError(f"--format html is not for {plugin}; take --format gif")
        self._plugin = plugin

    def step_seconds(self, env: Any) -> float:
        """The environment's own attribute of this name, or 0.05.

        Raises:
            UsageError: the environment has no method `render`, or the number is none.
        """
        if not callable(getattr(env, "render", None)):
            raise UsageError(
                f"{self._plugin} cannot be drawn: it has no method render(states) -> uint8 frames "
                "(T, H, W, 3)"
            )
        seconds = getattr(env, "step_seconds", PLUGIN_STEP_SECONDS)
        if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            raise UsageError(f"{self._plugin}: step_seconds must be above 0, not {seconds!r}")
        return float(seconds)

    def draw(self, env: Any, states: Sequence[Any]) -> Iterator[Frame]:
        """Its frames.

        Raises:
            UsageError: it raises, or what it returns is not that.
        """
        import jax
        import jax.numpy as jnp

        from rlbench.contract import guarded

        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *states)
        what = "render"
        frames = guarded(str(self._plugin), self._plugin, what, lambda: env.render(stacked))
        given = np.asarray(frames)
        if given.dtype != np.uint8 or given.ndim != 4 or given.shape[::3] != (len(states), 3):
            raise UsageError(
                f"{self._plugin}: render must return uint8 frames ({len(states)}, H, W, 3), not "
                f"{given.dtype} of shape {given.shape}"
            )
        yield from given


@dataclass(frozen=True)
class Wanted:
    """The flags, checked."""

    run: Path
    format: str
    out: Path
    seed: int
    steps: int | None
    allow_code: bool


def render_command(argv: Sequence[str], prog: str) -> int:
    """`render`: plays, draws, writes, says what."""
    options = parse_flags(RenderOptions, argv, prog)
    wanted = _checked(options)
    from rlbench.film import find_ffmpeg  # Pillow: not for those who only ask for help

    ffmpeg = find_ffmpeg() if wanted.format == "mp4" else ""
    stages = Stages()
    with stages.shown():
        told = _render(wanted, ffmpeg, stages)
    print(told)
    return 0


def _checked(options: RenderOptions) -> Wanted:
    if not options.run:
        raise UsageError("say which run directory: `rlbench render RUN`")
    suffix = Path(options.out).suffix.lower()[1:]
    form = options.format or (suffix if options.out else "gif")
    if form not in FORMATS:
        where = "format" if options.format else "format of --out:"
        raise UsageError(f"unknown {where} {form!r}; {nearest(form, FORMATS)}")
    if options.out and suffix != form:
        raise UsageError(f"--out {options.out} does not end in .{form}, which --format {form} asks")
    seed = whole(options.seed, "--seed")
    if not 0 <= seed < 2**31:
        raise UsageError(f"--seed must be an integer from 0 to 2^31 - 1, not {seed}")
    steps = whole(options.steps, "--steps") if options.steps else None
    if steps is not None and steps < 1:
        raise UsageError(f"--steps must be at least 1, not {steps}")
    run = Path(options.run)
    name = f"seed-{seed:04d}.{form}"
    out = Path(options.out) if options.out else store.own(run, "render") / name
    if run.is_dir():  # otherwise that it is no run is what must be told
        check_writable(out, options.overwrite)
    return Wanted(run, form, out, seed, steps, options.allow_code)


def check_writable(out: Path, overwrite: bool) -> None:
    """Refuses a file that is there, or that could not be made.

    Raises:
        UsageError: says which, and what to do.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder; --out takes a file")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; --overwrite replaces it, --out goes elsewhere")
    store.check_writable(out.parent, True, "")


def find_renderer(entry: registry.EnvEntry, page: bool) -> Renderer:
    """What draws this environment.

    Raises:
        UsageError: nothing does, or not as a page, or not on this machine.
    """
    if entry.plugin:
        return PluginRenderer(entry.plugin, page)
    suite = registry.read_table("rlbench.envs", "envs.toml")["suite"][entry.suite]
    renderer: Renderer = registry.resolve(suite["renderer"])(entry.name, page)
    return renderer


def _render(wanted: Wanted, ffmpeg: str, stages: Stages) -> str:
    """Does it all, and says so in one line."""
    stages.tell("restoring the run")
    record = store.read_run(wanted.run)
    page = wanted.format == "html"
    from rlbench.export import restore_run

    env_id = str(record.config.get("env"))
    if not wanted.allow_code:
        refuse_code([env_id], wanted.run)
    renderer = find_renderer(registry.find_env(env_id), page)
    prepared, state = restore_run(record, wanted.allow_code)
    env = prepared.task.env
    seconds = renderer.step_seconds(env)
    from rlbench import episode

    most = min(wanted.steps or env.spec.max_steps, env.spec.max_steps)
    played = episode.record(prepared, state, wanted.seed, most, _playing(stages))
    config = prepared.config
    title = (
        f"{config.algo} on {config.env}, seed {config.seed}: return {played.returned:,.5g} in "
        f"{played.steps:,} env steps{'' if played.ended else ', cut there'}, "
        f"start state {wanted.seed}"
    )
    if page:
        stages.tell("writing the page")
        states = episode.pick(played, list(range(played.steps + 1)))
        how, data = "every step", cast(PageRenderer, renderer).page(env, states, title).encode()
        _write(wanted.out, lambda out: replace_file(out, data, "report"))
    else:
        how = _film(wanted, ffmpeg, stages, renderer, env, played, seconds)
    return f"{title}; {how}; written to {wanted.out}"


def _playing(stages: Stages) -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        stages.tell("playing" if of else "compiling", done, of, "env steps")

    return tell


def _film(
    wanted: Wanted,
    ffmpeg: str,
    stages: Stages,
    renderer: Renderer,
    env: Any,
    played: Any,
    seconds: float,
) -> str:
    """Draws and writes; returns which steps are frames."""
    from rlbench import episode, film

    steps = film.drawn_steps(played.steps, seconds)
    frames = []
    for frame in renderer.draw(env, episode.pick(played, steps)):
        frames.append(frame)
        stages.tell("drawing", len(frames), len(steps), "frames")
    stages.tell("writing the pictures")
    apart = steps[1]
    if wanted.format == "gif":
        _write(wanted.out, lambda out: film.write_gif(out, frames, film.shown_ms(steps, seconds)))
    else:
        rate = 1 / (apart * seconds)
        _write(wanted.out, lambda out: film.write_mp4(out, frames, rate, ffmpeg))
    skipped = f"every {apart} steps" if apart > 1 else "every step"
    return f"{len(frames)} frames, one for {skipped}"


def _write(out: Path, write: Callable[[Path], None]) -> None:
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out)
