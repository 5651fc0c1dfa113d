"""The row of what steers the Studio's runs: a ready guide, chosen in a list, and how much it does.

Importing torch takes seconds, so the ready guides are imported when one is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets
from PIL import Image, ImageColor

from ..checks import shortened
from ..errors import InputError
from .rows import fold, row

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOICES = {
    "none": "none",
    "colour": "a colour",
    "like": "colours as in the start image",
    "vertical": "left and right alike",
    "horizontal": "top and bottom alike",
    "smooth": "smooth",
}
"""The guides that can be chosen, in words. Each is made without any file."""

OWN = "own"
"""The choice that stands for a guide from Python which the list does not have."""

LOWEST, HIGHEST = -2, 2
"""Powers of ten at the ends of the slider; the field beside it takes every number."""


class GuideRow:
    """A list of guides, the colour of one, and a slider for how much it steers; ``box`` shows them.

    ``scale``: the field of `Settings.guide_scale`. ``take`` gets the chosen guide, or None, and
    ``refuse`` the error about a choice that makes none, which ``wrong`` keeps.
    """

    def __init__(self, scale: Any, take: Callable[[Any], object]) -> None:
        w = ipywidgets
        self._take = take
        self._image: Image.Image | None = None
        self._guide: Any = None
        self._from_image = False  # whether the guide was made of the start image here
        self._filling = False
        self.refuse: Callable[[InputError], object] = lambda error: None
        self.wrong: InputError | None = None
        self.is_open = False
        self.scale = scale
        self.kind = w.Dropdown(description="guide", options=[("none", "none")])
        self.colour = w.ColorPicker(description="colour", value="red")
        self.slider = w.FloatLogSlider(
            value=1.0,
            min=LOWEST,
            max=HIGHEST,
            step=0.05,
            description="how much it steers",
            readout=False,
            continuous_update=False,
        )
        self.through = w.Checkbox(
            value=True, description="through the network, at half the pace", indent=False
        )
        fields = {
            "kind": self.kind,
            "colour": self.colour,
            "slider": self.slider,
            "through": self.through,
        }
        for name, field in fields.items():
            field.add_class(f"sdw-guide-{name}")
        self.box = row("guide", self.kind, self.colour, self.slider, scale, self.through)
        self.parts = (*fields.values(), self.box)
        self.kind.observe(lambda _: self._chosen(), "value")
        self.colour.observe(lambda _: self._chosen(), "value")
        self.through.observe(lambda _: self._chosen(), "value")
        self.slider.observe(lambda change: self._slid(change.new), "value")
        scale.observe(lambda change: self._scaled(change.new), "value")
        self.show(None)

    def unfold(self, is_open: bool) -> None:
        """Show the row; closed, it still shows while a guide steers."""
        self.is_open = is_open
        fold(self.box, not is_open and self._guide is None)

    def show(self, guide: Any) -> None:
        """Show the guide of the runs to come, or that there is none."""
        if guide is not self._guide:
            self._from_image = False
        self._guide, self.wrong = guide, None
        self._fill()

    def follow(self, image: Image.Image | None) -> None:
        """Make the guide again that was made of the start image, now that this is another."""
        self._image = image
        if self._from_image and image is not None:
            self._chosen()
        else:
            self._fill()

    def mark(self, parameter: str | None) -> None:
        """Mark the list if an error is about the guide, else unmark it."""
        (self.kind.add_class if parameter == "guide" else self.kind.remove_class)("sdw-wrong")

    # ---------------------------------------------------------------------------------- inside

    @contextmanager
    def _filled(self) -> Iterator[None]:
        """What changes inside was not entered by a person."""
        was, self._filling = self._filling, True
        try:
            yield
        finally:
            self._filling = was

    def _fill(self) -> None:
        guide = self._guide
        kind = kind_of(guide)
        choices = {name: words for name, words in CHOICES.items() if self._offers(name, kind)}
        if kind == "like" and not self._from_image:
            choices["like"] = "colours as in an image"
        if kind == OWN:
            choices[OWN] = f"your own: {shortened(name_of(guide), 40)}"
        with self._filled():
            options = tuple((words, name) for name, words in choices.items())
            if self.kind.options != options:
                self.kind.options = options
            self.kind.value = kind
            if kind == "colour":
                self.colour.value = shown_colour(guide.colour)
            if kind not in ("none", OWN):
                self.through.value = guide.through
        self._arrange(kind)

    def _offers(self, name: str, kind: str) -> bool:
        return name != "like" or kind == "like" or self._image is not None

    def _arrange(self, kind: str) -> None:
        """Show the fields that the choice has."""
        fold(self.colour, kind != "colour")
        fold(self.through, kind in ("none", OWN))
        fold(self.slider, kind == "none")
        fold(self.scale, kind == "none")
        self.unfold(self.is_open)

    def _chosen(self) -> None:
        """Take what a person has chosen."""
        kind = self.kind.value
        if self._filling or kind == OWN:
            return
        self._arrange(kind)
        self.wrong = None
        try:
            self._guide, self._from_image = self._made(kind)
        except InputError as error:
            self.wrong = InputError(str(error), parameter="guide")
            self.refuse(self.wrong)
        else:
            self._take(self._guide)
            self._fill()

    def _made(self, kind: str) -> tuple[Any, bool]:
        """(The guide of a choice, whether it is made of the start image)."""
        if kind == "none":
            return None, False
        from .. import guides  # needs torch, as the run that it is for does

        now, through = self._guide, self.through.value
        if kind == "colour":
            if isinstance(now, guides.Colour):  # with the part of the image that it is about
                return replace(now, colour=self.colour.value, through=through), False
            return guides.colour(self.colour.value, through=through), False
        if kind == "like":
            is_like = isinstance(now, guides.Like)
            if self._image is None or (is_like and not self._from_image):
                return replace(now, through=through), False
            size = {"size": now.size} if is_like else {}
            return guides.like(self._image, through=through, **size), True
        if kind == "smooth":
            return guides.smooth(through=through), False
        return guides.symmetric(kind, through=through), False

    def _slid(self, value: float) -> None:
        if not self._filling:
            with self._filled():
                self.scale.value = float(f"{value:.3g}")

    def _scaled(self, value: float) -> None:
        """Move the slider to the number in the field, as far as it goes."""
        if not self._filling and value == value:
            with self._filled():
                self.slider.value = min(max(value, 10.0**LOWEST), 10.0**HIGHEST)


def kind_of(guide: Any) -> str:
    """The choice that stands for a guide."""
    if guide is None:
        return "none"
    from ..guides import Colour, Like, Smooth, Symmetric  # whoever made the guide has torch

    if isinstance(guide, Symmetric):
        return guide.axis
    names = {Colour: "colour", Like: "like", Smooth: "smooth"}
    return names.get(type(guide), OWN)


def shown_colour(colour: str) -> str:
    """A colour as the field takes it, which knows fewer ways to write one."""
    is_plain = colour.isalpha() or (colour.startswith("#") and len(colour) in (4, 7))
    return colour if is_plain else "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(colour)[:3])


def name_of(guide: Any) -> str:
    """The name of a guide: of one of your own, that of its function."""
    from ..guides import plain

    said = plain(guide)
    return str(said.get("function") or said["name"])
