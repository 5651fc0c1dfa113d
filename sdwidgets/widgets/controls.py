"""The Studio's controls: rows of ipywidgets tied to its traits. CSS places them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..configs import DECIDED
from ..errors import InputError
from ..manager import DEFAULT_MODEL
from ..sampling import SAMPLERS, SCHEDULES
from ..settings import TOLD
from .guide import GuideRow
from .loras import LoraList
from .more import MORE, MoreView, Situation, taken, written
from .rows import fold, row
from .start import StartView
from .words import WordsView

if TYPE_CHECKING:
    from ..loras import Lora
    from ..pipeline import LatentDiffusion


BRACKETS = {
    "weigh words, mean kept": "mean",
    "weigh words": "plain",
    "are text": "none",
}
"""What the page calls the values of `prompts.WEIGHTS`."""


OF_START = ("image", "mask")
"""Parameters of errors that are about the start image."""

OF_GUIDE = ("guide", "guide_scale")
"""Parameters of errors that are about the guide's row."""


class Controls:
    """The fields and buttons of a Studio. ``start``: its view of the start image; ``take_loras``:
    see `LoraList`; ``take_guide``: see `GuideRow`.

    ``rows``: the rows of the page, in order. ``fields``: the settings' controls by trait name.
    ``everything``: all widgets.
    """

    def __init__(
        self,
        start: StartView,
        take_loras: Callable[[tuple[Lora, ...]], object],
        take_guide: Callable[[Any], object],
    ) -> None:
        w = ipywidgets
        self.generate = w.Button(description="Generate", tooltip="Generate an image (Ctrl-Enter)")
        self.stop = w.Button(description="Stop", tooltip="Stop within a step")
        self.dice = w.Button(tooltip="A new random seed")
        self.more = w.ToggleButton(description="More", tooltip="Sampler, size, model, batch")
        self.look = w.ToggleButton(
            description="See inside", tooltip="Every step, and where each word looks"
        )
        self.live = w.ToggleButton(
            description="Live", tooltip="The image follows the words and settings as you type"
        )
        self.start = start
        self.end_comparison = w.Button(description="Close the comparison")
        self.apart = row("apart", self.end_comparison)
        self.words = WordsView()
        self.loras = LoraList(take_loras)
        self.further = MoreView()
        self.about = w.Label("")
        self.about.add_class("sdw-about")
        self.about.add_class("mathjax_ignore")  # a name's dollars are dollars
        self.fields: dict[str, Any] = {
            "prompt": w.Textarea(
                description="prompt", rows=2, placeholder="a cat left of a car on a blue background"
            ),
            "negative_prompt": w.Text(description="negative prompt"),
            "seed": w.FloatText(description="seed", step=1),
            "steps": w.FloatText(description="steps", step=1),
            "guidance_scale": w.FloatText(description="guidance", step=0.5),
            "model": w.Combobox(
                description="model",
                options=[DEFAULT_MODEL],
                placeholder="emoji, a folder, a file, or owner/name",
            ),
            "strength": self.start,
            "fit": self.start,
            "sampler": w.Dropdown(description="sampler", options=SAMPLERS),
            "schedule": w.Dropdown(description="noise levels", options=SCHEDULES),
            "weights": w.Dropdown(description="brackets", options=list(BRACKETS.items())),
            "clip_skip": w.FloatText(description="clip skip", step=1),
            "chunks": w.FloatText(description="chunks", step=1),
            "width": w.FloatText(description="width", step=8),
            "height": w.FloatText(description="height", step=8),
            "batch_size": w.FloatText(description="images", step=1),
            "guide_scale": w.FloatText(description="guide_scale", step=0.1),
            **dict.fromkeys(MORE, self.further),
            "image_guidance_scale": w.FloatText(description="image guidance", step=0.5),
            "noise_level": w.FloatText(description="noise on the image", step=10),
            "aesthetic_score": w.FloatText(description="aesthetic score", step=0.5),
            "negative_aesthetic_score": w.FloatText(description="negative score", step=0.5),
        }
        self.guide = GuideRow(self.fields["guide_scale"], take_guide)
        for name, field in self.fields.items():
            if field not in (self.start, self.further):
                field.add_class(f"sdw-{name.replace('_', '-')}")
            if hasattr(field, "continuous_update"):
                field.continuous_update = name == "prompt"  # tokens are counted live
        buttons = ("generate", "stop", "dice", "more", "look", "live")
        for name in buttons:
            getattr(self, name).add_class(f"sdw-{name}")

        f = self.fields
        self._inputs = row("inputs")  # where the panels of what a model takes are
        self._known = row("seat", self.words)  # a page folds boxes, and no view of ours
        self._begins = row("seat", self.start)
        ask = row("ask", f["prompt"], self._known, self._inputs)
        fold(self._inputs, True)
        seed = row("seed-row", f["seed"], self.dice)
        top = row("top", ask, self.generate, self.stop)
        numbers = f["steps"], f["guidance_scale"]
        buttons_of_main = self.more, self.look, self.live, self._begins
        main = row("main", f["negative_prompt"], seed, *numbers, *buttons_of_main)
        read = ("weights", "clip_skip", "chunks")
        names = ("model", "sampler", "schedule", "width", "height", "batch_size", *read)
        self._rest = row("rest", *(f[name] for name in names), self.about)
        self._further = row("all", self.further)
        self._unfold()
        self._told = row("told", *(f[name] for name in TOLD))
        self.show_told(())
        self.more.observe(lambda _: self._unfold(), "value")
        self.easel = row("easel")  # where the Painter is while it is open
        fold(self.easel, True)
        below = self._told, self._rest, self.guide.box, self.loras.box, self._further
        self.rows = [top, main, self.easel, *below]
        self.everything: tuple[Any, ...] = (
            *dict.fromkeys(f.values()), *(getattr(self, name) for name in buttons), self.words,
            self.about, ask, seed, self._inputs, self._known, self._begins, *self.rows,
            *self.guide.parts, self.loras.add, self.end_comparison, self.apart,
        )  # fmt: skip
        self._wrong: dict[str, InputError] = {}

    @property
    def wrong(self) -> InputError | None:
        """The error about a value in a control that is no valid setting; None if all are valid.

        Such a value stays in its control, marked, until it is corrected. Until then no run starts,
        since it would differ from what the page shows.
        """
        return next(iter(self._wrong.values()), self.guide.wrong or self.loras.wrong)

    def tie(
        self,
        settings: Any,
        refuse: Callable[[InputError], None],
        accept: Callable[[str], None],
    ) -> None:
        """Keep each field and the trait of the same name in ``settings`` equal.

        ``refuse`` is called with the error if the trait rejects a field's value, ``accept`` with
        the setting's name if it takes it.
        """

        def take(name: str, value: Any) -> None:
            text = value
            if name in MORE:
                value = MORE[name].read(text)
            elif isinstance(value, float) and value.is_integer() and name != "guidance_scale":
                value = int(value)
            if name in TOLD and getattr(settings, name) is None and value == TOLD[name]:
                return  # the field shows the default
            self._wrong.pop(name, None)
            try:
                setattr(settings, name, value)
            except InputError as error:
                self._wrong[name] = error
                if name in MORE:
                    self.further.fill(name, text)
                refuse(error)
            else:
                if name in MORE:
                    self.fill(name, getattr(settings, name))  # as it was understood
                accept(name)

        for name, field in self.fields.items():
            self.fill(name, getattr(settings, name))
            settings.observe(lambda _, name=name: self.fill(name, getattr(settings, name)), name)
            if name not in MORE:
                field.observe(lambda change, name=name: take(name, change.new), trait_of(name))
        self.further.take = take
        self.guide.refuse = refuse

    def fill(self, name: str, value: Any) -> None:
        """Put a setting's value into its field; for None, the default of models that take it."""
        self._wrong.pop(name, None)
        if name in MORE:
            self.further.fill(name, written(name, value))
        if name in MORE or name not in self.fields:  # a panel shows it
            return
        setattr(self.fields[name], trait_of(name), TOLD[name] if value is None else value)

    def mark(self, parameter: str | None) -> None:
        """Mark the field that an error is about, and unmark all others."""
        wrong: Any = self.start if parameter in OF_START else self.fields.get(parameter or "")
        for field in dict.fromkeys(self.fields.values()):
            (field.add_class if field is wrong else field.remove_class)("sdw-wrong")
        self.further.wrong = parameter if parameter in MORE else ""
        if parameter in MORE:
            self.further.unfolded = True
        self.guide.mark(parameter)
        if parameter in MORE or parameter in OF_GUIDE or wrong in self._rest.children:
            self.more.value = True

    def _unfold(self) -> None:
        """Show what is behind the buttons that are pressed."""
        fold(self._rest, not self.more.value)
        fold(self._further, not self.more.value)
        self.guide.unfold(self.more.value)
        self.loras.unfold(self.more.value)

    def place(self, painter: Any) -> None:
        """Show the Painter below the start image; None removes it. All other rows stay."""
        self.easel.children = () if painter is None else (painter,)
        fold(self.easel, painter is None)
        self.start.painting = painter is not None

    def place_inputs(self, panels: Sequence[Any]) -> None:
        """Show these panels below the prompt, or in its place."""
        self._inputs.children = (*panels,)
        fold(self._inputs, not panels)

    def show_taken(self, *, worded: bool, image: bool) -> None:
        """Show the prompt's fields if the model is told words, and the start image if it takes
        one."""
        for field in (self.fields["prompt"], self._known, self.fields["negative_prompt"]):
            fold(field, not worded)
        fold(self._begins, not image)

    def show_told(self, names: Collection[str]) -> None:
        """Show those fields of `settings.TOLD` that the model takes, and hide the others."""
        for name in TOLD:
            fold(self.fields[name], name not in names)
        fold(self._told, not names)

    def show_more(self, now: Situation) -> None:
        """Show those fields of `more.MORE` that a run takes now, with the defaults that they have.

        A hidden field keeps no wrong text, which nobody could correct.
        """
        for name in ({*MORE} - {*taken(now)}) & {*self._wrong}:
            self.fill(name, getattr(now.settings, name))
        self.further.show(now)

    def offer(self, names: Iterable[str]) -> None:
        """Add models to the picker."""
        field = self.fields["model"]
        field.options = tuple(dict.fromkeys([*field.options, *names]))


def about(model: LatentDiffusion) -> str:
    """A line about a model: what it predicts, how that is known, and its size of images."""
    how = DECIDED.get(model.prediction_source)
    predicts = f"predicts {model.prediction}" + (f" ({how})" if how else "")
    size = model.config.size
    return f"This model {predicts}; it was made for {size} x {size} pixels"


def trait_of(name: str) -> str:
    """The trait of a setting's own control that holds its value."""
    return name if name in ("strength", "fit") else "value"
