"""`Store`: a sweep's results in a folder, as they come, in files that are whole or not there.

``sweep.json`` says which sweep it is, ``results.jsonl`` has a line for each result, in the order in
which they came, and each image is a PNG with its settings inside, ``0012.png`` for point 12. With
``keep="trace"``, ``0012.sdtrace`` has its steps. A line that was cut short is a result that is made
again. Only numbers are read from these files, and never names of other files.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import checks
from ..checks import is_number, is_whole, shown
from ..errors import ImageError, InputError
from ..settings import Settings
from ..strict_json import parse_object
from ..trace import Trace, read_record
from ..trace.parent import Parent
from ..trace.png import settings_in
from ..trace.writing import write_file
from ..version import __version__
from .locking import Lock
from .plan import Plan
from .results import Result, image_of

ABOUT, RESULTS, LOCK = "sweep.json", "results.jsonl", ".lock"
LONGEST = 2**23  # bytes of a line
MOST_VALUES = 100_000  # in a line's JSON, or that of `ABOUT`


class Store:
    """The folder of a sweep. `Store.of` checks that it is that of the plan, or will be.

    ``plan``: with the seed that is kept in the folder. ``results``: those that are in it, without
    failed points, which are made again. ``notices``: what a user should know.
    """

    def __init__(self, folder: Path, plan: Plan):
        self.folder = folder
        self.plan = plan
        self.notices: tuple[str, ...] = ()
        self.results: dict[int, Result] = {}
        self.unsaved: dict[int, Result] = {}  # of which the disk took nothing
        self._is_full = False
        self._lock: Lock | None = None
        self._fingerprints: dict[str, str] = {}  # of models, by name

    @classmethod
    def of(cls, folder: str | os.PathLike[str], plan: Plan) -> Store:
        """The store of a plan in a folder, which need not exist. Nothing is written yet.

        Raises InputError for the folder of another sweep, with what differs, and for one that holds
        other things.
        """
        path = checks.path("folder", folder)
        try:
            there = path.exists()
            if there and not path.is_dir():
                raise InputError(f"{str(path)!r} is a file.\nGive a folder.", parameter="folder")
            about = path / ABOUT
            if there and not about.is_file() and any(path.iterdir()):
                raise InputError(
                    f"The folder {str(path)!r} is not empty, and holds no sweep.\n"
                    "Give an empty or a new one.",
                    parameter="folder",
                )
            if not there or not about.is_file():
                return cls(path, plan)
            said = _object(about.read_bytes()[:LONGEST], about)
        except OSError as error:
            raise _unreadable(path, error) from error
        _check_same(path, said, plan)
        seed = _whole(said, "seed")
        if seed is None or seed >= 2**32:
            raise InputError(f"{str(about)!r} is damaged: it has no seed.", parameter="folder")
        store = cls(path, plan.with_seed(seed))
        store.read()
        return store

    def read(self) -> None:
        """Read the results that are in the folder."""
        found: dict[int, dict[str, Any]] = {}
        try:
            for line in self._lines():
                index = _whole(line, "index")
                if index is not None and index < len(self.plan):
                    found[index] = line
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        for index, line in found.items():
            result = self._result(index, line)
            if result is not None:
                self.results[index] = result
                name = result.point.model
                self._fingerprints.setdefault(name, str(line.get("fingerprint", "")))

    def open(self) -> None:
        """Make the folder if need be, and hold it for this process until `close`.

        Raises InputError if another holds it, or if nothing can be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = Lock.held(self.folder / LOCK)
        except OSError as error:
            raise InputError(
                f"{str(self.folder)!r} could not be written: {error.strerror or error}.",
                parameter="folder",
            ) from error
        if self._lock is None:
            raise InputError(
                f"The sweep in {str(self.folder)!r} is being made already, here or elsewhere.\n"
                "Wait for it, stop it, or give another folder.",
                parameter="folder",
            )
        about = self.folder / ABOUT
        if about.is_file():
            _check_same(self.folder, _object(about.read_bytes()[:LONGEST], about), self.plan)
            self.read()  # another process may have been here
            return
        said = {
            "sdwidgets": __version__,
            "points": len(self.plan),
            "digest": self.plan.digest,
            "seed": self.plan.seed,
            "sweep": self.plan.identity,
        }
        write_file(about, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())

    def close(self) -> None:
        """Let go of the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def put(self, result: Result) -> Result:
        """Write a result, and return it as it is on disk: its image is no longer in memory.

        If that fails, as on a full disk, the result is returned as it is, kept in ``unsaved``, and
        ``notices`` says why.
        """
        try:
            kept = self._written(result)
        except (InputError, OSError) as error:
            why = str(error) if isinstance(error, InputError) else error.strerror or str(error)
            if not self._is_full:
                self._say(f"Results stay in memory only, since their folder takes no more: {why}")
            self._is_full = True
            self.unsaved[result.index] = result
            return result
        self.unsaved.pop(result.index, None)
        self._is_full = False
        return kept

    def put_again(self) -> list[Result]:
        """Write what could not be written before; return what is on disk now."""
        kept = [self.put(result) for result in [*self.unsaved.values()]]
        return [result for result in kept if result.index not in self.unsaved]

    # ------------------------------------------------------------------------------------ writing

    def _written(self, result: Result) -> Result:
        trace, point = result.record, result.point
        line: dict[str, Any] = {"index": point.index, "place": list(point.place)}
        if result.error is not None:
            error = {"type": type(result.error).__name__, "message": str(result.error)[:1000]}
            self._append({**line, "error": error})
            return result
        assert trace is not None
        content = trace.png()
        path = write_file(self._image(point.index), content)
        steps = bool(trace.steps)
        if steps:
            trace.save(self._trace(point.index))
        self._check_weights(point.model, trace)
        scores = {n: v if math.isfinite(v) else None for n, v in result.scores.items()}
        line |= {
            "bytes": len(content),
            "trace": steps,
            "settings": trace.settings.as_dict(),
            "fingerprint": trace.fingerprint,
            "seconds": round(result.seconds, 3),
            "made": result.made,
            "shared": result.shared,
            "scores": scores,
            "notices": list(result.notices),
        }
        self._append(line)
        return replace(
            result,
            record=None,
            used=trace.settings,
            path=path,
            load=self._loader(point.index, steps),
        )

    def _append(self, line: dict[str, Any]) -> None:
        """Add a line, whole or not at all."""
        text = json.dumps(line, ensure_ascii=True, allow_nan=False, default=str) + "\n"
        with open(self.folder / RESULTS, "ab") as file:
            before = file.seek(0, os.SEEK_END)
            if before and not self._ends_whole():
                text = "\n" + text
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(before)
                raise

    def _ends_whole(self) -> bool:
        with open(self.folder / RESULTS, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _check_weights(self, model: str, trace: Trace) -> None:
        known = self._fingerprints.setdefault(model, trace.fingerprint)
        if known and trace.fingerprint and known != trace.fingerprint:
            self._fingerprints[model] = trace.fingerprint
            self._say(f"{model} has other weights now than when earlier results were made.")

    def _say(self, notice: str) -> None:
        self.notices = tuple(dict.fromkeys([*self.notices, notice]))

    # ------------------------------------------------------------------------------------ reading

    def _image(self, index: int) -> Path:
        digits = max(len(str(len(self.plan) - 1)), 4)
        return self.folder / f"{index:0{digits}}.png"

    def _trace(self, index: int) -> Path:
        return self._image(index).with_suffix(".sdtrace")

    def _loader(self, index: int, steps: bool) -> Any:
        if steps:
            return partial(Trace.load, self._trace(index))
        return partial(trace_of_png, self._image(index))

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The lines that are whole."""
        path = self.folder / RESULTS
        if path.exists() and not path.is_file():  # a pipe may never end
            raise InputError(f"{str(path)!r} is not a file.", parameter="folder")
        with open(path, "rb") as file:
            while text := file.readline(LONGEST):
                try:
                    yield parse_object(text, most=MOST_VALUES)
                except ValueError:
                    continue  # cut, or of somebody else

    def _result(self, index: int, line: dict[str, Any]) -> Result | None:
        """The result of a line; None if it has failed, or if its image is not there."""
        size, path = _whole(line, "bytes"), self._image(index)
        steps = line.get("trace") is True
        try:
            if "error" in line or not path.is_file() or path.stat().st_size != size:
                return None
            if steps and not self._trace(index).is_file():
                return None
        except OSError:
            return None
        given = line.get("settings")
        known = {each.name for each in fields(Settings)}
        try:
            own = {n: v for n, v in given.items() if n in known}  # type: ignore[union-attr]
            settings = Settings(**own).checked()
        except (AttributeError, TypeError, InputError):
            return None
        scores = line.get("scores")
        scores = scores if isinstance(scores, dict) else {}
        said = line.get("notices")
        return Result(
            self.plan.point(index),
            None,
            {str(n): float(v) if is_number(v) else math.nan for n, v in scores.items()},
            None,
            float(line["seconds"]) if is_number(line.get("seconds")) else 0.0,
            _whole(line, "made") or 0,
            _whole(line, "shared") or 0,
            tuple(map(str, said)) if isinstance(said, list) else (),
            self._loader(index, steps),
            path,
            settings,
        )


