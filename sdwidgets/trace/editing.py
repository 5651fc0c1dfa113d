"""Edits by prompt-to-prompt: a finished run with another prompt and the same layout.

An `Edit` is plain data, made without a model: the run, and what is to change. `edited` makes its
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import checks
from ..contract import SPECIAL
from ..errors import InputError
from ..settings import AttentionSettings, Settings
from .parent import Parent
from .record import Record, attention_of

if TYPE_CHECKING:
    from .edited import Alone

CROSS_ATTENTION, SELF_ATTENTION = 0.8, 0.4
"""The default shares of the steps in which the source's attention is used."""

THRESHOLD = 0.3
"""The default threshold of a blend, as in the authors' code."""

HEAVIEST = 100.0
"""The greatest factor of the attention to a word, and of its negative."""


@dataclass(frozen=True, eq=False)
class Edit:
    """What an edit is made of; `Trace.editing` returns it, and documents the fields.

    ``settings``: those of the image that is edited, with its own prompt. ``words``: those around
    which a blend is named.
    """

    record: Record = field(repr=False)
    settings: Settings
    word: str | None = None
    replacement: str = ""
    prompt: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    cross_attention: float = CROSS_ATTENTION
    self_attention: float = SELF_ATTENTION
    resolution: int | None = None
    blends: bool = False
    words: tuple[str, ...] = ()
    threshold: float = THRESHOLD
    picture: int = 0
    control: Any = field(default=None, repr=False)
    refiner: Any = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        record: Record,
        word: str | None = None,
        replacement: str = "",
        *,
        prompt: str | None = None,
        weights: Mapping[str, float] | None = None,
        cross_attention: float = CROSS_ATTENTION,
        self_attention: float = SELF_ATTENTION,
        resolution: int | None = None,
        blend: bool | str | Sequence[str] = False,
        threshold: float = THRESHOLD,
        picture: int = 0,
        control: Any = None,
        refiner: Any = None,
    ) -> Edit:
        """The edit of a record; see `Trace.edit`. Raises InputError."""
        picture = checks.index("picture", picture, record.batch_size)
        cross_attention = checks.real("cross_attention", cross_attention, 0, 1)
        self_attention = checks.real("self_attention", self_attention, 0, 1)
        if resolution is not None:
            checks.whole("resolution", resolution, 1, 4096)
        threshold = checks.real("threshold", threshold, 0, 1)
        factors, words = _weights(weights), _words(blend)
        _check_record(record, refiner, blends=blend is not False)
        record.check_prompt(picture)
        settings = record.settings.checked().of_picture(picture)
        if settings.window is not None and settings.window < max(settings.final_size):
            raise InputError(
                "The network saw this image in windows, whose attention cannot be edited.\n"
                "Edit a run without window.",
                parameter="trace",
            )
        made = cls(
            record,
            settings,
            word,
            replacement,
            prompt,
            factors,
            cross_attention,
            self_attention,
            resolution,
            blend is not False,
            words,
            threshold,
            picture,
            control,
            refiner,
        )
        made._check_change()
        return made

    def run(self, model: Any = None) -> Alone:
        """The run of the edit, beside which the run that is edited is made again.

        ``Trace.of(run)`` is the record. ``model``: that of the record's run while it is loaded,
        else to be given. Raises InputError if its weights differ, for words that the network did
        not see, and what `LatentDiffusion.sample` raises.
        """
        from .edited import edit_run

        return edit_run(self, model)

    @property
    def attention(self) -> bool | AttentionSettings:
        """What is recorded of attention: what the run recorded."""
        return attention_of(self.record.steps) or False

    @cached_property
    def parent(self) -> Parent:
        """The parent of the edit's record."""
        asked: dict[str, Any] = {
            "word": self.word,
            "replacement": self.replacement or None,
            "prompt": self.prompt,
            "weights": dict(self.weights) or None,
            "cross_attention": self.cross_attention,
            "self_attention": self.self_attention,
            "resolution": self.resolution,
            "blend": list(self.words) or self.blends,
            "threshold": self.threshold if self.blends else None,
            "picture": self.picture,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        return Parent.of("edit", self.record, edit=asked)

    def _check_change(self) -> None:
        """Raise InputError unless exactly one way to make the new prompt is given."""
        if self.word is not None and self.prompt is not None:
            raise InputError(
                "Give a word and its replacement, or a whole prompt, not both.", parameter="prompt"
            )
        if self.word is not None:
            return
        if self.replacement:
            raise InputError(
                f"What is {checks.shown(self.replacement)} to replace?\n"
                "Give edit(word, replacement).",
                parameter="word",
            )
        if self.prompt is not None:
            checks.typed("prompt", self.prompt, str, "a text")
        elif not self.weights:
            raise InputError(
                "Nothing was asked to change.\n"
                "Give edit('cat', 'dog'), prompt='...', or weights={'cat': 2}.",
                parameter="word",
            )


def _check_record(record: Record, refiner: object, *, blends: bool) -> None:
    """Raise InputError for a run whose edit cannot be made."""
    if record.parent is not None and record.parent.how != "hires":
        raise InputError(
            f"This run came from another ({record.parent.how}), and its settings alone "
            "do not make it again.\nEdit that run: trace.parent.trace.",
            parameter="trace",
        )
    if record.settings.refiner_start is not None and refiner is None:
        raise InputError(
            "A refiner made the last steps of this run.\nGive it: refiner=sdwidgets.load(...).",
            parameter="refiner",
        )
    if record.settings.window is not None and blends:
        raise InputError(
            "The network looked at windows in this run, and a blend needs the whole image.\n"
            "Leave blend out.",
            parameter="blend",
        )


def _weights(weights: object) -> dict[str, float]:
    """The factors by word."""
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        raise InputError(
            f"weights must be a factor for each word, like {{'cat': 2}}, got "
            f"{checks.shown(weights)}.",
            parameter="weights",
        )
    return {
        _word("weights", word): checks.real("weights", factor, -HEAVIEST, HEAVIEST)
        for word, factor in weights.items()
    }


def _words(blend: object) -> tuple[str, ...]:
    """The words of a blend; () for those that change."""
    if isinstance(blend, bool):
        return ()
    several = blend if isinstance(blend, (list, tuple)) else (blend,)
    return tuple(_word("blend", word) for word in several)


def _word(parameter: str, word: object) -> str:
    if not isinstance(word, str) or not word.strip() or word in SPECIAL:
        raise InputError(
            f"{parameter} has {checks.shown(word)}, which is no word.\nGive words of the prompt.",
            parameter=parameter,
        )
    return word
