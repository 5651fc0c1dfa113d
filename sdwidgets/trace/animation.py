"""A run as an animation: one frame a step, with the final image held at the end."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .. import checks
from ..errors import InputError
from .record import Record
from .step import TraceStep
from .stills import VIEWS, Stills, overlaid
from .thinning import evenly
from .tokens import Span
from .writing import write_file

MOST_FRAMES = 100
"""Steps shown; in a longer run, this many spread evenly."""

SHORTEST = 0.02
"""The fewest seconds of a frame: browsers show shorter ones for longer."""

LARGEST_SIDE = 1024
"""Pixels of the longer side, unless asked otherwise."""

GAP = 8  # pixels between two views side by side


def animation(
    record: Record,
    path: str | os.PathLike[str],
    *,
    view: str = "clean",
    seconds: float = 4.0,
    hold: float = 1.0,
    side: int | None = None,
    word: str | int | Span | None = None,
    picture: int = 0,
) -> Path:
    """Write the run as an animation that loops, whole or not at all; return its path.

    ``path``: its ending says how, .webp (the smallest), .gif, or .mp4 (H.264, with ``pip install
    'sdwidgets[video]'``; players decide whether it loops). ``view``: "clean", what the network
    predicted at each step; "noisy", what it was given; "both", side by side. ``seconds``: of all
    steps, 0.1 to 600. ``hold``: seconds of the final image after them, 0 to 600. ``side``: pixels
    of the longer side, 16 to 2048; by default the image's own, up to 1024. ``word``, as
    `Trace.heat_map` takes it: its heat map at each step over the clean view, or over the noisy view
    if that is shown alone. ``picture``: the image's index in the batch.

    A step is shown as `preview_rgb` of its latents, smoothly resized to the image. At most 100 are
    shown, spread evenly. Raises InputError.
    """
    path, kind = ending_of(path)
    view = checks.choice("view", view, (*VIEWS, "both"))
    seconds = checks.real("seconds", seconds, 0.1, 600)
    hold = checks.real("hold", hold, 0, 600)
    if side is not None:
        side = checks.whole("side", side, 16, 2048)
    stills = Stills(record, picture, side, even=kind == ".mp4")
    if side is None and max(stills.size) > LARGEST_SIDE:
        stills = Stills(record, picture, LARGEST_SIDE, even=kind == ".mp4")
    chosen = evenly(len(record.steps), min(MOST_FRAMES, int(seconds / SHORTEST)))
    frames = [_frame(stills, view, word, record.steps[i]) for i in chosen]
    if hold and stills.final is not None:
        last = stills.final
        frames.append(_beside(stills.end, last) if view == "both" else last)
    held = hold if len(frames) > len(chosen) else 0.0
    return write_file(path, ENCODERS[kind](frames, seconds, held))


def ending_of(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """The path of an animation, and its ending, one of `ENCODERS`. Raises InputError."""
    path = checks.path("path", path)
    kind = path.suffix.lower()
    if kind not in ENCODERS:
        said = checks.shown(kind) if kind else "a file without an ending"
        raise InputError(
            f"An animation cannot be written as {said}.\nKnown: {', '.join(ENCODERS)}.",
            parameter="path",
        )
    return path, kind


def encoded(images: Sequence[Image.Image], kind: str, seconds: float) -> bytes:
    """The file of an animation of images of one size, which share ``seconds``.

    ``kind``: one of `ENCODERS`. Images are at most 1024 pixels along a side; for a video, sides are
    even.
    """
    width, height = images[0].size
    shrink = min(LARGEST_SIDE / max(width, height), 1)
    least = 2 if kind == ".mp4" else 1
    width_to, height_to = (
        max(round(side * shrink / least) * least, least) for side in (width, height)
    )
    frames = [image.convert("RGB") for image in images]
    if (width_to, height_to) != (width, height):
        frames = [frame.resize((width_to, height_to), Image.Resampling.LANCZOS) for frame in frames]
    return ENCODERS[kind](frames, seconds, 0.0)


def _frame(
    stills: Stills, view: str, word: str | int | Span | None, step: TraceStep
) -> Image.Image:
    """The frame of a step."""
    frame = stills.view("clean" if view == "both" else view, step)
    if word is not None:
        frame = overlaid(frame, stills.heat(word, step))
    return _beside(stills.noisy(step), frame) if view == "both" else frame


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * left.width + GAP, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + GAP, 0))
    return both


def _webp(frames: Sequence[Image.Image], seconds: float, held: float) -> bytes:
    return _pillow(frames, "WEBP", seconds, held, quality=85, method=4)


def _gif(frames: Sequence[Image.Image], seconds: float, held: float) -> bytes:
    return _pillow([_dithered(frame) for frame in frames], "GIF", seconds, held)


def _dithered(frame: Image.Image) -> Image.Image:
    """The frame in 256 colours of its own, dithered so that soft edges show no bands."""
    # an octree takes a hundredth of the time of Pillow's default, a median cut
    palette = frame.quantize(256, Image.Quantize.FASTOCTREE)
    return frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _pillow(
    frames: Sequence[Image.Image], kind: str, seconds: float, held: float, **options: int
) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=list(frames[1:]),
        duration=durations(len(frames), seconds, held),
        loop=0,
        **options,
    )
    return buffer.getvalue()


def durations(frames: int, seconds: float, held: float) -> list[int]:
    """How long each frame is shown, in ms: all frames but a held last one share ``seconds``.

    They are whole hundredths of a second, as in a GIF, and together as long as asked.
    """
    shared = frames - 1 if held else frames
    ends = [round(100 * seconds * i / shared) for i in range(shared + 1)]
    each = [10 * (end - start) for start, end in itertools.pairwise(ends)]
    return each + ([max(10 * round(100 * held), 10)] if held else [])


def _mp4(frames: Sequence[Image.Image], seconds: float, held: float) -> bytes:
    """Frames of equal length; a held one is repeated."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise InputError(
            "Writing .mp4 needs a package that is not installed.\n"
            "Install it (pip install 'sdwidgets[video]'), or write .webp or .gif.",
            parameter="path",
        ) from None
    rate = (len(frames) - bool(held)) / seconds
    again = max(round(held * rate), 1) - 1 if held else 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.mp4"
        try:
            writer = imageio_ffmpeg.write_frames(
                str(file),
                frames[0].size,
                fps=rate,
                codec="libx264",
                pix_fmt_out="yuv420p",  # what browsers and slides play
                quality=7,
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-movflags", "+faststart"],
            )
            writer.send(None)  # starts it
            for frame in [*frames, *[frames[-1]] * again]:
                writer.send(np.asarray(frame).tobytes())
            writer.close()
            return file.read_bytes()
        except (OSError, RuntimeError) as error:
            problem = str(error).strip().partition("\n")[0]
    raise InputError(f"The video could not be encoded: {problem}.", parameter="path")


ENCODERS = {".webp": _webp, ".gif": _gif, ".mp4": _mp4}
"""A file name's ending -> a function of frames, their seconds and those of a held last one."""
