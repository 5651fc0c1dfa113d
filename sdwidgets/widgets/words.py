"""The line below the Studio's prompt: its tokens, and the words that the model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from ..checks import shortened
from ..errors import InputError
from ..frontend import Code
from ..prompts import without_marks
from ..settings import Settings
from ..vocabulary import NAMED, Vocabulary, nearest_word, unknown_words
from .life import Living
from .selection import FromPage

if TYPE_CHECKING:
    from ..models.text import BertEncoder, TextEncoder

EXAMPLES = (
    "a cat left of a car on a blue background",
    "two dogs above a house",
    "a small penguin on top of a big cake",
    "three yellow stars on a purple background",
    "a rocket right of the moon",
)
"""Prompts to try, for models that know all their words."""


class WordsView(Living, FromPage, anywidget.AnyWidget):
    """Lists the words of a model that knows few, completes them while the user types, and marks
    unknown ones in the prompt. For other models it only counts tokens.

    The page puts words into the prompt's field itself, so nothing here asks the kernel.
    """

    _esm = Code("words.js")
    _css = Code("words.css")

    _is_part = True

    count = traitlets.Unicode().tag(sync=True)
    """The number of tokens in the prompt, and what of it was cut; "" if that is not known yet."""

    groups: traitlets.Dict[str, list[str]] = traitlets.Dict().tag(sync=True)
    """The words that the model knows, in groups by title; {} if it may know any."""

    examples: traitlets.List[str] = traitlets.List().tag(sync=True)
    """Prompts of these words."""

    unknown: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The words of the prompt that are not among them, the first `NAMED`: ``word``, and
    ``nearest``, the most similar word among them or ""."""

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def show(self, prompt: str, vocabulary: Vocabulary | None) -> None:
        """Show the words of a model (None: any), and those of a prompt that it does not know."""
        known = vocabulary or {}
        with self.hold_sync():
            self.groups = {title: list(words) for title, words in known.items()}
            self.examples = [one for one in EXAMPLES if known and not unknown_words(one, known)]
            self.unknown = unknown_in(prompt, known) if known else []


def count_of(text: TextEncoder | BertEncoder, prompt: str, settings: Settings) -> str:
    """How a text encoder reads a prompt: "12 of 75 tokens", in how many chunks, what is cut."""
    try:
        tokens = text.tokenize([prompt], settings.reading)
    except InputError as error:  # a weight that is still being typed
        return str(error).splitlines()[0]
    count, chunks = len(tokens.pieces[0]), tokens.chunks[0]
    said = f"{count} of {text.capacity} tokens"
    if chunks > 1:
        said = f"{count} tokens in {chunks} chunks of {text.capacity}"
    return f"{said}, not seen: {shortened(cut, 40)}" if (cut := tokens.cut[0]) else said


def unknown_in(prompt: str, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The first unknown words of a prompt, each once, with the nearest known one."""
    words = dict.fromkeys(one.word for one in unknown_words(without_marks(prompt), vocabulary))
    return [
        {"word": word, "nearest": nearest_word(word, vocabulary)} for word in list(words)[:NAMED]
    ]
