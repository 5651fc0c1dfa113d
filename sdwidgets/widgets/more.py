"""The settings behind the Studio's "More settings": one table, and the view that has their fields.

An empty field is the default, which it shows as its placeholder. The view shows the fields of those
settings alone that the next run takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anywidget
import traitlets

from ..checks import shortened
from ..configs import ModelConfig, SizesConfig
from ..contract import ASKS, HIRES_METHODS
from ..frontend import Code
from ..sampling import EVERY_OPTION, OPTIONS, Option
from ..settings import Settings
from .life import Living
from .selection import FromPage, choice


@dataclass(frozen=True)
class Situation:
    """What decides which settings a run takes: its other ``settings``, its model's ``config`` (None
    before the model is loaded), and whether it starts from an image."""

    settings: Settings
    config: ModelConfig | None = None
    has_image: bool = False

    @property
    def options(self) -> dict[str, Option]:
        """The options of the chosen sampler, by name."""
        sampler = self.settings.sampler
        return {one.name: one for one in OPTIONS[sampler]} if sampler else {}


@dataclass(frozen=True)
class More:
    """A setting behind "More settings".

    ``label`` and ``help`` are for the page. ``usual`` returns the default in words. ``taken``
    returns whether a run takes it: the fields of the others are hidden. ``among``: its values, if
    it is a choice. ``read`` returns the value that a text stands for.
    """

    label: str
    help: str
    usual: Callable[[Situation], str]
    taken: Callable[[Situation], bool] = lambda _: True
    among: tuple[str, ...] = ()
    read: Callable[[str], Any] = lambda text: numbers_in(text)


def _of_sampler(name: str, label: str) -> More:
    """An option that only some samplers have, with the chosen one's default."""

    def usual(now: Situation) -> str:
        return f"{now.options[name].default:g}" if name in now.options else ""

    words = EVERY_OPTION[name].help
    return More(label, words[0].upper() + words[1:], usual, lambda now: name in now.options)


def _size(now: Situation) -> str:
    width, height = now.settings.width, now.settings.height
    return f"{width}, {height}" if width and height else "width, height"


def _has_image(now: Situation) -> bool:
    return now.has_image and not (now.config and now.config.starts_from_noise)


def _is_enlarged(now: Situation) -> bool:
    return now.settings.hires is not None


def _is_whole(now: Situation) -> bool:
    return now.settings.hires is None  # a second pass follows a whole first one


def _is_told_sizes(now: Situation) -> bool:
    return now.config is not None and now.config.has(SizesConfig)


MORE: dict[str, More] = {
    "variation": More(
        "variation",
        "Another seed, and how far the noise goes towards its own, 0 to 1: 7, 0.2",
        lambda _: "seed, share",
    ),
    "toward": More(
        "toward",
        "Another prompt, and how far the words' context goes towards it, 0 to 1: a dog, 0.5",
        lambda _: "prompt, share",
        read=lambda text: _prompt_and_share(text),
    ),
    "guidance_rescale": More(
        "guidance rescale",
        "How far guidance is brought back to the contrast of the prompt's half, 0 to 1",
        lambda _: f"{Settings.guidance_rescale:g}",
    ),
    "eta": _of_sampler("eta", "eta"),
    "s_noise": _of_sampler("s_noise", "s noise"),
    "s_churn": _of_sampler("s_churn", "s churn"),
    "start_step": More(
        "from step",
        "The first step of the grid that is made; with an image, in place of the strength",
        lambda _: f"{Settings.start_step}",
        _is_whole,
    ),
    "end_step": More(
        "before step",
        "The step of the grid before which the run ends",
        lambda now: f"{now.settings.steps or 'the end'}",
        _is_whole,
    ),
    "sigmas": More(
        "sigmas",
        "Falling noise levels, in place of steps and of the grid: 14.6, 3, 0.7, 0",
        lambda _: "by steps and noise levels",
    ),
    "window": More(
        "window",
        "The side in pixels of overlapping windows, which the network sees in turn",
        lambda _: "none",
    ),
    "pad": More(
        "new area",
        "Pixels around the start image: left, top, right, bottom, or one number for all",
        lambda _: "0, 0, 0, 0",
        _has_image,
    ),
    "hires": More(
        "enlarge by",
        "A second pass enlarges the image by this factor, at most 4, and adds detail (hires)",
        lambda _: "none",
    ),
    "hires_strength": More(
        "second strength",
        "How much the second pass changes, 0 to 1",
        lambda _: f"{Settings.hires_strength:g}",
        _is_enlarged,
    ),
    "hires_steps": More(
        "second steps",
        "The steps of the second pass's grid, of which its strength makes a part",
        lambda now: f"{now.settings.steps or 'as many'}",
        lambda now: _is_enlarged(now) and now.settings.sigmas is None,
    ),
    "hires_method": More(
        "enlarge",
        "What is enlarged between the passes",
        lambda _: Settings.hires_method,
        _is_enlarged,
        among=HIRES_METHODS,
    ),
    "original_size": More(
        "original size",
        "The size that the model is told the image once had: width, height",
        _size,
        _is_told_sizes,
    ),
    "crop": More(
        "cropped at",
        "What the model is told was cut off: left, top",
        lambda _: "0, 0",
        _is_told_sizes,
    ),
    "target_size": More(
        "target size",
        "The size that the model is told the image is to have: width, height",
        _size,
        _is_told_sizes,
    ),
}
"""The settings behind "More settings", by name, in the order of the page."""


