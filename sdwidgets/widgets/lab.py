"""The autoencoder lab: what a picture becomes on its way through autoencoders, and what one can do
to it there. The engine is in ``sdwidgets.lab``; js/src/lab.ts draws."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anywidget
import traitlets
from PIL import Image

from .. import checks
from ..checks import shortened
from ..configs import EMOJI
from ..contract import LAB_SELECTION, MOST_AUTOENCODERS, TOUCHED
from ..errors import InputError
from ..frontend import bundle
from ..pictures import PictureLike, as_picture, fitted
from ..trace.images import encode_png
from . import kernel, lab_wire
from .lab_messages import Command, understood
from .lab_work import LabWork
from .selection import Choice, FromPage, choice
from .upload import Part, Upload
from .waiting import wait

if TYPE_CHECKING:
    from ..lab.edits import Edit
    from ..lab.receptive_field import Place
    from ..models.autoencoder import Autoencoder
    from ..pipeline import LatentDiffusion
    from .studio import Studio

MOST = MOST_AUTOENCODERS

DEFAULTS = ("KL-f4", "KL-f8", "KL-f16", "VQ-f8")
"""Those to begin with, as far as they are here."""

DEFAULT = "KL-f8"
"""The active one to begin with, if it is chosen."""

LARGEST_KEPT = 1024  # pixels along the longer side of the pictures as they came


class OfCatalogue(Choice):
    """A choice among the names of the catalogue, which ``check`` is given, too."""

    def __init__(self, default: Any, check: Callable[[str, Any, list[str]], Any]):
        super().__init__(default, lambda name, value: value)
        self._among = check

    def validate(self, obj: Any, value: Any) -> Any:
        known = [one["name"] for one in obj.catalogue]
        if not known and value == self.default_value:  # there is nothing to choose from
            return value
        return self._among(str(self.name), value, known)


def _some(name: str, value: Any, known: list[str]) -> list[str]:
    if not isinstance(value, (list, tuple)):
        value = [value]
    chosen = list(dict.fromkeys(checks.choice(name, one, known) for one in value))
    if not 1 <= len(chosen) <= MOST:
        raise InputError(
            f"{name} must be 1 to {MOST} autoencoders, got {len(chosen)}.", parameter=name
        )
    return chosen


@dataclass(frozen=True, eq=False)
class Source:
    """A picture as it came."""

    name: str
    image: Image.Image
    notices: tuple[str, ...] = ()
    caption: str = ""


class Lab(LabWork, FromPage, anywidget.AnyWidget):
    """A picture through autoencoders, side by side; its latents, to look at and to play with.

    Example::

        from sdwidgets.lab import Knock, Noise

        lab = sdw.Lab("photo.jpg", autoencoders=["KL-f8", "VQ-f8"])
        lab                                   # shows it
        lab.wait()                            # until all is worked out
        lab.results[0].psnr                   # in dB
        lab.edit(Knock(channel=2))
        lab.wait()
        lab.edited.image                      # the picture without what that channel held
        lab.undo()

    Everything is worked out beside the notebook; only the newest of what is asked counts.
    """

    _esm = bundle("lab.js")
    _css = bundle("lab.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """Tells this widget from others."""

    catalogue: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The autoencoders there are, as dicts of what `lab.catalogue.Entry` has."""

    samples: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The sample pictures: ``name``, ``caption``, and a thumbnail, ``data``."""

    can_send = traitlets.Bool(False).tag(sync=True)
    """Whether there is a Studio to send pictures to."""

    chosen = OfCatalogue([], _some)
    """Which autoencoders are side by side: one to four names of the catalogue."""

    active = OfCatalogue("", checks.choice)
    """Which of them is looked into; one that was not chosen yet joins them."""

    panel = choice(LAB_SELECTION["panel"])
    """What is below the comparison: "latents", "play", "between" (two pictures) or "noise"."""

    side = choice(LAB_SELECTION["side"])
    """Pixels along the longer side that pictures are brought to: 64, 128 or 256."""

    view = choice(LAB_SELECTION["view"])
    """What the comparison shows: the pictures "rebuilt", their "error", or both by a "slider"."""

    sent: Image.Image | None = None
    """The picture that was last sent to image to image."""

    _ready = False  # a widget is closed when it is collected, also one that was never made

    def __init__(
        self,
        picture: PictureLike | None = None,
        *,
        autoencoders: str | Sequence[str] | Mapping[str, Any] | None = None,
        model: LatentDiffusion | None = None,
        studio: Studio | None = None,
        **selections: Any,
    ):
        """``picture``: the first sample if None. ``autoencoders``: names of bundled ones; or a dict
        of one's own by name, each an Autoencoder or what `load_autoencoder` takes. ``model``: of
        the noise panel, the bundled one if None. ``studio``: where pictures are sent to.
        """
        from ..lab.catalogue import bundled_entries, entry, usable
        from ..lab.samples import samples
        from ..lab.workbench import Workbench

        unknown = [name for name in selections if name not in ("active", "panel", "side", "view")]
        if unknown:
            raise TypeError(f"Lab() has no selection {unknown[0]!r}.")
        bench = Workbench(model)
        entries = {one.name: one for one in bundled_entries()}
        if model is not None and model.name != EMOJI.name:
            bench.put(model.name, model.autoencoder)
            entries[model.name] = entry(model.name, model.config.autoencoder, of_model=True)
        if isinstance(autoencoders, Mapping):
            for name, value in autoencoders.items():
                bench.put(name, usable(name, value))
                entries[name] = entry(name, bench.own[name].config)
            chosen = list(autoencoders)[:MOST]
        elif autoencoders:
            chosen = [autoencoders] if isinstance(autoencoders, str) else list(autoencoders)
        else:
            chosen = [name for name in DEFAULTS if name in entries] or list(entries)[:MOST]
        self._samples = {sample.name: sample for sample in samples()}
        if picture is None and self._samples:
            picture = next(iter(self._samples))
        source = None if picture is None else self._read(picture)
        self._sources: list[Source | None] = [None, None]
        self._upload = Upload()
        self._studio = studio
        super().__init__(
            bench=bench,
            catalogue=[asdict(one) for one in entries.values()],
            samples=[
                {
                    "name": sample.name,
                    "caption": sample.caption,
                    "data": lab_wire.thumbnail(sample.path.read_bytes()),
                }
                for sample in self._samples.values()
            ],
            chosen=chosen,
            active=selections.pop("active", DEFAULT if DEFAULT in chosen else [*chosen, ""][0]),
            can_send=studio is not None,
            **selections,
        )
        self._ready = True
        self.set_trait("uid", secrets.token_hex(8))
        if self.active not in self.chosen and self.active:
            self.chosen = [*self.chosen[: MOST - 1], self.active]
        self.observe(self._reconcile, ["chosen", "active"])
        self.observe(self._choose, ["chosen", "active", "side", "panel"])
        self.on_msg(self._receive)
        kernel.unpin(self)
        kernel.replace_in_cell(self)
        if source is not None:
            self._take(source)

    # ------------------------------------------------------------------------------ from Python

    def show(self, picture: PictureLike, second: bool = False) -> None:
        """Look at a picture: a PIL image, an array, a path, a file's bytes, or a sample's name; or
        have it as the ``second``, the other end of the way between two.

        Raises ``ImageError``; the picture so far then stays.
        """
        self._take(self._read(picture), second)

    def add(self, name: str, autoencoder: Autoencoder | str | os.PathLike[str]) -> None:
        """Choose an autoencoder of one's own, or what `load_autoencoder` takes; it comes in place
        of one of that name, and of the last chosen where there are four.
        """
        from ..lab.catalogue import entry, usable

        own = usable(name, autoencoder)
        new = asdict(entry(name, own.config))
        with self._lock:
            self._histories.pop(name, None)
            self.catalogue = [*(one for one in self.catalogue if one["name"] != name), new]
        self._ask(f"put {name}", lambda _: self._bench.put(name, own))
        others = [one for one in self.chosen if one != name][: MOST - 1]
        with self.hold_trait_notifications():
            self.chosen = [*others, name]
            self.active = name
        if self.picture is not None:
            self._show_all()

    def edit(self, edit: Edit, *, live: bool = False) -> None:
        """Apply an edit (of `sdwidgets.lab`) to the active one's latents. ``live``: it is part of a
        drag, all of which is undone in one step. Raises ``InputError`` for one that cannot be.
        """
        from ..lab.directions import MOST as MOST_DIRECTIONS

        channels = self._entry["channels"]
        edit.check(channels, min(channels, MOST_DIRECTIONS))
        self._remember(lambda history: history.add(edit, live=live))

    def undo(self) -> None:
        """Take the last step back; nothing happens where there is none."""
        self._remember(lambda history: history.undo())

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self._remember(lambda history: history.redo())

    def reset(self) -> None:
        """Take all edits away, which can be undone."""
        self._remember(lambda history: history.reset())

    def swap(self) -> None:
        """Let the first and the second picture change places."""
        with self._lock:
            if all(self._sources):
                self._sources.reverse()
                self._lay_out()

    def reach(self, of: Place, x: int, y: int) -> None:
        """Have worked out what a latent "cell" or a "pixel" touches; `touch` will say.

        Raises ``InputError`` for one that is not there.
        """
        checks.choice("of", of, TOUCHED)
        with self._lock:
            name, picture, factor = self.active, self.picture, self._entry["factor"]
        if picture is None:
            raise InputError("There is no picture yet.")
        step = factor if of == "cell" else 1
        width, height = (-(-side // step) for side in picture.image.size)
        x, y = checks.index("x", x, width), checks.index("y", y, height)
        self._ask("touch", partial(self._work_touch, name, picture, of, x, y), quiet=True)

    def send_to(self, studio: Studio | None = None) -> Image.Image:
        """Give the edited picture to a Studio, the Lab's own if None, to start from (image to
        image), and return it; it is in ``sent``, too. Raises ``InputError`` where there is none.
        """
        self.wait()
        return self._give(self._studio if studio is None else studio)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all that was asked for is worked out and shown.

        Raises what went wrong, ``TimeoutError`` after ``timeout`` seconds, and ``Busy`` where it
        would be for ever: in an observer of the Lab itself.
        """
        wait(self._work.idle, timeout, what="The Lab", is_here=self._work.is_mine)
        if self._error is not None:
            raise self._error.with_traceback(None)

    def close(self) -> None:
        """Take the widget off every page. What is being worked out ends within a step."""
        if self._ready:
            self._work.close()
            self.layout.close()  # a widget, too, and nothing else closes it
        super().close()

    # -------------------------------------------------------------------------------- pictures

    def _read(self, picture: PictureLike) -> Source:
        if isinstance(picture, str) and picture in self._samples:
            return self._sample(picture)
        is_path = isinstance(picture, (str, os.PathLike))
        name = Path(os.fspath(picture)).name if is_path else "picture"  # type: ignore[arg-type]
        return _source(picture, name)

    def _sample(self, name: str) -> Source:
        sample = self._samples[checks.choice("sample", name, list(self._samples))]
        return replace(_source(sample.path, name), caption=sample.caption)

    def _take(self, source: Source, second: bool = False) -> None:
        with self._lock:
            self._sources[1 if second else 0] = source
            self._lay_out(only_second=second)

    def _lay_out(self, *, only_second: bool = False) -> None:
        """Bring the pictures to their size; edits and answers about others go."""
        from ..lab.picture import Picture, fit

        with self._lock, self.hold_sync():
            self._error = None
            first, second = self._sources
            if first is not None and not only_second:
                image, notices = fit(first.image, self.side)
                self.picture = Picture(first.name, image, (*first.notices, *notices), first.caption)
                self._histories.clear()
                self.results, self.touch, self.noise = (), None, None
            if second is not None and self.picture is not None:
                image, _, notices = fitted(second.image, None, *self.picture.image.size)
                self.second = Picture(second.name, image, (*second.notices, *notices))
            self.between = None
            if only_second:
                self._show_panel()
            elif self.picture is not None:
                self._show_all()

    def _show_panel(self) -> None:
        if self.panel == "between" and self.picture is not None and self.second is None:
            names = list(self._samples)  # something to look at: the sample after this one
            if names:
                at = names.index(self.picture.name) if self.picture.name in names else -1
                self._take(self._sample(names[(at + 1) % len(names)]), second=True)
            return
        super()._show_panel()

    def _give(self, studio: Studio | None) -> Image.Image:
        if self.edited is None:
            raise InputError("There is no picture to send yet.")
        self.sent = image = self.edited.image
        if studio is None:
            raise InputError(
                "There is no Studio to send the picture to; it is in lab.sent.\n"
                "Make the Lab with one: sdw.Lab(studio=studio)"
            )
        studio.image = image
        return image

    # ------------------------------------------------------------------------------- selections

    @property
    def _entry(self) -> dict[str, Any]:
        """The active one's, of the catalogue."""
        nothing = {"channels": 0, "factor": 1}
        return next((one for one in self.catalogue if one["name"] == self.active), nothing)

    def _reconcile(self, change: Any) -> None:
        """Keep the active one among the chosen."""
        if self.active in self.chosen or not self.chosen:
            return
        if change.name == "active" and self.active:
            self.chosen = [*self.chosen[: MOST - 1], self.active]
        else:
            self.active = self.chosen[0]

    def _choose(self, change: Any) -> None:
        """A selection has changed."""
        with self._lock:
            self._error = None
            if change.name == "side":
                self._lay_out()
            elif change.name == "panel":
                self._show_panel()
            elif change.name == "active":
                self.touch = self.between = None
                self._work.drop("touch")
                self._show_active()
            elif self.picture is not None:
                self._ask("results", self._work_results)

    # ----------------------------------------------------------------- messages from the page

    def set_state(self, sync_data: Any) -> None:
        """Take a page's selections; all else is the kernel's, see `FromPage`."""
        with self._lock:
            super().set_state(sync_data)

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """A message of the page; what makes no sense is ignored, what fails is shown."""
        try:
            command = understood(message, buffers)
        except InputError:
            self._ignore(message)
            return
        try:
            self._obey(command)
        except Exception as error:
            if command.kind in ("sample", "touch") and isinstance(error, InputError):
                self._ignore(message)  # it was there a moment ago, perhaps
            else:
                self._fail(error)

    def _obey(self, command: Command) -> None:
        kind, values = command
        if kind == "file":
            self._take_part(*values)
        elif kind == "sample":
            name, second = values
            self._take(self._sample(name), second)
        elif kind == "edit":
            edit, live = values
            self.edit(edit, live=live)
        elif kind == "touch":
            self.reach(*values)
        elif kind == "send":
            self._ask("send", self._work_send)
        else:
            {"undo": self.undo, "redo": self.redo, "reset": self.reset, "swap": self.swap}[kind]()

    def _take_part(self, part: Part) -> None:
        data = self._upload.add(part)
        if data is not None:
            self._ask("open", lambda _: self._take(_source(data, part.name), part.second))

    def _work_send(self, is_old: Callable[[], bool]) -> None:
        self._give(self._studio)
        self._said = "Sent to the Studio, as the picture to start from."

    # -------------------------------------------------------------------------------- as output

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A Lab belongs to its notebook: it can be neither copied nor sent.\n"
            "Send its picture, lab.edited.image, and make a Lab there."
        )

    def __repr__(self) -> str:
        if self.picture is None:
            return "Lab: no picture yet"
        numbers = (f"{one.name} {one.psnr:.1f} dB" for one in self.results)
        return f"Lab: {shortened(self.picture.name, 60)}, {', '.join(numbers) or self.state}"

    def _ipython_display_(self, **kwargs: Any) -> None:
        if kernel.without_page() or kernel.in_colab():
            kernel.wait_for(self._work.idle)  # nobody hears of what comes after the cell
        kernel.display(*self._repr_mimebundle_(), self.uid)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget; and where none can be shown, the comparison as a picture, or a line."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        data = {**data, "text/plain": repr(self)}
        picture, results = self.picture, self.results
        if results:
            from ..lab.contact_sheet import contact_sheet

            sheet = contact_sheet(picture.image, results)
            data["image/png"] = base64.b64encode(encode_png(sheet)).decode()
        return data, metadata


def _source(picture: PictureLike, name: str) -> Source:
    """A picture read, no larger than what is needed of it. Raises ``ImageError``."""
    image, notices = as_picture(picture)
    if max(image.size) > LARGEST_KEPT:
        size = f"{image.width} x {image.height}"
        image = image.copy()
        image.thumbnail((LARGEST_KEPT, LARGEST_KEPT), Image.Resampling.LANCZOS)
        notices = (*notices, f"The picture came with {size} pixels.")
    return Source(name, image, notices)
