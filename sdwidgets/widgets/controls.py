"""The Studio's controls: ipywidgets in rows, tied to its traits; css gives them their places."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets
from PIL import Image

from ..errors import InputError
from ..manager import DEFAULT_MODEL
from ..sampling import SAMPLERS, SCHEDULES

THUMBNAIL = 64  # pixels along the longer side


class Controls:
    """What a person sets and presses.

    ``rows``: to be put on the page, in this order. ``fields``: the controls of settings, by the
    names of their traits. ``everything``: all widgets there are.
    """

    def __init__(self) -> None:
        w = ipywidgets
        self.generate = w.Button(description="Generate", tooltip="Generate a picture (Ctrl-Enter)")
        self.stop = w.Button(description="Stop", tooltip="Stop within a step")
        self.dice = w.Button(tooltip="A new random seed")
        self.more = w.ToggleButton(description="More", tooltip="Sampler, size, model, batch")
        self.look = w.ToggleButton(
            description="See inside", tooltip="Every step, and where each word looks"
        )
        self.drop = w.Button(
            description="Begin from noise", tooltip="Without this picture: from noise alone"
        )
        self.start = w.Image(format="png")
        self.start.add_class("sdw-start-picture")
        self.count = w.Label("")
        self.count.add_class("sdw-count")
        self.count.add_class("mathjax_ignore")  # a prompt's dollars are dollars
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
            "strength": w.FloatText(description="strength", step=0.05),
            "sampler": w.Dropdown(description="sampler", options=SAMPLERS),
            "schedule": w.Dropdown(description="noise levels", options=SCHEDULES),
            "width": w.FloatText(description="width", step=8),
            "height": w.FloatText(description="height", step=8),
            "batch_size": w.FloatText(description="pictures", step=1),
        }
        for name, field in self.fields.items():
            field.add_class(f"sdw-{name.replace('_', '-')}")
            if hasattr(field, "continuous_update"):
                field.continuous_update = name == "prompt"  # its tokens are counted live
        buttons = ("generate", "stop", "dice", "more", "look", "drop")
        for name in buttons:
            getattr(self, name).add_class(f"sdw-{name}")

        f = self.fields
        ask = row("ask", f["prompt"], self.count)
        seed = row("seed-row", f["seed"], self.dice)
        top = row("top", ask, self.generate, self.stop)
        numbers = f["steps"], f["guidance_scale"]
        main = row("main", f["negative_prompt"], seed, *numbers, self.more, self.look)
        names = ("model", "sampler", "schedule", "width", "height", "batch_size")
        self._rest = row("rest", *(f[name] for name in names))
        self._begun = row("start", self.start, f["strength"], self.drop)
        fold(self._rest, True)
        fold(self._begun, True)
        self.more.observe(lambda change: fold(self._rest, not change.new), "value")
        self.rows = [top, main, self._rest, self._begun]
        self.everything: tuple[Any, ...] = (
            *f.values(), *(getattr(self, name) for name in buttons), self.count, self.start, ask,
            seed, *self.rows,
        )  # fmt: skip
        self._wrong: dict[str, InputError] = {}

    @property
    def wrong(self) -> InputError | None:
        """What is wrong with a value that is in a control and can be no setting; None if nothing.

        Such a value stays there, marked, until somebody puts it right: a run would be of something
        else than what the page shows.
        """
        return next(iter(self._wrong.values()), None)

    def tie(self, settings: Any, refuse: Callable[[InputError], None]) -> None:
        """Make each field and the trait of its name in ``settings`` have one value.

        ``refuse`` is called with what is wrong with a value that the trait does not take.
        """

        def take(name: str, value: Any) -> None:
            if isinstance(value, float) and value.is_integer() and name != "guidance_scale":
                value = int(value)
            self._wrong.pop(name, None)
            try:
                setattr(settings, name, value)
            except InputError as error:
                self._wrong[name] = error
                refuse(error)

        for name, field in self.fields.items():
            self.fill(name, getattr(settings, name))
            settings.observe(lambda change: self.fill(change.name, change.new), name)
            field.observe(lambda change, name=name: take(name, change.new), "value")

    def fill(self, name: str, value: Any) -> None:
        """Put a setting's value into its field."""
        self._wrong.pop(name, None)
        self.fields[name].value = value

    def mark(self, parameter: str | None) -> None:
        """Mark the field that an error is about, and no other."""
        for name, field in self.fields.items():
            if name == parameter:
                field.add_class("sdw-wrong")
                if field in self._rest.children:
                    self.more.value = True
            else:
                field.remove_class("sdw-wrong")

    def offer(self, names: Iterable[str]) -> None:
        """Put more models into the picker."""
        field = self.fields["model"]
        field.options = tuple(dict.fromkeys([*field.options, *names]))

    def show_start(self, image: Image.Image | None) -> None:
        """Show the image that runs begin from and what goes with it, where there is one."""
        self.start.value = b"" if image is None else thumbnail(image)
        fold(self._begun, image is None)


def row(name: str, *children: Any) -> Any:
    """A box that css finds by its name."""
    box = ipywidgets.HBox(children)
    box.add_class("sdw-row")
    box.add_class(f"sdw-{name}")
    return box


def fold(box: Any, folded: bool) -> None:
    """Take a row off the page, or put it back."""
    (box.add_class if folded else box.remove_class)("sdw-folded")


def thumbnail(image: Image.Image) -> bytes:
    """A small PNG of an image."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "png")
    return file.getvalue()
