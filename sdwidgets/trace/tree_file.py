"""Trees of runs in files, ``.sdtree``: written whole or not at all, and not trusted when read.

sealed.py says what the file is. Its JSON lists the runs, each after the one from which it came, as
the JSON of packing.py has a record; run n's tensors are named "n/...". What a run has from its
parent is stored once:

- ``shared``: of how many first steps the parent's are meant. The run lists only the others.
- ``same``: what it was given that its parent was given, too, and the preview factors.
- ``came``: its parent in `Record.parent` without the parent's own record.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from .. import checks
from ..contract import MOST_CONTROLS, PARENT, PRECISIONS
from ..errors import InputError
from ..settings import LIMITS
from . import checked
from .packing import packed, stored
from .parent import Parent, seed_of
from .record import Record
from .sealed import TENSOR_LIMIT, TREE, as_json, read, refusing, sealed, sentence, write
from .stored import STEP_LIMIT, Room
from .unpacking import unpacked

R = TypeVar("R", bound=Record)

LONGEST_NAME = 100
"""Characters of a node's name."""

RUN_LIMIT = 1_000
"""The most runs of a tree in a file."""

HOW = ("branch", "edit", "hires")
"""The ways in which a run came from another."""

_ID_LIMIT = 2**31
_GIVEN = (
    "given_image", "given_mask", "given_depth", "given_label_map", "given_latents", "factors",
)  # fmt: skip
"""What a run may have in common with its parent, by the names of its tensors and fields; and the
images of its controls."""
_CONTROL = re.compile(r"given_control\.(\d)")
_STEP = re.compile(r"steps\.(\d{1,6})\..*")


@dataclass(frozen=True)
class Row(Generic[R]):
    """A node of a tree as plain data; ``parent``: the id of the one from which it came."""

    id: int
    parent: int | None
    name: str
    picture: int | None
    trace: R


def save(rows: Sequence[Row[Any]], path: str | os.PathLike[str], *, precision: str) -> Path:
    """Write a tree into one file that `load` reads; return its path.

    ``rows``: its nodes, parents first. ``precision``: as in `file.save`, which says what is kept
    of each run. Steps that a run shares with its parent are stored once. Raises InputError for what
    cannot be kept or written.
    """
    path = checks.path("path", path)
    precision = checks.choice("precision", precision, PRECISIONS)
    if len(rows) > RUN_LIMIT:
        raise InputError(
            f"The tree has {len(rows):,} runs; a file holds at most {RUN_LIMIT:,}.\nPrune some.",
            parameter="tree",
        )
    known: dict[int, tuple[dict[str, Any], dict[str, np.ndarray]]] = {}
    runs: list[dict[str, Any]] = []
    content: dict[str, np.ndarray] = {}
    try:
        for number, row in enumerate(rows):
            meta, tensors = packed(row.trace, precision)
            again = unpacked(json.loads(as_json(meta)), tensors, Record)
            meta["stored"] = stored(row.trace, again, precision)
            known[row.id] = meta, tensors
            run = {"id": row.id, "parent": row.parent, "name": row.name, "picture": row.picture}
            if row.parent is not None:
                meta, tensors, own = _without_parents(meta, tensors, *known[row.parent])
                run |= own | {"came": _came(row.trace.parent)}
            runs.append(run | {"record": meta})
            content |= {f"{number}/{name}": values for name, values in tensors.items()}
        whole = sealed(TREE, {"runs": runs}, content)
    except (TypeError, ValueError) as error:
        raise InputError(f"This tree cannot be saved: {sentence(error)}") from error
    return write(path, whole)


def load(path: str | os.PathLike[str], kind: type[R]) -> list[Row[R]]:
    """The nodes of the tree in a file that `save` wrote, parents first, with records as ``kind``.

    Needs neither torch nor a model. Raises InputError for a file that is not as it was written.
    """
    path = checks.path("path", path)
    with refusing(path):
        meta, tensors = read(TREE, path)
        return _loaded(checked.mappings(meta, "runs", RUN_LIMIT), tensors, kind)


# -------------------------------------------------------------------------------------- writing


