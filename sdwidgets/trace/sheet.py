"""A run on one sheet: a column for each step, a row for each way to look at it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor

from .. import checks
from ..errors import InputError
from .maps import stretched
from .record import Record
from .step import TraceStep
from .stills import VIEWS, Stills, overlaid
from .thinning import evenly
from .tokens import Span

if TYPE_CHECKING:
    from .figure import Sheet
    from .questions import Ablation

LABELS = {"noisy": "noisy\n$x_t$", "clean": "clean so far\n$\\hat{x}_0$"}
"""Of the rows: plain words and the papers' symbol."""

WIDTH = 6.75
"""Inches: the text width of a page. One of two columns is about 3.3."""

LONGEST_WORD = 14  # characters of a word in a label
CAPTION_LINES = 3

# In ems, the size of the text.
LETTER = 0.56  # width of a letter, about, with the space around it
LINE = 1.35  # from a line to the next
GAP = 0.4  # between images
TOP = 3.1  # room for the titles


def contact_sheet(
    record: Record,
    *,
    steps: int | Sequence[int] = 6,
    views: str | Sequence[str] = ("noisy", "clean"),
    words: str | int | Span | Sequence[str | int | Span] = (),
    picture: int = 0,
    width: float = WIDTH,
) -> Sheet:
    """A matplotlib figure of steps x views, for papers and notebooks; its text stays text.

    In files it has a white background and black text. In a notebook it has no background, so that
    it can be read in light and dark themes.

    ``steps``: how many, spread evenly over the run, or a list of their indices in the run (0, 1,
    ..., or -1 for the last). Each has a column; the last column is the final image. ``views``:
    "noisy" and "clean", a row each. ``words``: a word as `Trace.heat_map` takes it, or a list of
    them; (2, 5) is a span of characters, [2, 5] is two words. Each has a row: its heat map at every
    step over the clean image, and in the last column that of the run over the final image. The run
    must have been made with ``attention=True``. ``picture``: the image's index in the batch.
    ``width``: in inches, 2 to 20.

    ``trace.contact_sheet().savefig("cat.pdf")`` writes it. Raises InputError.
    """
    stills = Stills(record, picture)
    chosen = _chosen(record, steps)
    views = [checks.choice("view", view, tuple(VIEWS)) for view in _several(views)]
    words = _several(words)
    if not views and not words:
        raise InputError("The sheet is empty.\nGive views or words.", parameter="views")
    width = checks.real("width", width, 2, 20)
    rows = [_view_row(stills, view, chosen, last=view == views[-1]) for view in views]
    rows += [_heat_row(stills, word, chosen) for word in words]
    titles = [f"step {step.index}\nσ {_level(step.sigma)}" for step in chosen]
    if stills.final is not None:
        titles.append("image" if record.complete else "best guess")
    return _drawn(rows, titles, _caption(record, stills.picture), width)


def ablation_sheet(ablation: Ablation, *, width: float = WIDTH) -> Sheet:
    """What a word did, in a row: the image with and without it, the change, where it looked."""
    width = checks.real("width", width, 2, 20)
    before = Stills(ablation.before, ablation.picture)
    after = Stills(ablation.trace)
    word, other = plain(ablation.word), plain(ablation.replacement)
    cells = [
        (f"with “{word}”", before.final or before.end),
        (f"with “{other}”" if other else "without", after.final or after.end),
        ("what changed", before.coloured(stretched(ablation.change))),
    ]
    if ablation.heat is not None:
        cells.append((f"where “{word}” looked", before.coloured(stretched(ablation.heat))))
    said = "" if ablation.correlation is None else f"correlation {ablation.correlation:.2f}"
    row = _Row("", [image for _, image in cells], math=False)
    prompt = plain(ablation.before.settings.prompts[before.picture])
    titles = [textwrap.shorten(title, 24, placeholder="…") for title, _ in cells]
    return _drawn([row], titles, (f"“{prompt}”", said), width)


