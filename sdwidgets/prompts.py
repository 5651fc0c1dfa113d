"""How prompts are read: weighted words, breaks and chunks, in AUTOMATIC1111's notation.

``(word)`` weighs a word 1.1, ``((word))`` 1.21, ``[word]`` 1 / 1.1, ``(word:1.3)`` 1.3; brackets
nest. ``\\(``, ``\\)``, ``\\[``, ``\\]`` and ``\\\\`` are those characters; any other backslash is
dropped. A bracket that is never closed reaches to the end, and one that was never opened is text.
``BREAK`` begins a new chunk. (stable-diffusion-webui, modules/prompt_parser.py. There, a BREAK
inside brackets is read as a word; here, it breaks everywhere.)

Plain text without torch. What a weight does to a text encoder's states is in `models.text`.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass

from .errors import InputError
from .spelling import Span

WEIGHTS = ("mean", "plain", "none")
"""What brackets do; see `Reading`."""
MOST_CHUNKS = 10
"""The most chunks of a prompt."""
DEEPEST = 50
"""The most brackets around a text."""
HEAVIEST = 100
"""The greatest weight of a text, and of its negative."""

_MARKS = re.compile(r"[\\()\[\]]|\bBREAK\b")
_PARTS = re.compile(
    r"\\[\\()\[\]]|\\|[(\[)\]]|:(?P<weight>[+-]?[.0-9]+)\)|[^\\()\[\]:]+|:", re.DOTALL
)
_BREAK = re.compile(r"\bBREAK\b")
_STEP = 1.1  # what a bracket multiplies or divides by


@dataclass(frozen=True)
class Reading:
    """How a text encoder reads a prompt.

    ``weights``: what the weights of words do to their states. "mean": they multiply the states, and
    then the mean of each chunk's states is restored (AUTOMATIC1111's convention). "plain": they
    multiply the states. "none": brackets and BREAK are text. ``clip_skip``: how many of the last
    layers are left out, beyond those that the model itself leaves out (diffusers' count;
    AUTOMATIC1111's is higher by 1). ``chunks``: the most chunks of a prompt, 1 to `MOST_CHUNKS`; a
    chunk has as many tokens as the encoder has places, 75 in CLIP. The rest is cut.
    """

    weights: str = WEIGHTS[0]
    clip_skip: int = 0
    chunks: int = MOST_CHUNKS


USUAL = Reading()
PLAIN = Reading(weights="none", chunks=1)
"""How captions are read, and prompts by diffusers: no weights, and cut after one chunk."""


@dataclass(frozen=True)
class Fragment:
    """A part of a prompt with one weight: its text without brackets, and where that was.

    ``runs``: (place in the text, place in the prompt) of each run of characters that stayed
    together.
    """

    text: str
    weight: float = 1.0
    runs: tuple[Span, ...] = ((0, 0),)

    def span(self, start: int, end: int) -> Span:
        """Return where the characters from ``start`` to ``end`` of the text are in the prompt."""
        first = self._place(start)
        return first, self._place(end - 1) + 1 if end > start else first

    def _place(self, at: int) -> int:
        inside, outside = self.runs[max(bisect_right(self.runs, at, key=lambda run: run[0]) - 1, 0)]
        return outside + at - inside


def fragments(prompt: str) -> tuple[tuple[Fragment, ...], ...]:
    """Return the fragments of each part of ``prompt`` between two BREAKs, in order.

    Neighbours with the same weight are one fragment. Raises InputError for brackets more than
    `DEEPEST` deep, and for weights beyond `HEAVIEST`.
    """
    if not _MARKS.search(prompt):
        return ((Fragment(prompt),),)
    texts: list[tuple[str, int]] = []  # each with its place in the prompt
    breaks: set[int] = set()  # numbers of the texts before which a part begins
    ranges: list[tuple[int, int, float]] = []  # of texts, in the order in which they are closed
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        ranges.append((opened[bracket].pop(), len(texts), factor))

    for match in _PARTS.finditer(prompt):
        part, at = match[0], match.start()
        weight = _number(match["weight"])
        if part[0] == "\\":
            texts.append((part[1:], at + 1))
        elif part in opened:
            opened[part].append(len(texts))
        elif weight is not None and opened["("]:
            close("(", weight)
        elif part == ")" and opened["("]:
            close("(", _STEP)
        elif part == "]" and opened["["]:
            close("[", 1 / _STEP)
        elif match["weight"] is not None and opened["("]:  # "1.2.3" is no number
            texts.append((part[:-1], at))
            close("(", _STEP)
        else:
            if len(opened["("]) + len(opened["["]) > DEEPEST:
                raise InputError(
                    f"The prompt has text inside more than {DEEPEST} brackets.\n"
                    r"Write brackets that are text as \( and \[, or give weights='none'.",
                    parameter="prompt",
                )
            before = 0
            for found in _BREAK.finditer(part):
                texts.append((part[before : found.start()], at + before))
                breaks.add(len(texts))
                before = found.end()
            texts.append((part[before:], at + before))
    for bracket, factor in (("(", _STEP), ("[", 1 / _STEP)):
        for first in opened[bracket]:
            ranges.append((first, len(texts), factor))
    weights = [1.0] * len(texts)
    for first, last, factor in ranges:
        for number in range(first, last):
            weights[number] *= factor
    return _merged(texts, weights, breaks)


def _number(text: str | None) -> float | None:
    """Return the weight that ``text`` is, or None: "1.2.3" is text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _merged(
    texts: list[tuple[str, int]], weights: list[float], breaks: set[int]
) -> tuple[tuple[Fragment, ...], ...]:
    parts: list[list[Fragment]] = [[]]
    run: list[tuple[str, int]] = []  # texts of one weight
    weighs = 1.0

    def end() -> None:
        places: list[Span] = []
        length = 0
        for text, at in run:
            if text and not (places and at - length == places[-1][1] - places[-1][0]):
                places.append((length, at))
            length += len(text)
        if places:
            if not (math.isfinite(weighs) and abs(weighs) <= HEAVIEST):
                raise InputError(
                    f"The prompt has a weight of {weighs:g}.\n"
                    f"Give -{HEAVIEST} to {HEAVIEST}; 0.5 to 1.5 are usual.",
                    parameter="prompt",
                )
            text = "".join(text for text, _ in run)
            parts[-1].append(Fragment(text, weighs, tuple(places)))
        run.clear()

    for number, (each, weight) in enumerate(zip(texts, weights, strict=True)):
        if number in breaks or weight != weighs:
            end()
        if number in breaks:
            parts.append([])
        weighs = weight
        run.append(each)
    end()
    return tuple(map(tuple, parts))


def without_marks(prompt: str) -> str:
    """Return ``prompt`` with brackets, weights and BREAK as spaces: all else keeps its place.

    A prompt that cannot be read stays as it is.
    """
    try:
        parts = fragments(prompt)
    except InputError:
        return prompt
    if len(parts) == len(parts[0]) == 1 and parts[0][0].text == prompt:
        return prompt
    kept = [" "] * len(prompt)
    for fragment in (each for part in parts for each in part):
        ends = [inside for inside, _ in fragment.runs[1:]] + [len(fragment.text)]
        for (inside, outside), end in zip(fragment.runs, ends, strict=True):
            kept[outside : outside + end - inside] = fragment.text[inside:end]
    return "".join(kept)