def _without_parents(
    meta: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    above: Mapping[str, Any],
    theirs: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """(A run's JSON and tensors without what it has from its parent, what that is)."""

    def is_same(name: str) -> bool:
        mine, other = tensors[name], theirs.get(name)
        return other is not None and _equal(mine, other)

    shared, steps = 0, meta["steps"]
    if all(meta[name] == above[name] for name in ("latents", "layers")):
        by_step: dict[int, list[str]] = {}
        for name in tensors:
            if match := _STEP.fullmatch(name):
                by_step.setdefault(int(match[1]), []).append(name)
        pairs = zip(steps, above["steps"], strict=False)
        same = takewhile(
            lambda pair: pair[0] == pair[1] and all(map(is_same, by_step[pair[0]["index"]])), pairs
        )
        shared = max((one["index"] + 1 for one, _ in same), default=0)
    held = [name for name in tensors if name in _GIVEN or _CONTROL.fullmatch(name)]
    alike = [name for name in held if is_same(name)]
    own = {
        name: values
        for name, values in tensors.items()
        if name not in alike and not _is_before(name, shared)
    }
    left = {name: value for name, value in meta.items() if name != "parent"}
    left["steps"] = [step for step in steps if step["index"] >= shared]
    left["pictures"] = [name for name in meta["pictures"] if name not in alike]
    return left, own, {"shared": shared, "same": alike}


def _is_before(name: str, step: int) -> bool:
    """Whether a tensor is of a step before that one."""
    match = _STEP.fullmatch(name)
    return match is not None and int(match[1]) < step


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one is other or (
        one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    )


def _came(parent: Parent | None) -> dict[str, Any]:
    """How a run came from its parent, without the parent's record."""
    assert parent is not None
    made: dict[str, Any] = {"how": parent.how, "step": parent.step}
    made |= {} if parent.seed is None else {"seed": parent.seed}
    return made if parent.edit is None else {**made, "edit": dict(parent.edit)}


# -------------------------------------------------------------------------------------- reading


def _loaded(
    runs: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray], kind: type[R]
) -> list[Row[R]]:
    """The rows, all of them checked. ValueError for what no tree is."""
    if not runs:
        raise ValueError("it has no runs")
    names = _by_run(tensors, len(runs))
    rows: dict[int, Row[R]] = {}
    steps: dict[int, list[dict[str, Any]]] = {}  # of each run, with those of its parents
    known: dict[int, dict[str, str]] = {}  # likewise: the name of a tensor, and that in the file
    records: dict[int, Mapping[str, Any]] = {}
    room, parts = Room(), 0
    for number, run in enumerate(runs):
        row_id = checked.whole(run, "id", 0, _ID_LIMIT)
        parent = None if number == 0 else checked.whole(run, "parent", 0, _ID_LIMIT)
        if row_id in rows or (number == 0) != (run.get("parent") is None):
            raise ValueError(f"run {row_id} is there twice, or has no parent")
        name, picture = checked.text(run, "name"), _picture(run)
        if len(name) > LONGEST_NAME:
            raise ValueError(f"the name of run {row_id} has {len(name)} characters")
        meta = dict(checked.mapping(run, "record"))
        own, held, shared = checked.mappings(meta, "steps", STEP_LIMIT), names[number], 0
        came: dict[str, Any] = {}
        if parent is not None:
            if parent not in rows:
                raise ValueError(f"run {row_id} comes before its parent")
            came = _checked_came(run)
            shared = checked.whole(run, "shared", 0, STEP_LIMIT)
            if shared and any(meta.get(n) != records[parent].get(n) for n in ("latents", "layers")):
                raise ValueError(f"run {row_id} has other latents than its parent")
            if any(_is_before(name, shared) for name in held):
                raise ValueError(f"run {row_id} has a step twice")
            own = [
                s for s in steps[parent] if checked.whole(s, "index", 0, STEP_LIMIT) < shared
            ] + own
            held = {n: f for n, f in known[parent].items() if _is_before(n, shared)} | held
            meta.pop("parent", None)
        parts += len(own) + len(held)
        if parts > 10 * TENSOR_LIMIT:
            raise ValueError("its runs share more than they have")
        meta["steps"] = own
        record = unpacked(
            meta,
            _Named(tensors, held),
            kind,
            room=room,
            checked_steps=shared,
            own_from=came.get("step"),
        )
        if parent is not None:
            same = checked.texts(run, "same", len(_GIVEN) + MOST_CONTROLS)
            record = _with_parents(record, rows[parent].trace, came, same, picture)
        steps[row_id], known[row_id], records[row_id] = own, held, meta
        rows[row_id] = Row(row_id, parent, name, picture, record)
    return [*rows.values()]


def _by_run(tensors: Mapping[str, np.ndarray], count: int) -> list[dict[str, str]]:
    """For each run, the names of its tensors and those that they have in the file."""
    found: list[dict[str, str]] = [{} for _ in range(count)]
    for name in tensors:
        number, _, own = name.partition("/")
        if not (number.isascii() and number.isdigit() and len(number) <= 4 and int(number) < count):
            raise ValueError(f"{name[:60]!a} belongs to no run")
        found[int(number)][own] = name
    return found


def _index(step: Mapping[str, Any]) -> int:
    return checked.whole(step, "index", 0, STEP_LIMIT)


def _picture(run: Mapping[str, Any]) -> int | None:
    if run.get("picture") is None:
        return None
    return checked.whole(run, "picture", 0, LIMITS["batch_size"][1] - 1)


def _checked_came(run: Mapping[str, Any]) -> dict[str, Any]:
    """How a run came from its parent, as the fields of `Parent`."""
    came = checked.mapping(run, "came")
    how = checked.text(came, "how")
    if how not in HOW:
        raise ValueError(f"a run came from another by {how[:60]!a}")
    return {
        "how": how,
        "step": checked.whole(came, "step", 0, PARENT["step"]),
        "seed": None if came.get("seed") is None else seed_of(came["seed"]),
        "edit": None if came.get("edit") is None else checked.mapping(came, "edit"),
    }


def _with_parents(
    record: R, above: R, came: Mapping[str, Any], same: Sequence[str], picture: int | None
) -> R:
    """The record with what it has from its parent, and that parent."""
    controls = list(record.given_controls)
    fields: dict[str, Any] = {}
    for name in same:
        match = _CONTROL.fullmatch(name)
        if match is None and name not in _GIVEN:
            raise ValueError(f"it shares {name[:60]!a}")
        if match is None:
            fields[name] = getattr(above, name)
            continue
        number = int(match[1])
        if number >= min(len(controls), len(above.given_controls)):
            raise ValueError(f"it shares {name}, which is not there")
        controls[number] = replace(controls[number], image=above.given_controls[number].image)
    parent = Parent.of(trace=above, **came)
    if parent.how == "branch" and picture is not None:
        if picture >= above.batch_size:
            raise ValueError(f"it has no image {picture}")
        parent = parent.of_picture(picture)
    return replace(record, given_controls=tuple(controls), parent=parent, **fields)


class _Named(Mapping[str, np.ndarray]):
    """Some of the tensors of a file, by other names."""

    def __init__(self, tensors: Mapping[str, np.ndarray], names: Mapping[str, str]):
        self._tensors, self._names = tensors, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
