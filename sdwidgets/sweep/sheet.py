"""Contact sheets of a sweep: images in columns and rows, with the axes' labels.

Each value of the third axis has a page, and what would be too large has more.

matplotlib draws the labels; images of files are put in at their full size, pixel by pixel.
"""

from __future__ import annotations

import io
import json
import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin

from .. import checks
from ..errors import InputError
from ..trace.writing import write_file
from .plan import Plan
from .results import Result

if TYPE_CHECKING:
    from ..trace.figure import Sheet

MOST_PIXELS = 200_000_000
"""The most pixels of a page: larger images are not opened by many programs."""
WIDTH = 6.75
"""Inches: the text width of a page."""
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WEBP_SIDE = 16383  # the format's limit
JPEG_SIDE = 65500
LINES = 3  # of a label
LETTER = 0.62  # width of a letter, in ems
POINTS = 8.0  # of the text of a figure


@dataclass(frozen=True)
class Page:
    """A page: some columns and rows of the grid at one value of the third axis.

    ``title``: its value on the third axis, "" without one. ``places``: the place of each cell, row
    by row. ``columns``, ``rows``: their labels.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]


def pages(
    plan: Plan, cell: tuple[int, int], most: int = MOST_PIXELS, margin: int = 0
) -> tuple[Page, ...]:
    """The pages of a sheet with cells of (width, height) pixels, none above ``most`` pixels.

    ``margin``: pixels for labels along the left and the top.
    """
    columns, rows, third = _sizes(plan)
    width, height = cell
    wide = max(min(columns, (int(most**0.5) - margin) // width), 1)
    tall = max((most // (wide * width + margin) - margin) // height, 1)
    if tall >= rows:  # the columns may be more, then
        tall = rows
        wide = max(min(columns, (most // (rows * height + margin) - margin) // width), 1)
    made = []
    for page in range(third):
        for top in range(0, rows, tall):
            for left in range(0, columns, wide):
                across = range(left, min(left + wide, columns))
                down = range(top, min(top + tall, rows))
                made.append(_page(plan, across, down, page))
    return tuple(made)


def _sizes(plan: Plan) -> tuple[int, int, int]:
    columns, rows, third = (*plan.shape, 1, 1)[:3]
    return columns, rows, third


def _page(plan: Plan, across: Sequence[int], down: Sequence[int], page: int) -> Page:
    places = tuple((column, row, page)[: len(plan.axes)] for row in down for column in across)

    def named(axis: int, at: int) -> str:
        if axis >= len(plan.axes):
            return ""
        return plan.axes[axis].captions[at]

    return Page(
        named(2, page),
        tuple(named(0, column) for column in across),
        tuple(named(1, row) for row in down),
        places,
    )


# ------------------------------------------------------------------------------------ as a figure


def contact_sheets(
    plan: Plan, results: Mapping[int, Result], *, width: float = WIDTH
) -> list[Sheet]:
    """A matplotlib figure for each value of the third axis; one, if there are fewer axes.

    Its text stays text. ``width``: in inches, 2 to 40. A cell without an image says why, or is
    empty. Raises InputError if there is no image yet, or if images were narrower than a letter.
    """
    width = checks.real("width", width, 2, 40)
    cell = _cell_size(results)
    return [
        _figure(plan, page, results, width, cell)
        for page in pages(plan, cell, most=10**18)  # figures have their own resolution
    ]


def _figure(
    plan: Plan, page: Page, results: Mapping[int, Result], width: float, cell: tuple[int, int]
) -> Sheet:
    from ..trace.figure import Sheet
    from ..trace.sheet import plain

    em = POINTS / 72
    has_rows = any(page.rows)
    left = min(11 * em, width / 4) if has_rows else 0.0
    gap = 0.4 * em
    count = len(page.columns)
    side = (width - left - gap * (count - 1)) / count
    if side < 2 * em:
        raise InputError(
            f"{count} columns are too many for {width:g} inches.\n"
            f"Give a width of {left + count * (2 * em + gap):.1f} or more, or save a file.",
            parameter="width",
        )
    high = side * cell[1] / cell[0]
    letters = max(int(side / (LETTER * em)), 3)
    titles = [_wrapped(plain(one), letters) for one in page.columns]
    top = 1.35 * em * (max(title.count("\n") for title in titles) + 1) + gap
    heading = 1.6 * em if page.title else 0.0
    said = _wrapped(plain(_caption(plan)), int(width / (LETTER * em)))
    below = 1.35 * em * (said.count("\n") + 1) + gap
    whole = heading + top + len(page.rows) * (high + gap) + below
    sheet = Sheet(figsize=(width, whole), dpi=200)
    axes = sheet.add_axes((0, 0, 1, 1))

    def write(x: float, y: float, text: str, **look: Any) -> None:
        sheet.write(x, y, text, size=POINTS, parse_math=False, **look)

    if page.title:
        write(0.1 * em, 0.2 * em, plain(page.title), va="top", weight="bold")
    for column, title in enumerate(titles):
        x = left + column * (side + gap) + side / 2
        write(x, heading + top - gap, title, ha="center", va="bottom")
    row_letters = max(int(left / (LETTER * em)) - 1, 3)
    for number, place in enumerate(page.places):
        row, column = divmod(number, count)
        x, y = left + column * (side + gap), heading + top + row * (high + gap)
        if column == 0 and has_rows:
            name = _wrapped(plain(page.rows[row]), row_letters)
            write(0.1 * em, y + high / 2, name, va="center")
        result = results.get(plan.index(place))
        if result is None:
            continue
        if not result.ok:
            why = _wrapped(plain(f"{type(result.error).__name__}"), letters)
            write(x + side / 2, y + high / 2, why, ha="center", va="center", color="0.35")
            continue
        image = result.image
        scale = min(side / image.width, high / image.height)
        w, h = image.width * scale, image.height * scale
        x, y = x + (side - w) / 2, y + (high - h) / 2
        axes.imshow(image, extent=(x, x + w, y + h, y))
    write(0.1 * em, whole - below + gap, said, va="top", color="0.35")
    axes.set(xlim=(0, width), ylim=(whole, 0), xticks=[], yticks=[])
    axes.set_axis_off()
    return sheet


def _wrapped(text: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(text, letters, max_lines=LINES, placeholder=" …"))


def _caption(plan: Plan) -> str:
    """What all images have in common, in words."""
    fixed = {"model": "", **plan.fixed}
    if "seed" not in {axis.name for axis in plan.axes} and fixed.get("seed") is None:
        fixed["seed"] = plan.seed
    for name, text in plan.texts.items():
        fixed[name] = text
    known = [f"{name.replace('_', ' ')}: {value}" for name, value in fixed.items() if value]
    return ", ".join(known)


# ---------------------------------------------------------------------------------------- as files


def save_sheet(
    plan: Plan,
    results: Mapping[int, Result],
    path: str | os.PathLike[str],
    *,
    most: int = MOST_PIXELS,
    tell: Callable[[str], object] | None = None,
) -> list[Path]:
    """Write the sheet with every image at its full size; return the paths of its pages.

    A .png, .jpg or .webp file for each value of the third axis, and for each part of a page of more
    than ``most`` pixels, of which ``tell`` is told. Pages are numbered: "cats-1.png". A .pdf has
    all pages, as `contact_sheets` draws them. A PNG has the sweep's settings inside. Files are
    written whole or not at all. Raises InputError.
    """
    path = checks.path("path", path)
    most = checks.whole("most", most, 2**16, 2**31)
    kind = path.suffix.lower()
    if kind == ".pdf":
        return [_pdf(plan, results, path)]
    if kind not in FORMATS:
        raise InputError(
            f"A sheet is a .png, .jpg, .webp or .pdf file, not {checks.shown(path.suffix)}.",
            parameter="path",
        )
    cell = _cell_size(results)
    look = _Look.of(plan, cell)
    made = pages(plan, look.step, most, max(look.left, look.top))
    for page in made:  # before any is written
        _check_sides(look.side_of(page), kind)
    third = _sizes(plan)[2]
    if len(made) > third and tell is not None:
        tell(
            f"The sheet has more than {most / 1e6:g} megapixels, so it was written in "
            f"{len(made)} files."
        )
    digits = len(str(len(made)))
    written = []
    for number, page in enumerate(made, 1):
        name = path if len(made) == 1 else path.with_stem(f"{path.stem}-{number:0{digits}}")
        image = _drawn(plan, page, results, look)
        written.append(write_file(name, _encoded(image, plan, kind)))
    return written


def _encoded(image: Image.Image, plan: Plan, kind: str) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 92}
    if kind == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("sdwidgets sweep", json.dumps(plan.identity, ensure_ascii=True))
        options = {"pnginfo": info, "compress_level": 4}
    image.save(buffer, FORMATS[kind], **options)
    return buffer.getvalue()


def _check_sides(side: int, kind: str) -> None:
    """Raise InputError for a longer side than a file of that kind may have."""
    limit = {".webp": WEBP_SIDE, ".jpg": JPEG_SIDE, ".jpeg": JPEG_SIDE}.get(kind, 2**31)
    if side > limit:
        raise InputError(
            f"A {kind} file has at most {limit:,} pixels a side; this sheet has {side:,}.\n"
            "Give a name that ends in .png.",
            parameter="path",
        )


def _pdf(plan: Plan, results: Mapping[int, Result], path: Path) -> Path:
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    columns = _sizes(plan)[0]
    with PdfPages(buffer) as file:
        for sheet in contact_sheets(plan, results, width=min(max(WIDTH, columns * 0.8), 40)):
            file.savefig(sheet)
    return write_file(path, buffer.getvalue())


def _cell_size(results: Mapping[int, Result]) -> tuple[int, int]:
    """The (width, height) that the largest images have. Raises InputError if there is none."""
    sizes = [result.settings.final_size for result in results.values() if result.ok]
    if not sizes:
        raise InputError("There is no image yet, so there is no sheet.")
    return max(width for width, _ in sizes), max(height for _, height in sizes)


@dataclass(frozen=True)
class _Look:
    """The sizes of a page in pixels: of a cell, of the text, and of the labels' room."""

    cell: tuple[int, int]
    size: int
    left: int
    top: int

    @classmethod
    def of(cls, plan: Plan, cell: tuple[int, int]) -> _Look:
        size = max(min(cell) // 12, 11)
        rows = plan.axes[1].captions if len(plan.axes) > 1 else ()
        longest = min(max(map(len, rows), default=0), 18)
        left = int(LETTER * size * longest) + 2 * size if rows else 0
        heading = 2 * size if len(plan.axes) > 2 else 0
        return cls(cell, size, left, heading + 2 * size * LINES)

    @property
    def step(self) -> tuple[int, int]:
        """The width and height of a cell with the gap behind it."""
        gap = max(self.size // 4, 2)
        return self.cell[0] + gap, self.cell[1] + gap

    def side_of(self, page: Page) -> int:
        """The longer side of a page, at most."""
        width, height = self.step
        return max(self.left + len(page.columns) * width, self.top + len(page.rows) * height)


def _drawn(plan: Plan, page: Page, results: Mapping[int, Result], look: _Look) -> Image.Image:
    """A page in pixels: labels around images at their full size."""
    (width, height), (across, down), size, left = look.cell, look.step, look.size, look.left
    count = len(page.columns)
    titles = [_label(one, width, size) for one in page.columns]
    heading = _label(page.title, left + count * across, size) if page.title else None
    top = max(title.height for title in titles) + size // 2
    top += heading.height + size // 2 if heading else 0
    whole = Image.new("RGB", (left + count * across, top + len(page.rows) * down), "white")
    if heading:
        whole.paste(heading, (0, size // 4))
    for column, title in enumerate(titles):
        x = left + column * across + (width - title.width) // 2
        whole.paste(title, (x, top - title.height - size // 4))
    for number, place in enumerate(page.places):
        row, column = divmod(number, count)
        x, y = left + column * across, top + row * down
        if column == 0 and left:
            name = _label(page.rows[row], left - size // 2, size)
            whole.paste(name, (size // 4, y + (height - name.height) // 2))
        result = results.get(plan.index(place))
        if result is None:
            continue
        image = result.image if result.ok else _label(type(result.error).__name__, width, size)
        whole.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    return whole


def _label(text: str, width: int, size: int) -> Image.Image:
    """A text in black on white, ``size`` pixels high, at most ``width`` wide; cut if it is long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..trace.sheet import plain

    said = _wrapped(plain(text), max(int(width / (LETTER * size)), 2))
    lines = said.count("\n") + 1
    high = math.ceil(1.35 * size * lines)
    figure = Figure(figsize=(max(width, 1) / 100, high / 100), dpi=100, facecolor="white")
    figure.text(
        0.5, 0.5, said, size=size * 72 / 100, ha="center", va="center", parse_math=False,
        usetex=False,
    )  # fmt: skip
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()))
    return drawn.convert("RGB")
