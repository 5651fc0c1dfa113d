"""The record of a run: what was asked, every step, and the pictures."""

from __future__ import annotations

import numbers
import os
import platform
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from ..diffusion.samplers import Step
from ..errors import InputError
from .attention import heat_map, tokens_of
from .images import encode_png, write_file

if TYPE_CHECKING:
    from ..models.text import Tokens
    from ..settings import Settings


@runtime_checkable
class Recordable(Protocol):
    """A run, as far as its record needs it: `sdwidgets.pipeline.Run`."""

    @property
    def model_name(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def seconds(self) -> list[float]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Step]: ...
    def pictures(self, step: Step) -> list[Image.Image]: ...


@dataclass(frozen=True, eq=False)
class Trace:
    """The record of one run. Tensors are those of the steps, on the run's device: do not write."""

    model: str  # its name
    task: str  # "text to image", "image to image" or "inpainting"
    settings: Settings  # as they were resolved: with the seed, the size, the guidance used
    tokens: Tokens = field(repr=False)  # the prompts as the network read them
    steps: tuple[Step, ...] = field(repr=False)
    images: tuple[Image.Image, ...] = field(repr=False)  # one a picture of the batch
    seconds: tuple[float, ...] = field(repr=False)  # time each step took
    complete: bool = True  # False: the run was stopped; images are the best guess so far
    notices: tuple[str, ...] = ()  # what a person should know: words cut, pictures resized
    versions: dict[str, str] = field(default_factory=dict, repr=False)

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
        notices = run.notices
        if any(image.getcolors(1) for image in images):  # None for more than one colour
            notices += ("A picture came out in one flat colour: the settings do not suit it.",)
        return cls(
            model=run.model_name,
            task=run.task,
            settings=run.settings,
            tokens=run.tokens,
            steps=tuple(taken),
            images=images,
            seconds=tuple(run.seconds),
            complete=bool(taken) and taken[-1].index == len(run) - 1,
            notices=notices,
            versions=_versions(),
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
        return self.tokens.cut

    @property
    def total(self) -> float:
        """Seconds that all steps took together."""
        return sum(self.seconds)

    def heat_map(
        self, word: str, step: int | None = None, layer: str | None = None, *, picture: int = 0
    ) -> Tensor:
        """[H, W] float32 at the picture's size: how much each place took from the word, 0 to 1.

        The mean over steps and layers (or of one), over the word's tokens and its occurrences.
        Raises InputError when nothing was recorded (``generate(..., attention=True)`` records), or
        for a word, step, layer or picture that is not there.
        """
        _check_index("picture", picture, self.settings.batch_size)
        if step is not None:
            _check_index("step", step, len(self.steps))
        steps = self.steps if step is None else (self.steps[step],)
        spans, cut = self.tokens.words[picture], self.tokens.cut[picture]
        tokens = tokens_of(word, self.settings.prompts[picture], spans, cut)
        width, height = self.settings.size
        maps = [one.attention or {} for one in steps]
        return heat_map(maps, tokens, (height, width), picture=picture, layer=layer)

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
            "versions": self.versions,
        }
        if self.cut[picture]:
            record["cut"] = self.cut[picture]
        if self.notices:
            record["notices"] = list(self.notices)
        return record

    def png(self, picture: int = 0) -> bytes:
        """The bytes of a PNG with its settings inside (see `images.read_record`)."""
        return encode_png(self.images[picture], self.record(picture))

    def save_image(self, path: str | os.PathLike[str], picture: int = 0) -> Path:
        """Write that PNG, whole or not at all."""
        return write_file(path, self.png(picture))

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.images else None


def _check_index(name: str, value: object, count: int) -> None:
    """Raise InputError unless ``value`` is a whole number that counts, from either end."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not -count <= value < count:  # type: ignore[operator]
        raise InputError(
            f"{name} must be a whole number from 0 to {count - 1}, got {reprlib.repr(value)}.",
            parameter=name,
        )


def _versions() -> dict[str, str]:
    from .. import __version__

    return {
        "sdwidgets": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
