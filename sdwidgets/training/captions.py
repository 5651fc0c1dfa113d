"""Captions in files: a text beside each image, or tables, as Hugging Face and kohya name them."""

from __future__ import annotations

import csv
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..strict_json import parse_object

LONGEST = 100_000  # bytes of a text beside an image
TEXTS = (".txt", ".caption")  # beside an image; the first one counts
TABLES = {".csv", ".tsv", ".jsonl"}
FOUND = {f"{name}{ending}" for name in ("metadata", "captions") for ending in TABLES}
"""The names of tables that are used without being asked for; so is Flickr's captions.txt."""

NAMES = ("file_name", "filename", "image", "image_path", "path")
WORDS = ("text", "caption", "captions", "prompt", "description")
REMEDY = "Each line has the file_name of an image and its text."


class Captions:
    """The captions of images by name, from tables and from texts beside them.

    Names match in any Unicode form, with any slashes, and with or without "./" in front. If none is
    equal, another case matches, too.
    """

    def __init__(self) -> None:
        self._listed: dict[str, tuple[str, ...]] = {}
        self._alike: dict[str, str] = {}  # names as listed, by their lower case
        self._beside: dict[str, list[str]] = {}  # texts by the name that their image has
        self.used: set[str] = set()  # names as listed, and texts

    def add_table(self, file: Path, folder: str = "") -> None:
        """Add a table, whose names are relative to ``folder``. Raises InputError."""
        for name, texts in captions_listed(file).items():
            key = _key(posixpath.join(folder, name.replace("\\", "/")))
            self._listed[key] = (*self._listed.get(key, ()), *texts)
            self._alike.setdefault(key.casefold(), key)

    def add_text(self, name: str) -> None:
        """Add a text file that may lie beside an image: ``a.txt`` beside ``a.png``."""
        self._beside.setdefault(_key(posixpath.splitext(name)[0]).casefold(), []).append(name)

    def of(self, root: Path, name: str) -> tuple[str, ...]:
        """The captions of an image: its rows, or else the lines of the text beside it.

        Raises ValueError, which names the file and the problem, if a text cannot be read."""
        key = _key(name)
        key = key if key in self._listed else self._alike.get(key.casefold(), key)
        if key in self._listed:
            self.used.add(key)
            return self._listed[key]
        for image in (posixpath.splitext(key)[0], key):  # a.txt, or else a.png.txt
            texts = self._beside.get(image.casefold(), [])
            for text in sorted(texts, key=lambda text: _order(text, name)):
                self.used.add(text)
                return captions_in(root / text)
        return ()

    def without_image(self) -> list[str]:
        """The names in tables that no image had."""
        return sorted(self._listed.keys() - self.used)


def _key(name: str) -> str:
    return posixpath.normpath(unicodedata.normalize("NFC", name))


def _order(text: str, image: str) -> tuple[bool, int]:
    """First the text with exactly the image's name, then by its ending."""
    stem, ending = posixpath.splitext(text)
    return stem != posixpath.splitext(image)[0], TEXTS.index(ending.lower())


def captions_in(file: Path) -> tuple[str, ...]:
    """The lines of a text file, each a caption.

    Raises ValueError, with a few words about what is wrong with the file.
    """
    try:
        with open(file, "rb") as opened:
            data = opened.read(LONGEST + 1)
    except OSError as error:
        raise ValueError(f"{file.name} cannot be read: {error.strerror or error}") from None
    if len(data) > LONGEST:
        raise ValueError(f"{file.name} has more than {LONGEST:,} bytes")
    is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is not UTF-8 text") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def captions_listed(file: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each ``file_name`` in a ``.csv``, ``.tsv``, ``.jsonl`` or ``.txt`` table: its
    column ``text``. Other names of these columns are in `NAMES` and `WORDS`, in any case.

    An image in several rows has several captions. Raises InputError, with the line, for a table
    that cannot be read.
    """
    table = _csv_rows
    rows = {".csv": table, ".tsv": table, ".txt": table, ".jsonl": _json_rows}.get(
        file.suffix.lower()
    )
    if rows is None:
        raise InputError(
            f"Captions come in a .csv, .tsv, .jsonl or .txt file, not in {file.name!r}.",
            parameter="captions",
        )
    captions: dict[str, tuple[str, ...]] = {}
    try:
        for line, row in rows(file):
            named = {str(key).strip().lower(): value for key, value in row.items()}
            (name,) = _texts(line, named, NAMES)[:1]
            told = [text for text in _texts(line, named, WORDS) if text]
            captions[name] = (*captions.get(name, ()), *told)
        problem = "" if captions else "it is empty"
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InputError(f"{file}: {problem}.\n{REMEDY}", parameter="captions")
    return captions


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        tabs = file.suffix.lower() == ".tsv"
        table = csv.DictReader(lines, strict=True, delimiter="\t" if tabs else ",")
        try:
            for row in table:
                if None in row:  # where DictReader puts surplus cells
                    raise csv.Error("too many cells (quote a text that has a comma)")
                yield table.line_num, row
        except csv.Error as error:
            raise ValueError(f"line {table.line_num}: {error}") from None


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_object(line, subject="its JSON is ")
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            yield number, row


def _texts(line: int, row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """The text, or texts, in the first of these columns that is there."""
    column = next((one for one in columns if row.get(one) is not None), columns[0])
    value = row.get(column)
    several = isinstance(value, list) and value and columns is WORDS
    values: list[Any] = value if several else [value]  # type: ignore[assignment]
    if not all(isinstance(one, str) for one in values):
        problem = f"no {column!r}" if value is None else f"{column!r} is not a text"
        raise ValueError(f"line {line}: {problem}")
    return [one.strip() for one in values]
