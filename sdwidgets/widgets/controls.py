"""The Studio's controls: rows of ipywidgets tied to its traits. CSS places them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..configs import DECIDED
from ..errors import InputError
from ..manager import DEFAULT_MODEL
from ..sampling import SAMPLERS, SCHEDULES
from ..settings import TOLD
from .loras import LoraList
from .start import Restore, StartView
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


class Controls:
    """The fields and buttons of a Studio. ``take`` and ``restore``: see `StartView`;
    ``take_loras``: see `LoraList`.

    ``rows``: the rows of the page, in order. ``fields``: the settings' controls by trait name.
    ``everything``: all widgets.
    """

    def __init__(
        self,
        take: Callable[[bytes | None], object],
        restore: Restore,
        take_loras: Callable[[tuple[Lora, ...]], object],
    ) -> None:
        w = ipywidgets
        self.generate = w.Button(description="Generate", tooltip="Generate an image (Ctrl-Enter)")
        self.stop = w.Button(description="Stop", tooltip="Stop within a step")
        self.dice = w.Button(tooltip="A new random seed")
        self.more = w.ToggleButton(description="More", tooltip="Sampler, size, model, batch")
        self.look = w.ToggleButton(
            description="See inside", tooltip="Every step, and where each word looks"
        )
        self.start = StartView(take, restore)
        self.end_comparison = w.Button(description="Close the comparison")
        self.apart = row("apart", self.end_comparison)
        self.words = WordsView()
        self.loras = LoraList(take_loras)
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
            "image_guidance_scale": w.FloatText(description="image guidance", step=0.5),
            "noise_level": w.FloatText(description="noise on the image", step=10),
            "aesthetic_score": w.FloatText(description="aesthetic score", step=0.5),
            "negative_aesthetic_score": w.FloatText(description="negative score", step=0.5),
        }
        for name, field in self.fields.items():
            if field is not self.start:
                field.add_class(f"sdw-{name.replace('_', '-')}")
            if hasattr(field, "continuous_update"):
                field.continuous_update = name == "prompt"  # tokens are counted live
        buttons = ("generate", "stop", "dice", "more", "look")
        for name in buttons:
            getattr(self, name).add_class(f"sdw-{name}")

        f = self.fields
        ask = row("ask", f["prompt"], self.words)
        seed = row("seed-row", f["seed"], self.dice)
        top = row("top", ask, self.generate, self.stop)
        numbers = f["steps"], f["guidance_scale"]
        buttons_of_main = self.more, self.look, self.start
        main = row("main", f["negative_prompt"], seed, *numbers, *buttons_of_main)
        read = ("weights", "clip_skip", "chunks")
        names = ("model", "sampler", "schedule", "width", "height", "batch_size", *read)
        self._rest = row("rest", *(f[name] for name in names), self.about)
        fold(self._rest, True)
        self._told = row("told", *(f[name] for name in TOLD))
        self.show_told(())
        self.more.observe(lambda change: fold(self._rest, not change.new), "value")
        self.more.observe(lambda change: self.loras.unfold(change.new), "value")
        self.rows = [top, main, self._told, self._rest, self.loras.box]
        self.everything: tuple[Any, ...] = (
            *dict.fromkeys(f.values()), *(getattr(self, name) for name in buttons), self.words,
            self.about, ask, seed, *self.rows, self.loras.add, self.end_comparison, self.apart,
        )  # fmt: skip
        self._wrong: dict[str, InputError] = {}

    @property
    def wrong(self) -> InputError | None:
        """The error about a value in a control that is no valid setting; None if all are valid.

        Such a value stays in its control, marked, until it is corrected. Until then no run starts,
        since it would differ from what the page shows.
        """
        return next(iter(self._wrong.values()), self.loras.wrong)

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
            if isinstance(value, float) and value.is_integer() and name != "guidance_scale":
                value = int(value)
            if getattr(settings, name) is None and value == TOLD[name]:
                return  # the field shows the default
            self._wrong.pop(name, None)
            try:
                setattr(settings, name, value)
            except InputError as error:
                self._wrong[name] = error
                refuse(error)
            else:
                accept(name)

        for name, field in self.fields.items():
            self.fill(name, getattr(settings, name))
            settings.observe(lambda change: self.fill(change.name, change.new), name)
            field.observe(lambda change, name=name: take(name, change.new), trait_of(name))

    def fill(self, name: str, value: Any) -> None:
        """Put a setting's value into its field; for None, the default of models that take it."""
        self._wrong.pop(name, None)
        setattr(self.fields[name], trait_of(name), TOLD[name] if value is None else value)

    def mark(self, parameter: str | None) -> None:
        """Mark the field that an error is about, and unmark all others."""
        for name, field in self.fields.items():
            if name == parameter:
                field.add_class("sdw-wrong")
                if field in self._rest.children:
                    self.more.value = True
            else:
                field.remove_class("sdw-wrong")

    def show_told(self, names: Collection[str]) -> None:
        """Show those fields of `settings.TOLD` that the model takes, and hide the others."""
        for name in TOLD:
            fold(self.fields[name], name not in names)
        fold(self._told, not names)

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
    """The trait of a setting's control that holds its value."""
    return name if name in ("strength", "fit") else "value"


def row(name: str, *children: Any) -> Any:
    """A box with a CSS class from its name."""
    box = ipywidgets.HBox(children)
    box.add_class("sdw-row")
    box.add_class(f"sdw-{name}")
    return box


def fold(box: Any, folded: bool) -> None:
    """Hide or show a row."""
    (box.add_class if folded else box.remove_class)("sdw-folded")
