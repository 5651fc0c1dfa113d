"""The run from which another came: a branch, an edit, the second pass of an enlarged image."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..checks import is_whole
from ..contract import MOST_CONTROLS, PARENT
from ..settings import LIMITS, Settings
from ..sources import MOST, Source
from . import checked, older
from .png import GIVEN, settings_record
from .record import GivenControl

if TYPE_CHECKING:
    from .record import Record

DEPTH = PARENT["depth"]
"""The most parents of a record in a file, each the parent of the one before."""
TEXT = PARENT["text"]  # characters of their JSON together


@dataclass(frozen=True, eq=False)
class Parent:
    """The run from which another came, and how."""

    how: str  # "branch", "edit" or "hires"
    record: Mapping[str, Any] = field(repr=False)
    """What `Trace.record` returns for it, with the settings of all images of its batch; its own
    ``parent`` is in it in turn."""
    step: int = 0  # of a branch: how many first steps are the parent's own
    seed: int | tuple[int, ...] | None = None
    """Of a branch: the seed of the noise from that step on. None: the noise goes on as before."""
    edit: Mapping[str, Any] | None = None  # the arguments of an edit, plain data
    trace: Record | None = field(default=None, repr=False)  # its record; never in a file

    @classmethod
    def of(
        cls,
        how: str,
        trace: Record,
        *,
        step: int = 0,
        seed: int | tuple[int, ...] | None = None,
        edit: Mapping[str, Any] | None = None,
    ) -> Parent:
        """The parent whose record is ``trace``."""
        return cls(how, settings_record(trace, None), step, seed, edit, trace)

    def without_trace(self) -> Parent:
        """This parent as plain data alone, which holds no steps and images in memory."""
        return replace(self, trace=None)

    def of_picture(self, picture: int) -> Parent:
        """The parent of image ``picture`` alone, as plain data; of this one if it has no batch.

        An edit has a single image, of the one that it names.
        """
        made = {"record": self.record, "seed": self.seed, "edit": self.edit}
        return replace(self, trace=None, **_of_picture(made, picture))

    def as_dict(self) -> dict[str, Any]:
        """The plain data for JSON: ``how`` and ``record``, and the fields that are not empty.

        Parents of parents beyond `DEPTH`, and those that would be longer than `TEXT` together, are
        left out.
        """
        made: dict[str, Any] = {"how": self.how, "record": self.record}
        made |= {"step": self.step} if self.step else {}
        made |= {} if self.seed is None else {"seed": self.seed}
        least = {**made, "record": _without_texts(self.record)}
        made |= {} if self.edit is None else {"edit": self.edit}
        return _trimmed(made, DEPTH, TEXT) or least

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Parent:
        """The parent that `as_dict` describes, with settings in today's format.

        Nothing is believed: ValueError for what no parent has. Unknown fields are left out.
        """
        return cls(**_parent(given, DEPTH))


def _trimmed(parent: Mapping[str, Any], depth: int, room: int) -> dict[str, Any] | None:
    """The parent, with as many of its own parents as there may be; None if it has no room."""
    record = {name: value for name, value in parent["record"].items() if name != "parent"}
    made: dict[str, Any] = {**parent, "record": record}
    room -= len(json.dumps(made))
    if depth == 0 or room < 0:
        return None
    if above := parent["record"].get("parent"):
        above = _trimmed(above, depth - 1, room)
    return {**made, "record": record | ({"parent": above} if above else {})}


def _without_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a record whose texts are too long for a file."""
    kept = {name: record[name] for name in ("model", "task", "settings_format")}
    return {**kept, "settings": {**record["settings"], "prompt": "", "negative_prompt": ""}}


def _of_picture(parent: Mapping[str, Any], picture: int) -> dict[str, Any]:
    """The plain data of a parent, for one image of its batch."""
    record, seed, edit = dict(parent["record"]), parent.get("seed"), parent.get("edit")
    settings = Settings(**record["settings"])
    if edit is not None and is_whole(named := edit.get("picture", 0)):
        picture, edit = named, {name: edit[name] for name in edit if name != "picture"}
        parent = {**parent, "edit": edit}
    if settings.seed is None or not 0 <= picture < settings.batch_size > 1:
        return dict(parent)
    record["settings"] = settings.of_picture(picture).as_dict()
    if "parent" in record:
        record["parent"] = _of_picture(record["parent"], picture)
    if seed is not None:
        seed = seed[picture] if isinstance(seed, (tuple, list)) else seed + picture
    return {**parent, "record": record} | ({} if seed is None else {"seed": seed})


# ----------------------------------------------------------------------- from data of strangers


def _parent(given: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The fields of a parent, checked."""
    if depth == 0:
        raise ValueError(f"its parents are more than {DEPTH}")
    made: dict[str, Any] = {
        "how": checked.text(given, "how"),
        "record": _record(checked.mapping(given, "record"), depth),
        "step": checked.whole({"step": 0, **given}, "step", 0, PARENT["step"]),
    }
    if given.get("seed") is not None:
        made["seed"] = seed_of(given["seed"])
    if given.get("edit") is not None:
        made["edit"] = checked.mapping(given, "edit")
    return made


def seed_of(seed: Any) -> int | tuple[int, ...]:
    """A seed, or those of a batch, out of JSON that is not trusted."""
    low, high = LIMITS["seed"]
    seeds = seed if isinstance(seed, list) else [seed]
    count = len(seeds)
    if not (
        1 <= count <= LIMITS["batch_size"][1]
        and checked.are_whole(seeds, (low,) * count, (high,) * count)
    ):
        raise ValueError(f"the seed of its parent is {reprlib.repr(seed)}")
    return tuple(seeds) if isinstance(seed, list) else seeds[0]


def _record(given: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """What `Trace.record` returned for a parent, checked."""
    versions = checked.mapping({"versions": {}, **given}, "versions")
    made: dict[str, Any] = {
        "model": checked.text(given, "model"),
        "task": checked.text(given, "task"),
        "settings": _settings(given),
        "settings_format": older.FORMAT,
        "versions": {name: checked.text(versions, name) for name in versions},
    }
    for name in ("fingerprint", "prediction", "prediction_source", "cut"):
        made |= {name: checked.text(given, name)} if name in given else {}
    if "sources" in given:
        sources = checked.mappings(given, "sources", MOST)
        made["sources"] = [Source.from_dict(one).as_dict() for one in sources]
    if "given" in given:
        made["given"] = list(checked.texts(given, "given", len(GIVEN)))
    if "controls" in given:
        controls = checked.mappings(given, "controls", MOST_CONTROLS)
        made["controls"] = [GivenControl.from_dict(one).as_dict() for one in controls]
    if "guide" in given:
        guide = checked.mapping(given, "guide")
        made["guide"] = {**guide, "name": checked.text(guide, "name")}
    if "notices" in given:
        made["notices"] = list(checked.texts(given, "notices", 1_000))
    if "complete" in given:
        made["complete"] = checked.flag(given, "complete")
    if "parent" in given:
        above = _parent(checked.mapping(given, "parent"), depth - 1)
        made["parent"] = {name: value for name, value in above.items() if value or name != "step"}
    return made


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a parent in today's format; those that are not known are left out."""
    asked = older.settings_of({**given, "settings": checked.mapping(given, "settings")})
    known = {each.name for each in fields(Settings)}
    settings = Settings(**{name: value for name, value in asked.items() if name in known})
    resolved = settings.checked()
    return (replace(resolved, seed=None) if settings.seed is None else resolved).as_dict()
