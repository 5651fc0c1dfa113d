"""A run as one page that plays anywhere: its data and the viewer's script in one file, no network.

Above the viewer is the prompt as the page's heading, below it all settings.

Nothing that a person wrote can become markup: the data are JSON without a single ``<``, and all
other text is escaped. The page cannot fetch or run anything else: its own policy allows only its
one script, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import shortened
from ..contract import EXPORT_LIMITS, EXPORTED, LONGEST_SIDE, NUMBERED, PAGE, PANELS, numbered
from ..frontend import bundle
from .about import about, headline, summary
from .images import encode_jpeg
from .png import png
from .record import Record
from .reel import header_of, pack
from .sheet import sheet_png
from .thinning import evenly
from .writing import write_file

LARGEST_RUN = EXPORT_LIMITS["run"]
LARGEST_PICTURE = EXPORT_LIMITS["image"]
LONGEST_TITLE = EXPORT_LIMITS["title"]

SHEET = """\
<p>This run of a diffusion model can be played where scripts may run. Some of its steps:</p>
<img src="data:image/png;base64,{sheet}" alt="{description}" style="max-width: 100%">"""
"""What a page shows where scripts are off."""


def export_html(record: Record, path: str | os.PathLike[str]) -> Path:
    """Write a page that plays the run in any browser, offline; return its path.

    It is written whole or not at all and has at most 64 steps, spread evenly. Where scripts are off
    it shows the contact sheet. Raises InputError for a record without steps or a path that cannot
    be written, and SDWidgetsError if the front end was never built.
    """
    script = bundle("standalone.js").read_text("utf-8")
    style = bundle("standalone.css").read_text("utf-8")
    sheet = sheet_png(record)  # refuses a record without steps
    prompt = " ".join(record.prompt.split())
    panels = _panels(record)
    absent = PAGE["absent"] if "attention" not in panels else ""
    rows = "\n".join(
        f'<div><dt>{html.escape(name)}</dt><dd dir="auto">{html.escape(text)}</dd></div>'
        for name, text in about(record)
    )
    title = prompt[:LONGEST_TITLE]
    description = html.escape(f"Steps and image for: {title or 'no prompt'}")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = PAGE["document"].format(
        root=EXPORTED["root"],
        place=EXPORTED["data"],
        policy=PAGE["policy"].format(digest=digest),
        title=html.escape(f"{title or 'A run'} – sdwidgets"),
        heading=html.escape(shortened(headline(record), LONGEST_TITLE)),
        summary=html.escape(" · ".join(summary(record))),
        absent=absent,
        about=rows,
        style=style,
        still=SHEET.format(sheet=base64.b64encode(sheet).decode(), description=description),
        data=_as_json({"widget": "viewer", "state": _state(record, panels)}),
        script=script,
    )
    return write_file(path, page.encode("utf-8", "replace"))


def _panels(record: Record) -> list[str]:
    """The panels that have something to show."""
    empty = {
        "attention": not any(step.attention and step.attention.cross for step in record.steps),
        "tokens": not any(tokens.pieces for tokens in record.tokens),
        "control": not any(step.control for step in record.steps),
    }
    return [name for name in PANELS if not empty.get(name)]


def _state(record: Record, panels: Sequence[str]) -> dict[str, Any]:
    """The viewer's traits; those missing here have their defaults."""
    steps = [record.steps[i] for i in evenly(len(record.steps), NUMBERED["frame"])]
    longest = LONGEST_SIDE
    frames = [pack(step, longest=longest) for step in steps]
    while sum(map(len, frames)) > LARGEST_RUN and longest > 8:
        longest //= 2
        frames = [pack(step, longest=longest) for step in steps]
    message = f"{len(record.steps)} steps in {record.total:.1f} s"
    return {
        "header": header_of(record, 1),
        **dict(zip(numbered("frame"), frames, strict=False)),
        "pictures": [_image(record, i) for i in range(len(record.images))],
        "state": "done" if record.complete else "stopped",
        "message": "\n".join([message, *record.notices][:3]),
        "panels": list(panels),
    }


def _image(record: Record, index: int) -> dict[str, Any]:
    file = png(record, index)
    if len(file) <= LARGEST_PICTURE:
        return {"data": file, "type": "image/png"}
    return {"data": encode_jpeg(record.images[index].convert("RGB")), "type": "image/jpeg"}


def _as_json(value: Mapping[str, Any]) -> str:
    """JSON that is safe in a script element: ASCII, without characters that mean something in HTML.

    Bytes become {"$bytes": base64}, the key as the contract has it.
    """
    text = json.dumps(value, default=_as_base64, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _as_base64(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {EXPORTED["bytes"]: base64.b64encode(value).decode()}
    raise TypeError(f"a {type(value).__name__} is no JSON")
