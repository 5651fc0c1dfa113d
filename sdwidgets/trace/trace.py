"""The record of a run: what was asked, every step, and the pictures.

Plain data: settings, text, numpy arrays and PIL images. Reading and showing a record needs no
torch and no model; asking it something new (`Trace.query`, `Trace.ablate`) needs the model.
"""

from __future__ import annotations

import os
import platform
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import Image

from .. import checks
from ..contract import SPECIAL
from ..errors import InputError
from ..settings import Settings
from ..sources import MOST, QUICK, Source, hashed
from .images import encode_png, write_file
from .maps import sizes, stretched, word_map
from .recipe import DEFAULT, Recipe, labels
from .step import Maps, StepAttention, TraceStep, as_array, recorded
from .thinning import evenly
from .tokens import PromptTokens, Span

if TYPE_CHECKING:
    from ..diffusion.samplers import Step
    from .questions import Ablation, Askable

StepNumbers: TypeAlias = "int | Sequence[int] | np.ndarray | None"
"""One or several of `TraceStep.index`; None: those that a recipe names."""


@runtime_checkable
class Recordable(Protocol):
    """A run, as far as its record needs it: `sdwidgets.pipeline.Run`, whose members these are.

    What it began from, its ``image``, ``mask`` and ``latents``, is recorded where it has them.
    """

    @property
    def model(self) -> Any: ...  # kept by a weak reference
    @property
    def model_name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def settings(self) -> Settings: ...  # resolved
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> list[float]: ...  # of the steps taken so far, by their index
    def prompt_tokens(self) -> tuple[PromptTokens, ...]: ...
    def negative_tokens(self) -> tuple[PromptTokens, ...]: ...
    def __len__(self) -> int: ...  # steps of the whole run
    def __iter__(self) -> Iterator[Step]: ...  # those that are left
    def pictures(self, step: Step) -> list[Image.Image]: ...  # one for each of the batch


