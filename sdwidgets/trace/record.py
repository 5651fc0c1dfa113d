"""The record of a run: what was asked, every step, and the images.

Plain data: settings, text, numpy arrays and PIL images, which need no torch and no model. The rest
of this package makes records (recording.py), keeps them in files (file.py, png.py) and shows them;
`Trace`, a record with all of that as methods, stands on top.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from .. import checks
from ..contract import CONTROL_STRENGTH
from ..errors import InputError
from ..pictures import Start
from ..settings import AttentionSettings, Settings
from ..sources import Source
from . import checked
from .recipe import DEFAULT, Recipe
from .step import Maps, TraceStep
from .tokens import PromptTokens

if TYPE_CHECKING:
    from .parent import Parent


class Reference(weakref.ref):  # type: ignore[type-arg]  # not generic at runtime
    """A weak reference, which a record that is sent to another process does without."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __deepcopy__(self, memo: object) -> Reference:
        return self


class Kept:
    """A value that a record keeps in this process alone: ``value``."""

    def __init__(self, value: Any):
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __deepcopy__(self, memo: object) -> Kept:
        return self


StepNumbers: TypeAlias = "int | Sequence[int] | np.ndarray | None"
"""One or several of `TraceStep.index`; None: those that a recipe names."""


def cross_of(steps: Sequence[TraceStep]) -> Maps:
    """The cross-attention of the first step that has any; empty where none has.

    A run may record its later steps alone, and a file may lack a step's attention.
    """
    return next((one.attention.cross for one in steps if one.attention and one.attention.cross), {})


def control_of(steps: Sequence[TraceStep]) -> Maps:
    """What controls add in the first step that has any of it; empty where none has."""
    return next((one.control for one in steps if one.control), {})


def attention_of(steps: Sequence[TraceStep]) -> AttentionSettings | None:
    """What was recorded of attention; None for nothing."""
    kept = next((one.attention for one in steps if one.attention and one.attention.cross), None)
    if kept is None:
        return None
    return AttentionSettings(
        heads=any(maps.shape[1] > 1 for maps in kept.cross.values()),
        uncond=bool(kept.uncond),
        self_attention=bool(kept.cells),
        queries=bool(kept.queries),
    )


