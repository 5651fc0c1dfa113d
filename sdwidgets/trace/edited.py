"""The run of an edit: a run and its edit side by side, of which the edit alone is shown.

`alignment` finds which words stand for which, `editor` edits the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..models.conditioning import Given, Tokens
from ..settings import Settings
from ..sources import Source
from .alignment import Alignment, Columns, Pair, alignment, columns_of, pairs
from .alone import step_of
from .editor import SOURCE, TARGET, Blend, Editor
from .parent import Parent
from .questions import Askable, model_of, replaced
from .tokens import PromptTokens

if TYPE_CHECKING:
    from ..diffusion import Denoise, Step
    from .editing import Edit


def edit_run(edit: Edit, model: Askable | None = None) -> Alone:
    """The run of an edit; see `Edit.run`."""
    record, factors = edit.record, edit.weights
    model = model_of(record, model)
    unet, joined = model.unet, model.config.join == "tokens"
    settings = edit.settings
    old = str(settings.prompt)
    size = model.config.size, model.config.size  # tokens do not depend on it
    seen = PromptTokens.of(old, model.tokenize([Given(old, size, reading=settings.reading)]))
    new = _prompt(seen, edit)
    editors: list[Editor] = []  # one for each pass of the run

    def around(denoise: Denoise, read: Tokens, sigmas: Sequence[float]) -> Denoise:
        both = _Both.of(read, (old, new), joined=joined)
        both.check()
        editors.append(
            Editor(
                unet,
                both.alignment(),
                both.weights(factors),
                cross_attention=edit.cross_attention,
                self_attention=edit.self_attention,
                resolution=edit.resolution,
                blend=both.blend(edit.words, factors, edit.threshold) if edit.blends else None,
            )
        )
        return editors[-1].around(denoise, sigmas)

    noise, vary = record.given_latents, settings.variation
    run = model.run(
        replace(
            settings,
            prompt=(old, new),
            seed=settings.seeds * 2,
            variation=vary and (settings.other_seeds * 2, vary[1]),
            batch_size=2,
        ),
        record.start,
        latents=None if noise is None else noise[[edit.picture, edit.picture]],
        attention=edit.attention,
        control=record.given_controls if edit.control is None else edit.control,
        around=around,
        refiner=edit.refiner,
        guide=record.guide,
    )
    blended = lambda step: editors[-1].step(step) if editors else step  # noqa: E731
    return Alone(run, TARGET, edit.parent, blended)


class Alone(Iterator["Step"]):
    """One image of a run's batch, as a run of its own: its steps, its words, its image.

    ``run``: a `sdwidgets.run.Run`. ``before_shown``: what a step of the batch becomes first.
    """

    def __init__(
        self,
        run: Any,
        picture: int,
        parent: Parent | None = None,
        before_shown: Callable[[Step], Step] = lambda step: step,
    ):
        self.run, self.parent = run, parent
        self.last: Step | None = None
        self._picture, self._before_shown = picture, before_shown
        self._made: tuple[Step, Step] | None = None  # the last step, of the batch and alone
        self.settings: Settings = run.settings.of_picture(picture)
        self._tokens = run.prompt_tokens()[picture : picture + 1]
        self._negative = run.negative_tokens()[picture : picture + 1]
        self.first: Alone | None = None if run.first is None else Alone(run.first, picture)

    def __len__(self) -> int:
        return len(self.run)

    def __iter__(self) -> Alone:
        return self

    def __next__(self) -> Step:
        made = self._made
        try:
            step = self._before_shown(next(self.run))
        except StopIteration:
            raise
        except BaseException:
            self.last = self._made = made = None  # out of memory, no tensor may stay alive
            raise
        follows = made is not None and step.x is made[0].x_next
        self.last = self._alone(step, made[1] if made and follows else None)
        self._made = step, self.last
        if self.first is not None and step.index < len(self.first):
            self.first.last = self.last
        return self.last

    def _alone(self, step: Step, before: Step | None) -> Step:
        pieces, uncond = (
            len(prompts[0].pieces) if prompts else None
            for prompts in (self._tokens, self._negative)
        )
        return step_of(step, self._picture, pieces, uncond, before)

    def close(self) -> None:
        """End the run after the steps made so far."""
        self.run.close()

    def pictures(self, step: Step) -> list[Image.Image]:
        """Its image at a step, in a list; see `Run.pictures`."""
        return self.run.pictures(step)  # type: ignore[no-any-return]

    def prompt_tokens(self) -> tuple[PromptTokens, ...]:
        """Its prompt as the network reads it."""
        return self._tokens

    def negative_tokens(self) -> tuple[PromptTokens, ...]:
        """Its negative prompt as the network reads it; () without guidance."""
        return self._negative

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know."""
        return self.run.notices  # type: ignore[no-any-return]

    @notices.setter
    def notices(self, notices: tuple[str, ...]) -> None:
        self.run.notices = notices

    @property
    def latents(self) -> Tensor | None:
        """[1, C, h, w]: the noise that the run was given, if it was not its seed's."""
        row = slice(self._picture, self._picture + 1)
        return None if self.run.latents is None else self.run.latents[row]

    # what is the same for all images of the batch

    @property
    def model(self) -> Any:
        return self.run.model

    @property
    def model_name(self) -> str:
        return self.run.model_name  # type: ignore[no-any-return]

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.run.sources  # type: ignore[no-any-return]

    @property
    def task(self) -> str:
        return self.run.task  # type: ignore[no-any-return]

    @property
    def seconds(self) -> list[float]:
        return self.run.seconds  # type: ignore[no-any-return]

    @property
    def image(self) -> Image.Image | None:
        return self.run.image  # type: ignore[no-any-return]

    @property
    def mask(self) -> Image.Image | None:
        return self.run.mask  # type: ignore[no-any-return]

    @property
    def depth(self) -> np.ndarray | None:
        return self.run.depth  # type: ignore[no-any-return]

    @property
    def label_map(self) -> np.ndarray | None:
        return self.run.label_map  # type: ignore[no-any-return]

    @property
    def neighbours(self) -> tuple[Image.Image, ...]:
        return self.run.neighbours  # type: ignore[no-any-return]

    @property
    def guide(self) -> Any:
        return self.run.guide

    @property
    def controls(self) -> Any:
        return self.run.controls