def run_of(steps: object) -> Recordable | None:
    """The run that steps are of, also behind a progress bar of tqdm's; None for other steps."""
    for one in (steps, getattr(steps, "iterable", None)):
        if isinstance(one, Recordable):
            return one
    return None


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of one run. Arrays may be shared with the run: do not write into them."""

    model: str  # its name
    task: str  # "text to image", "image to image" or "inpainting"
    settings: Settings  # as they were resolved: with the seed, the size, the guidance used
    tokens: tuple[PromptTokens, ...] = field(default=(), repr=False)  # each picture's prompt
    steps: tuple[TraceStep, ...] = field(default=(), repr=False)
    images: tuple[Image.Image, ...] = field(default=(), repr=False)  # one a picture of the batch
    expected: int = 0  # steps of the whole run
    complete: bool = True
    """Whether ``images`` are final, however many of the steps are kept; False: the run was stopped,
    they are its best guess so far."""
    notices: tuple[str, ...] = ()  # what a person should know: words cut, pictures resized
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    fingerprint: str = field(default="", repr=False)  # of the model's weights
    negative_tokens: tuple[PromptTokens, ...] = field(default=(), repr=False)  # where guided
    given_image: Image.Image | None = field(default=None, repr=False)  # what the run began from
    given_mask: Image.Image | None = field(default=None, repr=False)
    given_latents: np.ndarray | None = field(default=None, repr=False)  # noise not from the seed
    factors: np.ndarray | None = field(default=None, repr=False)  # of `images.preview_rgb`
    schedule_sigmas: tuple[float, ...] = field(default=(), repr=False)  # of training, thinned
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of a loaded record: in what precision it was kept, and the largest errors that made."""
    run_seconds: float | None = field(default=None, repr=False)  # of all steps, kept or not
    source: Any = field(default=None, repr=False)  # the model while it is there: a weak reference
    sources: tuple[Source, ...] = field(default=(), repr=False)  # what the model was made of

    @classmethod
    def of(cls, steps: Iterable[Step], run: Recordable | None = None) -> Trace:
        """The record of a run: takes all steps that are left of it, then decodes the last.

        ``Trace.of(model.sample(...))``, or of a progress bar around it; or ``Trace.of(steps, run)``
        with steps already taken from the run, perhaps not all of them. Is the run's last step not
        among them, the pictures are of the last one's clean latents.
        """
        run = run_of(steps) if run is None else run
        if run is None:
            raise TypeError("steps alone do not say what was asked: give the run, too")
        taken: list[Step] = []
        try:
            taken.extend(steps)
            images = tuple(run.pictures(taken[-1])) if taken else ()
        except BaseException:
            taken.clear()  # an error keeps this frame alive, and out of memory it must keep nothing
            raise
        record = cls.begun(run)
        notices = record.notices
        if any(image.getcolors(1) for image in images):  # None for more than one colour
            notices += ("A picture came out in one flat colour: the settings do not suit it.",)
        return replace(
            record,
            steps=tuple(_recorded(taken, run.seconds)),
            images=images,
            complete=bool(taken) and taken[-1].index == len(run) - 1,
            notices=notices,
            run_seconds=sum(run.seconds),
        )

    @classmethod
    def begun(cls, run: Recordable) -> Trace:
        """The record of a run before its first step: what was asked."""
        model, latents = run.model, getattr(run, "latents", None)
        sigmas = getattr(getattr(model, "schedule", None), "sigmas", ())
        return cls(
            model=run.model_name,
            task=run.task,
            settings=run.settings,
            tokens=run.prompt_tokens(),
            negative_tokens=run.negative_tokens(),
            expected=len(run),
            complete=False,
            notices=run.notices,
            versions=_versions(),
            fingerprint=getattr(model, "fingerprint", ""),
            given_image=getattr(run, "image", None),
            given_mask=getattr(run, "mask", None),
            given_latents=None if latents is None else as_array(latents),
            factors=getattr(model, "preview_factors", None),
            schedule_sigmas=tuple(float(sigmas[i]) for i in evenly(len(sigmas), 100)),
            source=None if model is None else weakref.ref(model),
            sources=tuple(getattr(model, "sources", ()))[:MOST],
        )

    @property
    def image(self) -> Image.Image:
        """The picture; the first of a batch. Raises InputError if the run stopped before step 1."""
        if not self.images:
            raise InputError("This run was stopped before its first step: it has no picture.")
        return self.images[0]

    @property
    def prompt(self) -> str:
        """The prompt of the first picture (`settings.prompts` has all)."""
        return self.settings.prompts[0]

    @property
    def negative_prompt(self) -> str:
        """The negative prompt of the first picture."""
        return self.settings.negative_prompts[0]

    @property
    def cut(self) -> tuple[str, ...]:
        """For each picture the words of its prompt that the network never saw; "" for none."""
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
        """(width, height) of each picture in pixels; of someone's own steps 8 times the latents'.

        Raises InputError for a record of nothing.
        """
        if self.images:
            return self.images[0].size
        if self.settings.width and self.settings.height:
            return self.settings.width, self.settings.height
        if not self.steps:
            raise InputError("This record has no steps and no picture: nothing has a size.")
        height, width = self.steps[0].x.shape[-2:]
        return 8 * width, 8 * height  # as of the usual autoencoder

    @property
    def batch_size(self) -> int:
        """How many pictures were made at once."""
        return self.steps[0].x.shape[0] if self.steps else self.settings.batch_size

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose attention was recorded, in the order of the network; () for none."""
        attention = self.steps[0].attention if self.steps else None
        return tuple(attention.cross) if attention else ()

    # ----------------------------------------------------------------------- where words look

    def heat_map(
        self,
        word: str | int | Span,
        step: StepNumbers = None,
        layer: str | int | None = None,
        *,
        resolution: int | None = None,
        head: int | None = None,
        occurrence: int | None = None,
        against: str | None = None,
        scale: str = "raw",
        uncond: bool = False,
        picture: int = 0,
        recipe: Recipe = DEFAULT,
    ) -> np.ndarray:
        """[H, W] float32 at the picture's size: how much each place took from the word.

        The mean over the word's tokens, of all its occurrences, over heads, and over the steps and
        layers that ``recipe`` names: `recipe.DEFAULT`, which found the objects of known scenes
        best, or `recipe.DAAM`, all of them. Other arguments name them instead: ``step``, one or
        several, each a `TraceStep.index`, or -1 for the last that is kept, and so on; ``layer``, by
        its name, its number, or as the viewers show it ("up 4"); ``resolution``, the longer side of
        the maps in cells; ``head``, its number, where heads were kept apart.

        ``word``: a text, its number among the prompt's words, or a (start, end) of characters;
        "<start>", "<end>" and "<padding>" are the tokens that stand for no word. ``occurrence``:
        one of several. ``uncond``: of the negative prompt's half, and its words.
        ``against``: "none", values are attention, each cell's sum over all tokens is 1; "words",
        they are the share among the prompt's words, 0 to 1: that of all the word's occurrences
        together, so that the shares of different words sum to 1. None, as the recipe says; "none"
        for "<start>" and the like, which have no share. ``scale``: "raw", values are what was just
        said; "picture", they are stretched from 0 at the least to 1 at the greatest.

        Raises InputError when nothing was recorded (``generate(..., attention=True)`` records),
        or for a word, step, layer, head or picture that is not there.
        """
        picture = checks.index("picture", picture, self.batch_size)
        checks.choice("scale", scale, ("raw", "picture"))
        maps = self._maps(step, recipe, uncond)
        names = self._layers(maps[0], layer, resolution, recipe)
        if head is not None:
            head = checks.index("head", head, min(maps[0][name].shape[1] for name in names))
        prompt = self.prompt_of(picture, uncond=uncond)
        tokens = prompt.find(word, occurrence=occurrence)
        special = isinstance(word, str) and word in SPECIAL
        if against is None:
            against = "none" if special else recipe.against
        if checks.choice("against", against, ("none", "words")) == "words" and special:
            raise InputError(
                f"{word!r} stands for no word: it has no share among them.\nLeave out against.",
                parameter="against",
            )
        width, height = self.size
        result = word_map(
            maps,
            prompt,
            tokens,
            (height, width),
            layers=names,
            picture=picture,
            head=head,
            against=against,
        )
        return stretched(result) if scale == "picture" else result

    def prompt_of(self, picture: int, *, uncond: bool = False) -> PromptTokens:
        """A picture's prompt, or negative prompt, as read. InputError where it is not recorded."""
        prompts = self.negative_tokens if uncond else self.tokens
        if picture >= len(prompts):
            which = "negative prompt" if uncond else "prompt"
            raise InputError(
                f"This record has no {which}: its words are not known.", parameter="word"
            )
        return prompts[picture]

    def _maps(self, step: StepNumbers, recipe: Recipe, uncond: bool) -> list[Maps]:
        """What was recorded of the steps that count."""
        kept = [one.attention or StepAttention() for one in self.chosen_steps(step, recipe)]
        maps = [one.uncond if uncond else one.cross for one in kept]
        if not maps or not all(maps):
            if uncond and any(one.cross for one in kept):
                raise InputError(
                    "The negative prompt's attention was not recorded.\n"
                    "Generate with attention=AttentionSettings(uncond=True), and guidance.",
                    parameter="uncond",
                )
            raise InputError("No attention was recorded.\nGenerate with attention=True.")
        return maps

    def chosen_steps(self, step: StepNumbers, recipe: Recipe = DEFAULT) -> list[TraceStep]:
        """The steps asked for, by their index; from -1, the last that is kept, backwards.

        None: those kept of the recipe's share of the whole run; all, if none of them is. Raises
        InputError for a step that is not there.
        """
        known = {one.index: one for one in self.steps}
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
                    f"Its steps: {_listed(list(known))}.",
                    parameter="step",
                )
            chosen.append(known[place])
        return chosen

    def _layers(
        self, maps: Maps, layer: str | int | None, resolution: int | None, recipe: Recipe
    ) -> list[str]:
        """The layers that count."""
        grids = sizes(maps)
        if layer is not None:
            name = self._layer(layer, list(grids))
            grids = {name: grids[name]}
        if resolution is not None:
            known = sorted({max(grid) for grid in grids.values()})
            if not checks.is_whole(resolution) or resolution not in known:
                raise InputError(
                    f"No map has {checks.shown(resolution)} cells on its longer side.\n"
                    f"Resolutions: {', '.join(map(str, known))}.",
                    parameter="resolution",
                )
            grids = {name: grid for name, grid in grids.items() if max(grid) == resolution}
        if layer is not None or resolution is not None:
            return list(grids)
        latents = self.steps[0].x.shape
        return recipe.layers(grids, (latents[-2], latents[-1]))

    def _layer(self, layer: str | int, names: list[str]) -> str:
        """The layer of that name, number or label."""
        if isinstance(layer, str):
            known = dict(zip(labels(names), names, strict=True)) | {name: name for name in names}
            if layer not in known:
                raise InputError(
                    f"There is no layer {checks.shown(layer)}.\n"
                    f"Layers: {', '.join(labels(names))}; or their full names, trace.layers.",
                    parameter="layer",
                )
            return known[layer]
        return names[checks.index("layer", layer, len(names))]

    def query(
        self,
        word: str,
        *,
        prompt: str | None = None,
        step: StepNumbers = None,
        picture: int = 0,
        model: Askable | None = None,
    ) -> np.ndarray:
        """[H, W] float32, 0 to 1: where a word would have looked that was never in the prompt.

        The queries of the run against the keys of another text (OVAM, Marcos-Manchón et al., arXiv
        2403.14291, section 3): ``prompt``, in which the word must be, or the run's own with the
        word behind it. ``step`` as in `heat_map`. Needs ``generate(...,
        attention=AttentionSettings(queries=True))`` and the model: that of the run while it is
        loaded, else ``model``. Raises InputError.
        """
        from .questions import query

        return query(self, word, prompt=prompt, step=step, picture=picture, model=model)

    def ablate(
        self,
        word: str,
        replacement: str = "",
        *,
        picture: int = 0,
        model: Askable | None = None,
    ) -> Ablation:
        """The same run without a word, or with another in its place, and what that changed.

        Where attention says what the network looked at, this says what the word did: the picture
        is made again from the same noise. Its change map and, where attention was recorded, the
        correlation of the two are in the result. ``model`` as in `query`. Raises InputError.
        """
        from .questions import ablate

        return ablate(self, word, replacement, picture=picture, model=model)

    # ------------------------------------------------------------------------------ to files

    def record(self, picture: int = 0) -> dict[str, Any]:
        """What is written into a picture's file: model, versions and the settings of that picture.

        Where there is something to say, also: the model's ``sources``, each as
        `sources.Source.as_dict`, with SHA-256 unless gigabytes would have to be read for it; what
        else was ``given`` ("image", "mask", "latents"); ``complete``, False if the run was stopped;
        the words that were ``cut``, which the network never saw; ``notices``.

        ``Settings(**record["settings"])``, with what was given, makes that picture again, alone.
        Raises InputError for a picture that is not there.
        """
        picture = checks.index("picture", picture, self.batch_size)
        settings = self.settings
        if settings.seed is not None:  # a record of someone's own steps has none
            settings = settings.of_picture(picture)
        record: dict[str, Any] = {
            "model": self.model,
            "task": self.task,
            "settings": settings.as_dict(),
            "versions": dict(self.versions),
        }
        more = {
            "fingerprint": self.fingerprint,
            "sources": [one.as_dict() for one in hashed(self.sources, QUICK)],
            "given": [
                name
                for name in ("image", "mask", "latents")
                if getattr(self, f"given_{name}") is not None
            ],
            "cut": self.cut[picture] if picture < len(self.cut) else "",
            "notices": list(self.notices),
        }
        record |= {name: value for name, value in more.items() if value}
        return record if self.complete else {**record, "complete": False}

    def png(self, picture: int = 0) -> bytes:
        """The bytes of a PNG with its settings inside (see `read_settings`).

        Raises InputError for a picture that is not there.
        """
        picture = checks.index("picture", picture, len(self.images))
        return encode_png(self.images[picture], self.record(picture))

    def save_image(self, path: str | os.PathLike[str], picture: int = 0) -> Path:
        """Write that PNG, whole or not at all."""
        return write_file(path, self.png(picture))

    def save(self, path: str | os.PathLike[str], *, precision: str = "8-bit") -> Path:
        """Write the whole record into one file, whole or not at all; see `file.save`."""
        from .file import save

        return save(self, path, precision=precision)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a record back, with neither torch nor the model; see `file.load`."""
        from .file import load

        return load(path)

    def export_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one page that plays the run in any browser, with no server and no network."""
        from .page import export_html

        return export_html(self, path)

    def animation(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the run as an animation: .webp, .gif or .mp4; see `animation.animation`."""
        from .animation import animation

        return animation(self, path, **options)

    def contact_sheet(self, **options: Any) -> Any:
        """A matplotlib figure of steps x views, for papers; see `sheet.contact_sheet`."""
        from .sheet import contact_sheet

        return contact_sheet(self, **options)

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.images else None


def _recorded(steps: Sequence[Step], seconds: Sequence[float]) -> Iterator[TraceStep]:
    """The records of consecutive steps, each sharing its latents with the next."""
    before: tuple[Step, TraceStep] | None = None
    for step in steps:
        follows = before is not None and step.x is before[0].x_next
        took = seconds[step.index] if step.index < len(seconds) else None
        one = recorded(step, took, before[1] if before and follows else None)
        yield one
        before = step, one


def _listed(numbers: Sequence[int]) -> str:
    """Step numbers in a short line."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return checks.shortened(", ".join(map(str, numbers)), 80) or "(none)"


def _versions() -> dict[str, str]:
    from .. import __version__

    torch = sys.modules.get("torch")  # it is what ran; nothing here needs it
    return {
        "sdwidgets": __version__,
        **({"torch": str(torch.__version__)} if torch else {}),
        "python": platform.python_version(),
    }