def trace_of_png(path: Path) -> Trace:
    """The record in a PNG, with its image and without steps. Raises ImageError or InputError."""
    record = read_record(path)
    if record is None:
        raise ImageError(f"{str(path)!r} has no settings inside.", parameter="image")
    parent = record.get("parent")
    above = None
    with suppress(ValueError):  # then it is not known
        above = Parent.from_dict(parent) if isinstance(parent, dict) else None
    said, versions = record.get("notices"), record.get("versions")
    return Trace(
        model=str(record.get("model", "")),
        task=str(record.get("task", "")),
        settings=settings_in(record),
        images=(image_of(path),),
        complete=record.get("complete") is not False,
        notices=tuple(map(str, said)) if isinstance(said, list) else (),
        versions={str(n): str(v) for n, v in versions.items()}
        if isinstance(versions, dict)
        else {},
        fingerprint=str(record.get("fingerprint", "")),
        prediction=str(record.get("prediction", "")),
        prediction_source=str(record.get("prediction_source", "")),
        parent=above,
    )


def _whole(line: dict[str, Any], name: str) -> int | None:
    """A whole number from 0 on; None if it is something else."""
    value = line.get(name)
    return value if isinstance(value, int) and is_whole(value) and value >= 0 else None


def _object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return parse_object(content, subject="its JSON is ", most=MOST_VALUES)
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} is damaged: {error}.\nGive another folder.", parameter="folder"
        ) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{str(path)!r} cannot be read: {error.strerror or error}.", parameter="folder"
    )


def _check_same(folder: Path, said: dict[str, Any], plan: Plan) -> None:
    """Raise InputError if a folder's sweep is not the plan's."""
    if said.get("digest") == plan.digest:
        return
    theirs, own = said.get("sweep"), plan.identity
    differ = _differences(theirs if isinstance(theirs, dict) else {}, own)
    raise InputError(
        f"{str(folder)!r} holds another sweep; it differs in {differ}.\n"
        "Give another folder, or the same settings to go on with it.",
        parameter="folder",
    )


def _differences(theirs: dict[str, Any], own: dict[str, Any]) -> str:
    """The names of what differs between two identities."""
    names: list[str] = []
    if theirs.get("format") != own["format"]:
        names.append("its format")
    for part in ("axes", "fixed", "texts"):
        there, here = theirs.get(part), own[part]
        there = there if isinstance(there, dict) else {}
        names += [n for n in {**there, **here} if there.get(n) != here.get(n)]
    if theirs.get("given") != own["given"]:
        names.append("image")
    return checks.shortened(", ".join(map(str, dict.fromkeys(names))), 200) or shown(theirs)