@dataclass(frozen=True)
class _Both:
    """The prompts of source and target, as each text encoder whose tokens are in the context read
    them."""

    reads: tuple[Tokens, ...]
    prompts: tuple[tuple[PromptTokens, PromptTokens], ...]
    pairs: tuple[tuple[Pair, ...], ...]

    @classmethod
    def of(cls, read: Tokens, prompts: tuple[str, str], *, joined: bool) -> _Both:
        """``joined``: whether the context has the tokens of one encoder after those of another."""
        reads = (read, *read.others) if joined else (read,)
        tokens = [
            (PromptTokens.of(prompts[0], each, SOURCE), PromptTokens.of(prompts[1], each, TARGET))
            for each in reads
        ]
        found = (tuple(pairs(*each)) for each in tokens)
        return cls(reads, tuple(tokens), tuple(found))

    def check(self) -> None:
        """Raise InputError where the network reads no words, or does not see the change."""
        (old, new), read = self.prompts[0], self.reads[0]
        if not old.pieces and not new.pieces:
            raise InputError(
                "The model read no words in this run, so there is no attention to edit.",
                parameter="prompt",
            )
        alike = torch.equal(read.ids[SOURCE], read.ids[TARGET]) and old.weights == new.weights
        if alike and old.prompt != new.prompt and (old.cut or new.cut):
            raise InputError(
                "What changes was cut from the prompt, which was too long.\n"
                "Shorten it, or give more chunks to the run.",
                parameter="prompt",
            )

    def alignment(self) -> Alignment:
        """How the attention to the source's context becomes that to the target's."""
        first, *others = map(alignment, self.reads, self.pairs)
        for other in others:
            first = first.beside(other)
        return first

    def weights(self, factors: Mapping[str, float]) -> np.ndarray | None:
        """[T]: the factor of the attention to each token of the target's context."""
        if all(factor == 1 for factor in factors.values()):
            return None
        values = np.ones(sum(read.ids.shape[1] for read in self.reads), np.float32)
        for word, factor in factors.items():
            found = [prompts[TARGET].find(word) for prompts in self.prompts]
            values[list(self._columns(TARGET, found))] *= factor
        return values

    def blend(self, words: Sequence[str], factors: Iterable[str], threshold: float) -> Blend:
        """The blend of these words or, if there are none, of those that differ or have factors."""
        sought = words or tuple(factors)
        for word in sought:
            if not any(prompt.spans_of(word) for prompt in self.prompts[0]):
                self.prompts[0][TARGET].find(word)  # says which words there are
        found, every = list[Columns](), list[Columns]()
        for row in (SOURCE, TARGET):
            tokens = [_tokens(prompts[row], sought) for prompts in self.prompts]
            if not words:
                changed = [_changed(pairs, row) for pairs in self.pairs]
                tokens = [a + b for a, b in zip(tokens, changed, strict=True)]
            found.append(self._columns(row, [tuple(dict.fromkeys(some)) for some in tokens]))
            pieces = [len(prompts[row].pieces) for prompts in self.prompts]
            every.append(self._columns(row, [range(1, count + 1) for count in pieces]))
        if not any(found):
            raise InputError(
                "The two prompts have the same words, so there is nothing to blend around.\n"
                "Name the words: blend='cat'.",
                parameter="blend",
            )
        return Blend((found[0], found[1]), (every[0], every[1]), threshold)

    def _columns(self, row: int, tokens: Sequence[Sequence[int]]) -> Columns:
        """The columns of the whole context that are these tokens, given for each encoder."""
        columns: list[int] = []
        begin = 0
        for read, some in zip(self.reads, tokens, strict=True):
            columns += [begin + column for column in columns_of(read, row, some)]
            begin += read.ids.shape[1]
        return tuple(columns)


def _tokens(prompt: PromptTokens, words: Sequence[str]) -> Columns:
    """The tokens of those of the words that are in the prompt."""
    there = [word for word in words if prompt.spans_of(word)]
    return tuple(token for word in there for token in prompt.find(word))


def _changed(found: Sequence[Pair], row: int) -> Columns:
    """The tokens of a prompt that are not in the other."""
    sides = [(pair.before, pair.after)[row] for pair in found if not pair.same]
    return tuple(token for tokens in sides for token in tokens)


def _prompt(seen: PromptTokens, edit: Edit) -> str:
    """The edited prompt."""
    if edit.word is not None:
        return replaced(seen, edit.word, edit.replacement)
    return seen.prompt if edit.prompt is None else edit.prompt
