"""PNG files that know what made them: the settings of a record written into them, and read back."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import checks
from ..contract import PARENT
from ..errors import ImageError, InputError
from ..foreign import read as read_foreign
from ..pictures import opened_for_settings
from ..settings import PROMPT_LENGTH, Settings
from ..sources import MOST, NAME_LIMIT, QUICK, hashed
from ..strict_json import parse
from . import older
from .images import TEXT_KEY, encode_png
from .record import Record
from .writing import write_file

GIVEN = ("image", "mask", "depth", "label_map", "neighbours", "latents", "control", "guide")
"""What a run may be given beside settings."""

# Characters of a record in a file: two prompts, what was cut, the names of sources (a character may
# take six, "\u0000"), its parents, and the rest.
_MAX_TEXT = 6 * (3 * PROMPT_LENGTH + MOST * NAME_LIMIT) + PARENT["text"] + (1 << 16)


def settings_record(record: Record, picture: int | None = 0) -> dict[str, Any]:
    """What is written into an image's file; see `Trace.record`. None: for the whole batch."""
    settings, parent, cut = record.settings, record.parent, ""
    if picture is not None:
        picture = checks.index("picture", picture, record.batch_size)
        # a caller's own steps have no seed, and may have more images than the settings say
        if settings.seed is not None and picture < settings.batch_size:
            settings = settings.of_picture(picture)
        if parent is not None:
            parent = parent.of_picture(picture)
        cut = record.cut[picture] if picture < len(record.cut) else ""
    made: dict[str, Any] = {
        "model": record.model,
        "task": record.task,
        "settings": settings.as_dict(),
        "settings_format": older.FORMAT,
        "versions": dict(record.versions),
    }
    more = {
        "fingerprint": record.fingerprint,
        "prediction": record.prediction,
        "prediction_source": record.prediction_source,
        "sources": [one.as_dict() for one in hashed(record.sources, QUICK)],
        "given": [name for name in GIVEN if _was_given(record, name)],
        "guide": dict(record.given_guide or {}),
        "controls": [control.as_dict() for control in record.given_controls],
        "cut": cut,
        "notices": list(record.notices),
        "parent": None if parent is None else parent.as_dict(),
    }
    made |= {name: value for name, value in more.items() if value}
    return made if record.complete else {**made, "complete": False}


def _was_given(record: Record, name: str) -> bool:
    """Whether a run was given what has that name in `GIVEN`."""
    given = record.given_controls if name == "control" else getattr(record, f"given_{name}")
    return len(given) > 0 if isinstance(given, tuple) else given is not None


def png(record: Record, picture: int = 0) -> bytes:
    """The bytes of an image's PNG with its settings inside; see `Trace.png`."""
    picture = checks.index("picture", picture, len(record.images))
    return encode_png(record.images[picture], settings_record(record, picture))


def save_png(record: Record, path: str | os.PathLike[str], picture: int = 0) -> Path:
    """Write the PNG of `png`; see `Trace.save_image`."""
    path = checks.path("path", path)
    if path.suffix.lower() not in ("", ".png"):
        raise InputError(
            f"An image with its settings inside is a PNG, not {checks.shown(path.suffix)}.\n"
            "Give a name that ends in .png; trace.image.save(...) writes others, without settings.",
            parameter="path",
        )
    return write_file(path, png(record, picture))


def read_record(source: str | os.PathLike[str] | bytes) -> dict[str, Any] | None:
    """The record inside a PNG (path or bytes) as `Trace.record` writes it; None if it has none.

    Settings that an older version wrote are those that make the same image today.

    It is plain data that anyone can have written; whether a model takes it, say
    ``Settings(**record["settings"]).checked(config)``. Raises ImageError for a file that cannot be
    read.
    """
    with opened_for_settings(source) as image:
        text = image.info.get(TEXT_KEY)
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            return None
        record = parse(text, subject="its JSON is ")
    return older.translated(record) if isinstance(record, dict) else None


def record_in(source: str | os.PathLike[str] | bytes) -> dict[str, Any] | None:
    """The record inside an image (path or bytes), also of another program; None if it has none.

    For an image of AUTOMATIC1111, ComfyUI, InvokeAI, NovelAI, Fooocus or stable-diffusion.cpp, a
    record with the settings that were found, the ``program``, and what has no setting here,
    ``left_out``. Raises ImageError for a file that cannot be read.
    """
    record = read_record(source)
    if record is not None:
        return record
    found = read_foreign(source)
    if found is None:
        return None
    settings = found.settings()
    return {
        "program": found.program,
        "model": settings.model,
        "task": found.task,
        "settings": settings.as_dict(),
        "settings_format": older.FORMAT,
        "given": found.given,
        "left_out": dict(settings.left_out),
    }


def read_settings(source: str | os.PathLike[str] | bytes, *, partial: bool = False) -> Settings:
    """The settings inside an image (path or bytes), of this kit or of another program.

    In a PNG that `Trace.save_image` or the Studio wrote, they are all settings of the run:
    ``model.generate(**read_settings("cat.png").as_dict())`` makes the image again, with the model
    that `read_record` names. If the run was stopped, it makes what that run would have made.

    Images of AUTOMATIC1111, ComfyUI, InvokeAI, NovelAI, Fooocus and stable-diffusion.cpp give a
    `FoundSettings`, which also says what was left out. The same settings make an image alike, and
    not the same: other programs draw their noise in other ways.

    An image, a mask, latents or controls that the run was given are not in the file. Settings that
    need them are returned only if ``partial`` is true, for
    ``generate(image=..., **settings.as_dict())``, and so are those of a branch or an edit, which
    make another image; those of another program are always returned.

    Raises ImageError if the file has no settings; InputError if the run was given more than
    settings, or if no run takes them.
    """
    record = read_record(source)
    if record is None:
        found = read_foreign(source)
        if found is None:
            raise ImageError("This image has no settings inside.", parameter="image")
        return found.settings()
    settings = settings_in(record)
    above = record.get("parent")
    how = above.get("how") if isinstance(above, dict) else None
    if how in ("branch", "edit") and not partial:
        what = "a branch" if how == "branch" else "an edit"
        raise InputError(
            f"This image was made as {what} of another run, so its settings alone do not make it.\n"
            "Use read_settings(..., partial=True) for a new run with them.",
            parameter="partial",
        )
    needed = given_to(record)
    if needed and not partial:
        raise InputError(
            f"This image was made from more than settings: also given {' and '.join(needed)}.\n"
            "Use read_settings(..., partial=True), and give the same again.",
            parameter="partial",
        )
    return settings


def settings_in(record: dict[str, Any]) -> Settings:
    """The settings in a record that `read_record` returned; ImageError or InputError as above."""
    settings = record.get("settings")
    if not isinstance(settings, dict):
        raise ImageError("This image has no settings inside.", parameter="image")
    known = {each.name for each in fields(Settings)}
    # a newer version may have written more; JSON turns tuples into lists, which are taken, too
    return Settings(**{name: value for name, value in settings.items() if name in known}).checked()


def given_to(record: dict[str, Any]) -> list[str]:
    """What a run was given beside its settings, as its record and its task say."""
    said, task = record.get("given"), record.get("task")
    by_task = {
        "image to image": ["image"],
        "outpainting": ["image"],
        "inpainting": ["image", "mask"],
    }
    needed = [*(said if isinstance(said, list) else []), *by_task.get(str(task), [])]
    return [name for name in GIVEN if name in needed]