@dataclass(frozen=True, eq=False)
class GivenControl:
    """An image that a run followed, by a ControlNet.

    ``name``: that of the network. ``image``: at the run's size. ``strength``: the factor of what it
    added. ``start`` and ``end``: the share of the run's steps in which it acted, 0 to 1.
    """

    name: str
    image: Image.Image | None = field(repr=False)  # None: it is lost
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    made_by: Any = field(default=None, repr=False)
    """A weak reference to the network, or the control that names its file; never in a file."""

    def acts(self, step: int, steps: int) -> bool:
        """Whether it acts in step ``step`` of ``steps``: that step is inside as a whole."""
        return self.start <= step / steps and (step + 1) / steps <= self.end

    def as_dict(self) -> dict[str, Any]:
        """Return its fields for JSON, without the image."""
        return {
            "name": self.name,
            "strength": self.strength,
            "start": self.start,
            "end": self.end,
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> GivenControl:
        """The control that `as_dict` describes; ValueError for what no control is."""
        return cls(
            checked.text(given, "name"),
            None,
            strength=checked.real(given, "strength", CONTROL_STRENGTH[1]),
            start=checked.real(given, "start", 1),
            end=checked.real(given, "end", 1),
        )


@dataclass(frozen=True, eq=False)
class Record:
    """The record of one run. Arrays may be shared with the run: do not write into them."""

    model: str  # its name
    task: str  # what the run did, in words; see `Run.task`
    settings: Settings  # as they were resolved: with the seed, the size, the guidance used
    tokens: tuple[PromptTokens, ...] = field(default=(), repr=False)  # each image's prompt
    steps: tuple[TraceStep, ...] = field(default=(), repr=False)
    images: tuple[Image.Image, ...] = field(default=(), repr=False)  # one for each of the batch
    expected: int = 0  # steps of the whole run
    complete: bool = True
    """Whether ``images`` are final, however many of the steps are kept. False if the run was
    stopped: they are its best guess so far."""
    notices: tuple[str, ...] = ()  # what a person should know: words cut, images resized
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    fingerprint: str = field(default="", repr=False)  # of the model's weights
    prediction: str = field(default="", repr=False)  # what the model predicts; "" is not known
    prediction_source: str = field(default="", repr=False)  # see `configs.PredictionSource`
    negative_tokens: tuple[PromptTokens, ...] = field(default=(), repr=False)  # where guided
    given_image: Image.Image | None = field(default=None, repr=False)
    """What the run began from, or enlarged; of an outpainting, without the new area."""
    given_mask: Image.Image | None = field(default=None, repr=False)
    given_depth: np.ndarray | None = field(default=None, repr=False)  # [H, W] float32, of any range
    given_label_map: np.ndarray | None = field(default=None, repr=False)
    """[H, W] uint16, the number of the class of each pixel."""
    given_neighbours: tuple[Image.Image, ...] = field(default=(), repr=False)
    """Images like the one to make."""
    given_latents: np.ndarray | None = field(default=None, repr=False)  # noise not from the seed
    given_guide: Mapping[str, Any] | None = field(default=None, repr=False)
    """What steered the run, as `guides.plain` returns it. A function of one's own has its name
    alone, so it has to be given again."""
    guide_ref: Kept | None = field(default=None, repr=False)  # the guide itself; never in a file
    given_controls: tuple[GivenControl, ...] = field(default=(), repr=False)
    """The images that it followed, by ControlNets."""
    factors: np.ndarray | None = field(default=None, repr=False)  # of `images.preview_rgb`
    schedule_sigmas: tuple[float, ...] = field(default=(), repr=False)  # of training, thinned
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of a loaded record: the precision it was kept in, and the largest errors that made."""
    run_seconds: float | None = field(default=None, repr=False)  # of all steps, kept or not
    model_ref: Any = field(default=None, repr=False)  # a weak reference to the model that ran
    sources: tuple[Source, ...] = field(default=(), repr=False)  # what that model was made of
    parent: Parent | None = None  # the run from which this one came

    @property
    def image(self) -> Image.Image:
        """The image; the first of a batch. Raises InputError if the run stopped before step 1."""
        if not self.images:
            raise InputError("This run was stopped before its first step: it has no image.")
        return self.images[0]

    @property
    def start(self) -> Start | None:
        """The images that the run was given, for a run with the same; None if it was given none."""
        start = Start(
            self.given_image,
            self.given_mask,
            depth=self.given_depth,
            label_map=self.given_label_map,
            neighbours=self.given_neighbours,
        )
        return start if start.has_any else None

    @property
    def guide(self) -> Any:
        """The guide that steered the run; None for a run without one. Raises InputError if it was
        a function, and is not known in this process."""
        if self.given_guide is None or self.guide_ref is not None:
            return self.guide_ref and self.guide_ref.value
        from ..guides import made  # needs torch, as the run that it is for does

        return made(self.given_guide)

    @property
    def prompt(self) -> str:
        """The prompt of the first image (`settings.prompts` has all)."""
        return self.settings.prompts[0]

    @property
    def negative_prompt(self) -> str:
        """The negative prompt of the first image."""
        return self.settings.negative_prompts[0]

    @property
    def cut(self) -> tuple[str, ...]:
        """For each image the words of its prompt that the network never saw; "" for none."""
        return tuple(tokens.cut for tokens in self.tokens)

    @property
    def seconds(self) -> tuple[float, ...]:
        """The time each step took; 0 where it is not known."""
        return tuple(step.seconds or 0.0 for step in self.steps)

    @property
    def total(self) -> float:
        """Seconds that all steps of the run took; of those kept, where no more is known."""
        return sum(self.seconds) if self.run_seconds is None else self.run_seconds

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of each image in pixels; for steps of your own, 8 times the latents'.

        Raises InputError for an empty record.
        """
        if self.images:
            return self.images[0].size
        if self.settings.width and self.settings.height:
            return self.settings.final_size
        if not self.steps:
            raise InputError("This record has no steps and no image: nothing has a size.")
        height, width = self.steps[0].x.shape[-2:]
        return 8 * width, 8 * height  # as of the usual autoencoder

    @property
    def batch_size(self) -> int:
        """How many images were made at once."""
        return self.steps[0].x.shape[0] if self.steps else self.settings.batch_size

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose attention was recorded, in the order of the network; () for none."""
        return tuple(cross_of(self.steps))

    def prompt_of(self, picture: int, *, uncond: bool = False) -> PromptTokens:
        """An image's prompt, or negative prompt, as the network read it; ``picture`` is its index.

        Raises InputError where it is not recorded.
        """
        prompts = self.negative_tokens if checks.flag("uncond", uncond) else self.tokens
        picture = checks.index("picture", picture, max(self.batch_size, len(prompts)))
        if picture >= len(prompts):
            which = "negative prompt" if uncond else "prompt"
            raise InputError(
                f"This record has no {which}: its words are not known.", parameter="word"
            )
        return prompts[picture]

    def check_prompt(self, picture: int) -> None:
        """Raise InputError if an image's words are not of its prompt: a model may be told boxes or
        neighbours, whose names no text can replace."""
        tokens = self.tokens[picture : picture + 1]
        if tokens and tokens[0].prompt != self.settings.prompts[picture]:
            raise InputError(
                "The words of this run are names of what it was given, not of a prompt, so none can"
                " be replaced.\nMake a new run with other boxes or neighbours.",
                parameter="word",
            )

    def chosen_steps(self, step: StepNumbers, recipe: Recipe = DEFAULT) -> list[TraceStep]:
        """The steps asked for by their index; negative numbers count back from the last one kept.

        None: those that are kept of the recipe's share of the whole run, or all steps if none of
        these is. Raises InputError for a step that is not there.
        """
        known = {one.index: one for one in self.steps}
        checks.typed("recipe", recipe, Recipe, "a Recipe")
        if step is None:
            count = max(self.expected, *(index + 1 for index in known), 0)
            inside = set(recipe.chosen_steps(count))
            return [one for one in self.steps if one.index in inside] or list(self.steps)
        if isinstance(step, np.ndarray):
            step = step.tolist()
        several = isinstance(step, Sequence) and not isinstance(step, (str, bytes)) and len(step)
        asked: list[Any] = list(step) if several else [step]  # type: ignore[arg-type]
        chosen = []
        for one in asked:
            place = int(one) if checks.is_whole(one) else None
            if place is not None and -len(self.steps) <= place < 0:
                place = self.steps[place].index
            if place not in known:
                raise InputError(
                    f"This record has no step {checks.shown(one)}.\n"
                    f"Its steps: {listed(list(known))}.",
                    parameter="step",
                )
            chosen.append(known[place])
        return chosen


def listed(numbers: Sequence[int]) -> str:
    """Step numbers in a short line."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return checks.shortened(", ".join(map(str, numbers)), 80) or "(none)"
