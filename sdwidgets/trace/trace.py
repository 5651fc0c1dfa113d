"""The record of a run: what was asked, every step, and the pictures.

Plain data: settings, text, numpy arrays and PIL images. Reading and showing a record needs no
torch and no model; asking it something new (`Trace.query`, `Trace.ablate`) needs the model.
"""

from __future__ import annotations

import itertools
import numbers
import os
import platform
import reprlib
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from ..errors import InputError
from ..settings import Settings
from .images import encode_png, write_file
from .maps import sizes, stretched, word_map
from .recipe import DEFAULT, Recipe, labels
from .step import Maps, StepAttention, TraceStep, as_array, recorded
from .tokens import SPECIAL, PromptTokens, Span

if TYPE_CHECKING:
    from ..diffusion.samplers import Step
    from .questions import Ablation, Askable


@runtime_checkable
class Recordable(Protocol):
    """A run, as far as its record needs it: `sdwidgets.pipeline.Run`."""

    @property
    def model(self) -> Any: ...
    @property
    def model_name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> list[float]: ...
    def prompt_tokens(self) -> tuple[PromptTokens, ...]: ...
    def negative_tokens(self) -> tuple[PromptTokens, ...]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Step]: ...
    def pictures(self, step: Step) -> list[Image.Image]: ...


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
    complete: bool = True  # False: the run was stopped; images are the best guess so far
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
    source: Any = field(default=None, repr=False)  # the model while it is there: a weak reference

    @classmethod
    def of(cls, steps: Iterable[Step], run: Recordable | None = None) -> Trace:
        """The record of a run: takes all steps that are left of it, then decodes the last.

        ``Trace.of(model.sample(...))``; or ``Trace.of(steps, run)`` with steps already taken from
        the run, perhaps not all of them: then the pictures are of the last step's clean latents.
        """
        if run is None:
            if not isinstance(steps, Recordable):
                raise TypeError("steps alone do not say what was asked: give the run, too")
            run = steps
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
            schedule_sigmas=tuple(float(sigmas[i]) for i in _spread(len(sigmas), 100)),
            source=None if model is None else weakref.ref(model),
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
        """The time each step took."""
        return tuple(step.seconds or 0.0 for step in self.steps)

    @property
    def total(self) -> float:
        """Seconds that all steps took together."""
        return sum(self.seconds)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose attention was recorded, in the order of the network; () for none."""
        attention = self.steps[0].attention if self.steps else None
        return tuple(attention.cross) if attention else ()

    # ----------------------------------------------------------------------- where words look

    def heat_map(
        self,
        word: str | int | Span,
        step: int | Sequence[int] | None = None,
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

        The mean over the word's tokens and its occurrences, over heads, and over the steps and
        layers that ``recipe`` names: `recipe.DEFAULT`, which found the objects of known scenes
        best, or `recipe.DAAM`, all of them. ``step`` (one or several), ``layer``, ``resolution``
        (the longer side of the maps, in cells) and ``head`` (where heads were kept apart) name
        them instead; a layer by its
        name, its number, or as the viewers show it ("up 4").

        ``word``: a text, its number among the prompt's words, or a (start, end) of characters;
        "<start>", "<end>" and "<padding>" are the tokens that stand for no word. ``occurrence``:
        one of several. ``uncond``: of the negative prompt's half, and its words.
        ``against``: "none", values are attention, each cell's sum over all tokens is 1; "words",
        they are the share among the prompt's words, 0 to 1; None, as the recipe says (never for
        "<start>" and the like). ``scale``: "raw", values are what was just said; "picture", they
        are stretched from 0 at the least to 1 at the greatest.

        Raises InputError when nothing was recorded (``generate(..., attention=True)`` records),
        or for a word, step, layer or picture that is not there.
        """
        _check_index("picture", picture, self.settings.batch_size)
        _check_choice("scale", scale, ("raw", "picture"))
        maps = self._maps(step, recipe, uncond)
        names = self._layers(maps[0], layer, resolution, recipe)
        if head is not None:
            _check_index("head", head, min(maps[0][name].shape[1] for name in names))
        prompt = (self.negative_tokens if uncond else self.tokens)[picture]
        tokens = prompt.find(word, occurrence=occurrence)
        if against is None:
            against = "none" if word in SPECIAL else recipe.against
        _check_choice("against", against, ("none", "words"))
        width, height = self.settings.size
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

    def _maps(self, step: int | Sequence[int] | None, recipe: Recipe, uncond: bool) -> list[Maps]:
        """What was recorded of the steps that count."""
        chosen = self.chosen_steps(step, recipe)
        kept = [self.steps[one].attention or StepAttention() for one in chosen]
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

    def chosen_steps(self, step: int | Sequence[int] | None, recipe: Recipe) -> list[int]:
        """The indices of the steps asked for; the recipe's for None, by its share of the whole run.

        Of a run that was stopped before that, all there are. Raises InputError.
        """
        count = len(self.steps)
        if step is None:
            inside = [i for i in recipe.chosen_steps(self.expected or count) if i < count]
            return inside or list(range(count))
        several = isinstance(step, Sequence) and not isinstance(step, (str, bytes)) and len(step)
        chosen: list[Any] = list(step) if several else [step]  # type: ignore[arg-type]
        for one in chosen:
            _check_index("step", one, count)
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
            if resolution not in known or isinstance(resolution, bool):
                raise InputError(
                    f"No map has {reprlib.repr(resolution)} cells on its longer side.\n"
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
                    f"There is no layer {reprlib.repr(layer)}.\n"
                    f"Layers: {', '.join(labels(names))}; or their full names, trace.layers.",
                    parameter="layer",
                )
            return known[layer]
        _check_index("layer", layer, len(names))
        return names[layer]

    def query(
        self,
        word: str,
        *,
        prompt: str | None = None,
        step: int | Sequence[int] | None = None,
        picture: int = 0,
        model: Askable | None = None,
    ) -> np.ndarray:
        """[H, W] float32, 0 to 1: where a word would have looked that was never in the prompt.

        The queries of the run against the keys of another text (OVAM, Marcos-Manchón et al., arXiv
        2403.14291, section 3): ``prompt``, in which the word must be, or the run's own with the
        word behind it. Needs ``generate(..., attention=AttentionSettings(queries=True))`` and the
        model: that of the run while it is loaded, else ``model``. Raises InputError.
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
        """What is written into a picture's file: model, versions and the settings of that picture,
        and, if there were any, the words the network never saw and what a person should know.

        ``Settings(**record["settings"])`` makes that picture again, alone.
        """
        one = self.settings.of_picture(picture)
        record: dict[str, Any] = {
            "model": self.model,
            "task": self.task,
            "settings": one.as_dict(),
            "versions": dict(self.versions),
        }
        if self.fingerprint:
            record["fingerprint"] = self.fingerprint
        if self.cut[picture]:
            record["cut"] = self.cut[picture]
        if self.notices:
            record["notices"] = list(self.notices)
        return record

    def png(self, picture: int = 0) -> bytes:
        """The bytes of a PNG with its settings inside (see `read_settings`)."""
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
    for step, took in itertools.zip_longest(steps, seconds[: len(steps)]):
        follows = before is not None and step.x is before[0].x_next
        one = recorded(step, took, before[1] if before and follows else None)
        yield one
        before = step, one


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` indices, evenly, both ends among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _check_index(name: str, value: object, count: int) -> None:
    """Raise InputError unless ``value`` is a whole number that counts, from either end."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not -count <= value < count:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 0 to {count - 1}, got {reprlib.repr(value)}.",
            parameter=name,
        )


def _check_choice(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(
            f"{name} must be one of {', '.join(map(repr, known))}, got {reprlib.repr(value)}.",
            parameter=name,
        )


def _versions() -> dict[str, str]:
    from .. import __version__

    torch = sys.modules.get("torch")  # it is what ran; nothing here needs it
    return {
        "sdwidgets": __version__,
        **({"torch": str(torch.__version__)} if torch else {}),
        "python": platform.python_version(),
    }