def taken(now: Situation) -> list[str]:
    """The names of `MORE` that a run in this situation takes."""
    return [name for name, more in MORE.items() if more.taken(now)]


LONGEST = 10_000
"""The most characters of a field."""


class MoreView(Living, FromPage, anywidget.AnyWidget):
    """The fields of `MORE`, behind a button. ``take(name, text)`` gets what a person enters."""

    _esm = Code("more.js")
    _css = Code("more.css")

    _is_part = True

    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The fields that are shown: each with its name, label, help, value (a text), usual value and,
    of a choice, all values."""

    wrong = traitlets.Unicode().tag(sync=True)
    """The name of the field that an error is about; "" for none."""

    unfolded = choice({"kind": "flag", "default": False})
    """Whether the fields are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.take: Callable[[str, str], object] = lambda name, text: None
        self.texts = {name: written(name, getattr(Settings, name)) for name in MORE}
        self._now = Situation(Settings())
        self._begin()

    def fill(self, name: str, text: str) -> None:
        """Put a text into a field."""
        if self.texts[name] != text:
            self.texts[name] = text
            self.show(self._now)

    def show(self, now: Situation) -> None:
        """Show the fields of what a run takes in this situation, with the defaults there."""
        self._now = now
        self.rows = [
            {
                "name": name,
                "label": MORE[name].label,
                "help": MORE[name].help,
                "value": self.texts[name],
                "usual": MORE[name].usual(now),
                "among": list(MORE[name].among),
            }
            for name in taken(now)
        ]

    def _receive(self, message: Any, buffers: Any) -> None:
        kind = message.get("kind") if isinstance(message, dict) else None
        if not isinstance(kind, str) or kind not in ASKS["more"]:
            return
        name, value = message.get("name"), message.get("value")
        if isinstance(name, str) and name in MORE and isinstance(value, str):
            self.take(name, shortened(value, LONGEST))


def numbers_in(text: str) -> Any:
    """The value that a field's text stands for; None, the default, for an empty one.

    A number, or a list of numbers between commas or spaces. Any other text is returned as it is:
    the setting's own check refuses it.
    """
    try:
        numbers = [_number(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return text.strip()
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else numbers


def _prompt_and_share(text: str) -> Any:
    """(A prompt, a number) of a text with the number after its last comma."""
    prompt, comma, share = text.rpartition(",")
    return (prompt.strip(), numbers_in(share)) if comma else numbers_in(text)


def written(name: str, value: Any) -> str:
    """The text of the field of a setting with that value; "" for the default."""
    if MORE[name].among:
        return str(value)
    if value == getattr(Settings, name):
        return ""
    several = value if isinstance(value, tuple) else (value,)
    return ", ".join(one if isinstance(one, str) else f"{one:.10g}" for one in several)


def _number(word: str) -> int | float:
    try:
        return int(word)
    except ValueError:
        return float(word)