def comparison_png(records: Sequence[Record], labels: Sequence[str], *, width: int = 560) -> bytes:
    """The images of several runs in a row, each under its label, as a small PNG.

    Raises InputError.
    """
    stills = [Stills(record) for record in records]
    row = _Row("", [one.final or one.end for one in stills], math=False)
    titles = [textwrap.fill(plain(label), 64 // len(records), max_lines=2) for label in labels]
    return _small(_drawn([row], titles, ("", ""), width / 100))


def sheet_png(
    record: Record,
    *,
    steps: int = 5,
    words: Sequence[str | int | Span] = (),
    picture: int = 0,
    width: int = 560,
) -> bytes:
    """The sheet as a small PNG, ``width`` pixels wide, in few colours.

    Notebooks and pages show it where no script runs. Raises InputError.
    """
    return _small(
        contact_sheet(record, steps=steps, words=words, picture=picture, width=width / 100)
    )


def _small(sheet: Sheet) -> bytes:
    few, opacity = _few_colours(Image.open(io.BytesIO(sheet.on_screen(100))).convert("RGBA"))
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True, transparency=opacity)
    return buffer.getvalue()


def _few_colours(image: Image.Image) -> tuple[Image.Image, bytes]:
    """The image in 240 opaque colours, and ink in 16 steps from clear to opaque; the opacities."""
    from .figure import INK

    rgb = image.convert("RGB")
    palette = rgb.reduce(2).quantize(240)  # a quarter of the pixels, a tenth of the time
    few = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    ink = np.array(ImageColor.getrgb(INK), np.uint8)
    pixels, indices = np.asarray(image), np.array(few)
    written = (pixels[..., 3] < 255) | (pixels[..., :3] == ink).all(-1)
    indices[written] = 240 + (pixels[written, 3] / 17).round().astype(np.uint8)
    colours = np.tile(ink, (256, 1))
    known = np.reshape(palette.getpalette() or (), (-1, 3))[:240]
    colours[: len(known)] = known
    result = Image.frombytes("P", image.size, indices.tobytes())
    result.putpalette(colours.tobytes())
    return result, bytes([255] * 240 + [17 * i for i in range(16)])


@dataclass(frozen=True)
class _Row:
    label: str
    images: list[Image.Image | None]  # None leaves a gap
    math: bool  # whether the label has symbols; a person's words never do


def _view_row(stills: Stills, view: str, chosen: Sequence[TraceStep], *, last: bool) -> _Row:
    """A view of each step; the last of these rows ends with the final image."""
    images: list[Image.Image | None] = [stills.view(view, step) for step in chosen]
    return _Row(LABELS[view], [*images, stills.final if last else None], math=True)


def _heat_row(stills: Stills, word: str | int | Span, chosen: Sequence[TraceStep]) -> _Row:
    images: list[Image.Image | None] = [
        overlaid(stills.clean(step), stills.heat(word, step)) for step in chosen
    ]
    if stills.final is not None:
        images.append(overlaid(stills.final, stills.heat(word)))
    shown = plain(_written(word, stills))
    if len(shown) > LONGEST_WORD:
        shown = shown[: LONGEST_WORD - 1] + "…"
    return _Row(f"heat of\n“{shown}”", images, math=False)


def _written(word: str | int | Span, stills: Stills) -> str:
    """A word that is in the prompt, as it is written there."""
    tokens = stills.record.tokens[stills.picture]
    if isinstance(word, str):
        return word
    if checks.is_whole(word):
        return tokens.words[word].text  # type: ignore[index]
    start, end = word  # type: ignore[misc]
    return tokens.prompt[start:end]


def _chosen(record: Record, steps: object) -> list[TraceStep]:
    """That many steps, or those asked for."""
    if isinstance(steps, (list, tuple, range, np.ndarray)) and np.size(steps):
        return record.chosen_steps(steps)  # type: ignore[arg-type]
    most = checks.whole("steps", steps, 1, 50)
    return [record.steps[i] for i in evenly(len(record.steps), most)]


def _several(given: Any) -> list[Any]:
    """A list of what was given, one or several; a pair of numbers is one word's span."""
    is_span = isinstance(given, tuple) and len(given) == 2 and all(map(checks.is_whole, given))
    if is_span or isinstance(given, str):
        return [given]
    try:
        return list(given)
    except Exception:  # a single thing, or one whose iteration fails
        return [given]


def _level(sigma: float) -> str:
    """A noise level as the viewers write it."""
    return f"{sigma:.2f}" if sigma < 100 else f"{sigma:.0f}"


def _caption(record: Record, picture: int) -> tuple[str, str]:
    """What was asked, and whatever else is known that the image can be made again with."""
    settings = record.settings
    own = picture if picture < settings.batch_size else 0  # someone's own loop may make more
    prompt = plain(settings.prompts[own])
    known = [record.model, settings.sampler, f"{record.expected or len(record.steps)} steps"]
    if settings.guidance_scale is not None:
        known.append(f"guidance {settings.guidance_scale:g}")
    if settings.seed is not None:
        known.append(f"seed {settings.seeds[own]}")
    return f"“{prompt}”" if prompt else "", plain(", ".join(part for part in known if part))


def plain(text: str) -> str:
    """A text on one line; □ stands for characters that the figure's font does not have."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    letters = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in letters)


@dataclass(frozen=True)
class _Layout:
    """Where things are, in inches from the upper left corner."""

    width: float
    points: float  # of the text
    left: float  # where the images begin
    side: float  # width of an image
    high: float  # its height
    below: float  # where the caption begins

    @classmethod
    def of(cls, rows: Sequence[_Row], columns: int, width: float) -> _Layout:
        """The layout that fills the width. InputError if images were narrower than titles."""
        points = 9.5 if width >= 5 else 7.5  # 13 and 10 pixels in a small sheet on a page
        em = points / 72
        longest = max(len(line) for row in rows for line in row.label.split("\n"))
        left = LETTER * em * longest + 0.5 * em
        side = (width - left - GAP * em * (columns - 1)) / columns
        if side < 4 * em:
            needed = left + columns * (4 + GAP) * em
            raise InputError(
                f"{columns} columns are too many for {width:g} inches.\n"
                f"Give fewer steps, or a width of {needed + 0.05:.1f} or more.",
                parameter="width",
            )
        first = next(image for row in rows for image in row.images if image is not None)
        high = side * first.height / first.width
        below = (TOP + 0.6) * em + len(rows) * (high + GAP * em)
        return cls(width, points, left, side, high, below)

    @property
    def em(self) -> float:
        """The size of the text."""
        return self.points / 72

    @property
    def letters(self) -> int:
        """How many letters fit into a line."""
        return int(self.width / (LETTER * self.em))

    def cell(self, row: int, column: int) -> tuple[float, float]:
        """The upper left corner of an image."""
        gap = GAP * self.em
        return self.left + column * (self.side + gap), TOP * self.em + row * (self.high + gap)


def _drawn(
    rows: Sequence[_Row], titles: Sequence[str], caption: tuple[str, str], width: float
) -> Sheet:
    """The figure, with one pair of axes over all of it."""
    from .figure import Sheet

    layout = _Layout.of(rows, len(titles), width)
    em = layout.em
    asked = textwrap.wrap(caption[0], layout.letters, max_lines=CAPTION_LINES, placeholder=" …")
    height = layout.below + LINE * em * (len(asked) + 1)
    sheet = Sheet(figsize=(width, height), dpi=200)
    axes = sheet.add_axes((0, 0, 1, 1))

    def write(x: float, y: float, text: str, *, va: str = "top", **look: Any) -> None:
        look = {"parse_math": False, **look}
        sheet.write(x, y, text, va=va, size=layout.points, **look)

    untitled = dict(enumerate(titles))
    for r, row in enumerate(rows):
        middle = layout.cell(r, 0)[1] + layout.high / 2
        write(0.1 * em, middle, row.label, parse_math=row.math, va="center")
        for c, image in enumerate(row.images):
            if image is not None:
                x, y = layout.cell(r, c)
                axes.imshow(image, extent=(x, x + layout.side, y + layout.high, y))
                title = untitled.pop(c, "")  # above the first of its column
                write(x + layout.side / 2, y - GAP * em, title, ha="center", va="bottom")
    write(0.1 * em, layout.below, "\n".join(asked))
    write(0.1 * em, layout.below + LINE * em * len(asked), caption[1], color="0.35")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.set_axis_off()
    return sheet
