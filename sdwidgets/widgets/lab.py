"""The autoencoder lab: an image through autoencoders, and edits of its latents.

This is the widget: its traits and public methods. `LabWork` computes, `Sources` holds the images,
`lab_wire` writes what the page reads, and `lab_messages` reads what it asks for. The engine is in
``sdwidgets.lab``; js/src/lab.ts draws.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from PIL import Image

from .. import checks
from ..checks import shortened
from ..configs import EMOJI
from ..contract import LAB_SELECTION, MOST_AUTOENCODERS, TOUCHED
from ..errors import InputError
from ..frontend import Code
from ..pictures import PictureLike
from ..trace.images import encode_png
from . import kernel, lab_wire
from .kernel import AnyTrait
from .lab_messages import Command, understood
from .lab_sources import Source, Sources, source_of
from .lab_work import LabWork, Subject
from .life import Living
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
"""The chosen autoencoders to begin with, as far as they are installed."""

DEFAULT = "KL-f8"
"""The active autoencoder to begin with, if it is chosen."""

SENT = "Sent to the Studio, as the image to start from."


class OfCatalogue(Choice):
    """A choice among the names of the catalogue; ``check`` gets these, too."""

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


class Result(AnyTrait):
    """A trait that only the Lab itself sets, with ``set_trait``."""

    def __init__(self, write: Callable[[Any, Any], Any], empty: Any = None):
        """``write`` turns a value into what the page reads; ``empty`` is the first value."""
        super().__init__(empty)
        self.tag(sync=True, to_json=write)

    def __set__(self, obj: Any, value: Any) -> None:
        raise InputError(
            f"lab.{self.name} is worked out by the Lab, so it cannot be set.\n"
            "Show an image with lab.show(...), and edit it with lab.edit(...).",
            parameter=self.name,
        )


class Lab(Living, FromPage, anywidget.AnyWidget):
    """An image through autoencoders, side by side, with its latents to look at and to edit.

    Example::

        from sdwidgets.lab import Knock, Noise

        lab = sdw.Lab("photo.jpg", autoencoders=["KL-f8", "VQ-f8"])
        lab                                   # shows it
        lab.wait()                            # until everything is computed
        lab.results[0].psnr                   # in dB
        lab.edit(Knock(channel=2))
        lab.wait()
        lab.edited.image                      # the image without what that channel held
        lab.undo()

    The work is done beside the notebook; only the newest of what is asked counts.
    """

    _esm = Code("lab.js")
    _css = Code("lab.css")

    uid = traitlets.Unicode(read_only=True).tag(sync=True)
    """The model's id, by which a page asks for its kernel."""

    catalogue: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The autoencoders there are, as dicts with the fields of `lab.catalogue.Entry`."""

    samples: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """The sample images: ``name``, ``caption``, and a thumbnail, ``data``."""

    can_send = traitlets.Bool(False).tag(sync=True)
    """Whether there is a Studio to send images to."""

    chosen = OfCatalogue([], _some)
    """The autoencoders side by side: one to four names of the catalogue."""

    active = OfCatalogue("", checks.choice)
    """The one that is looked into. If it is not among the chosen yet, it joins them."""

    panel = choice(LAB_SELECTION["panel"])
    """The panel below the comparison: "latents", "play", "between" (two images) or "noise"."""

    side = choice(LAB_SELECTION["side"])
    """The longer side of images in pixels: 64, 128 or 256."""

    view = choice(LAB_SELECTION["view"])
    """What the comparison shows: "rebuilt", the reconstructions; their "error"; or both, divided
    by a "slider"."""

    # What follows is set by the kernel alone.

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, working or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """Notices or an error, three lines at most."""

    picture = Result(lab_wire.original)
    """The image looked at, a `lab.original.Original`: ``image``, ``name``, ``notices``."""

    second = Result(lab_wire.original)
    """The second image, for the panel "between"."""

    results = Result(lab_wire.results, ())
    """A `lab.reconstruction.Reconstruction` for each of ``chosen``: ``image``, ``psnr``, ..."""

    latents = Result(lab_wire.latents)
    """The active one's `lab.latents.Latents`: ``mean``, ``std``, ``sample`` [C, h, w], ..."""

    edited = Result(lab_wire.edited)
    """The image after the edits, a `lab.edited.Edited`: ``image``, ``latents``, ``psnr``."""

    touch = Result(lab_wire.touch)
    """What the last cell or pixel asked for reaches, a `lab.receptive_field.ReceptiveField`."""

    between = Result(lab_wire.between)
    """Frames from first to second image, a `lab.between.Between`; while ``panel`` is "between"."""

    noise = Result(lab_wire.noise)
    """The image at noise levels, a `lab.forward.Diffused`; while ``panel`` is "noise"."""

    sent: Image.Image | None = None
    """The image that was last sent to image to image."""

    def __init__(
        self,
        picture: PictureLike | None = None,
        *,
        autoencoders: str | Sequence[str] | Mapping[str, Any] | None = None,
        model: LatentDiffusion | None = None,
        studio: Studio | None = None,
        **selections: Any,
    ):
        """``picture``: the image to begin with; the first sample if None.

        ``autoencoders``: names of bundled ones; or a dict from names to your own, each an
        Autoencoder or whatever `load_autoencoder` takes. ``model``: the diffusion model of the
        noise panel; the bundled one if None. ``studio``: the Studio that images are sent to.
        """
        from ..lab.catalogue import bundled_entries, entry, usable
        from ..lab.workbench import Workbench

        unknown = [name for name in selections if name not in ("active", "panel", "side", "view")]
        if unknown:
            raise TypeError(f"Lab() has no selection {unknown[0]!r}.")
        if model is not None:
            checks.able("model", model, "autoencoder", "a model, as sdwidgets.load() returns it")
        if not isinstance(autoencoders, (str, list, tuple, Mapping, type(None))):
            raise InputError(
                "autoencoders must be a list of names, or a dict of your own, got "
                f"{checks.shown(autoencoders)}.",
                parameter="autoencoders",
            )
        if studio is not None:
            checks.able("studio", studio, "image", "a Studio")
        workbench = Workbench(model)
        entries = {one.name: one for one in bundled_entries()}
        if model is not None and model.name != EMOJI.name:
            workbench.put(model.name, model.autoencoder)
            entries[model.name] = entry(model.name, model.config.autoencoder, of_model=True)
        if isinstance(autoencoders, Mapping):
            for name, value in autoencoders.items():
                workbench.put(name, usable(name, value))
                entries[name] = entry(name, workbench.own[name].config)
            chosen = list(autoencoders)[:MOST]
        elif autoencoders:
            chosen = [autoencoders] if isinstance(autoencoders, str) else list(autoencoders)
        else:
            chosen = [name for name in DEFAULTS if name in entries] or list(entries)[:MOST]
        self._sources = Sources()
        if picture is None:
            picture = next(iter(self._sources.samples), None)
        source = None if picture is None else self._sources.read(picture)
        self._upload = Upload()
        self._studio = studio
        self._work = LabWork(workbench, self._subject, self._show)
        super().__init__(
            catalogue=[asdict(one) for one in entries.values()],
            samples=[lab_wire.sample(one) for one in self._sources.samples.values()],
            chosen=chosen,
            active=selections.pop("active", DEFAULT if DEFAULT in chosen else [*chosen, ""][0]),
            can_send=studio is not None,
            **selections,
        )
        self.set_trait("uid", str(self.model_id))
        if self.active not in self.chosen and self.active:
            self.chosen = [*self.chosen[: MOST - 1], self.active]
        self.observe(self._reconcile, ["chosen", "active"])
        self.observe(lambda change: self._redraw() if change.new == "idle" else None, "state")
        self.observe(self._choose, ["chosen", "active", "side", "panel"])
        self._begin()
        if source is not None:
            self._take(source)

    # ------------------------------------------------------------------------------ from Python

    def show(self, picture: PictureLike, second: bool = False) -> None:
        """Look at an image: a PIL image, an array, a path, a file's bytes, or a sample's name.
        ``second``: use it as the second image of the panel "between".

        Raises ``ImageError``; the image shown before then stays.
        """
        self._check_process()
        checks.flag("second", second)
        self._take(self._sources.read(picture), second)

    def add(self, name: str, autoencoder: Autoencoder | str | os.PathLike[str]) -> None:
        """Choose your own autoencoder, or whatever `load_autoencoder` takes. It replaces one of the
        same name, and the last of the chosen if there are four already.
        """
        from ..lab.catalogue import entry, usable

        self._check_process()
        own = usable(name, autoencoder)
        new = asdict(entry(name, own.config))
        with self._work.lock:
            self.catalogue = [*(one for one in self.catalogue if one["name"] != name), new]
            self._work.put(name, own)
        others = [one for one in self.chosen if one != name][: MOST - 1]
        with self.hold_trait_notifications():
            self.chosen = [*others, name]
            self.active = name
        self._work.refresh()

    def edit(self, edit: Edit, *, live: bool = False) -> None:
        """Apply an edit (of `sdwidgets.lab`) to the active autoencoder's latents.

        ``live``: the edit is part of a drag, which is undone in one step. Raises ``InputError`` for
        a channel or a direction that the latents do not have.
        """
        from ..lab.directions import MOST as MOST_DIRECTIONS
        from ..lab.edits import Edit

        self._check_process()
        checks.flag("live", live)
        checks.typed("edit", edit, Edit, "an edit of sdwidgets.lab, such as Knock(channel=2)")
        channels = self._entry["channels"]
        edit.check(channels, min(channels, MOST_DIRECTIONS))
        self._work.edit(lambda history: history.add(edit, live=live))

    def undo(self) -> None:
        """Undo the last step; does nothing if there is none."""
        self._check_process()
        self._work.edit(lambda history: history.undo())

    def redo(self) -> None:
        """Redo the step that was undone last; does nothing if there is none."""
        self._check_process()
        self._work.edit(lambda history: history.redo())

    def reset(self) -> None:
        """Remove all edits; this can be undone."""
        self._check_process()
        self._work.edit(lambda history: history.reset())

    def swap(self) -> None:
        """Exchange the first and the second image; does nothing if there is no second."""
        self._check_process()
        with self._work.lock:
            if self._sources.swap():
                self._lay_out()

    def reach(self, of: Place, x: int, y: int) -> None:
        """Compute which pixels a latent "cell" reaches, or which cells a "pixel" reaches; the
        answer comes in ``touch``.

        Raises ``InputError`` for a place outside the image.
        """
        self._check_process()
        checks.choice("of", of, TOUCHED)
        with self._work.lock:
            if self.picture is None:
                raise InputError("There is no image yet.")
            step = self._entry["factor"] if of == "cell" else 1
            width, height = (-(-side // step) for side in self.picture.image.size)
            self._work.reach(of, checks.index("x", x, width), checks.index("y", y, height))

    def send_to(self, studio: Studio | None = None) -> Image.Image:
        """Give the edited image to a Studio, to start from (image to image), and return it.

        ``studio``: the Lab's own if None. The image is kept in ``sent``, too. Raises ``InputError``
        if there is no Studio or no image.
        """
        if studio is not None:
            checks.able("studio", studio, "image", "a Studio")
        self.wait()
        return self._give(self._studio if studio is None else studio)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until everything that was asked for is computed and shown.

        Raises what went wrong, and ``TimeoutError`` after ``timeout`` seconds. Raises ``Busy`` in
        an observer of the Lab itself, where waiting would never end.
        """
        self._check_process()
        wait(self._work.idle, timeout, what="The Lab", is_here=self._work.is_here)
        if self._work.error is not None:
            raise self._work.error.with_traceback(None)

    def _end(self) -> None:
        self._work.close()

    # ---------------------------------------------------------------------- images and results

    def _subject(self) -> Subject:
        return Subject(self.picture, self.second, self.chosen, self.active, self.panel)

    def _show(self, **values: Any) -> None:
        """Set traits, in one message to the page."""
        with self.hold_sync():
            for name, value in values.items():
                self.set_trait(name, value)

    def _take(self, source: Source, second: bool = False) -> None:
        with self._work.lock:
            if second:
                self._sources.second = source
            else:
                self._sources.first = source
            self._lay_out(only_second=second)

    def _lay_out(self, *, only_second: bool = False) -> None:
        """Bring the images to their size and have them worked on."""
        with self._work.lock, self.hold_sync():
            if self.panel == "between":
                self._sources.choose_second()
            if not only_second:
                self.set_trait("picture", self._sources.first_at(self.side))
            if self.picture is None:
                return
            self.set_trait("second", self._sources.second_at(self.picture.image.size))
            if only_second:
                self._work.new_second()
            else:
                self._work.new_picture()

    def _give(self, studio: Studio | None) -> Image.Image:
        if self.edited is None:
            raise InputError("There is no image to send yet.")
        self.sent = image = self.edited.image
        if studio is None:
            raise InputError(
                "There is no Studio to send the image to; it is in lab.sent.\n"
                "Make the Lab with a Studio: sdw.Lab(studio=studio)"
            )
        studio.image = image
        return image

    # ------------------------------------------------------------------------------- selections

    @property
    def _entry(self) -> dict[str, Any]:
        """The catalogue's entry of the active autoencoder."""
        nothing = {"channels": 0, "factor": 1}
        return next((one for one in self.catalogue if one["name"] == self.active), nothing)

    def _reconcile(self, change: Any) -> None:
        """Keep the active autoencoder among the chosen."""
        if self.active in self.chosen or not self.chosen:
            return
        if change.name == "active" and self.active:
            self.chosen = [*self.chosen[: MOST - 1], self.active]
        else:
            self.active = self.chosen[0]

    def _choose(self, change: Any) -> None:
        """A selection has changed."""
        with self._work.lock:
            if change.name == "side":
                self._lay_out()
            elif change.name == "active":
                self._work.new_active()
            elif change.name == "chosen":
                self._work.new_choice()
            elif self.panel == "between" and self.second is None:
                self._lay_out(only_second=True)
            else:
                self._work.new_panel()

    # ----------------------------------------------------------------- messages from the page

    def set_state(self, sync_data: Any) -> None:
        """Take a page's selections; every other trait is the kernel's, see `FromPage`."""
        with self._work.lock:
            super().set_state(sync_data)

    def _receive(self, message: Any, buffers: Any) -> None:
        """A message of the page: nonsense is ignored, a failure is shown."""
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
                self._work.fail(error)

    def _obey(self, command: Command) -> None:
        kind, values = command
        if kind == "file":
            self._take_part(*values)
        elif kind == "sample":
            name, second = values
            self._take(self._sources.sample(name), second)
        elif kind == "edit":
            edit, live = values
            self.edit(edit, live=live)
        elif kind == "touch":
            self.reach(*values)
        elif kind == "send":
            self._work.do("send", lambda: self._give(self._studio), said=SENT)
        else:
            {"undo": self.undo, "redo": self.redo, "reset": self.reset, "swap": self.swap}[kind]()

    def _take_part(self, part: Part) -> None:
        data = self._upload.add(part)
        if data is not None:
            self._work.do("open", lambda: self._take(source_of(data, part.name), part.second))

    # -------------------------------------------------------------------------------- as output

    _instead = "Send lab.edited.image instead, and make a Lab there."

    def __repr__(self) -> str:
        if self.picture is None:
            return "Lab: no image yet"
        numbers = (f"{one.name} {one.psnr:.1f} dB" for one in self.results)
        return f"Lab: {shortened(self.picture.name, 60)}, {', '.join(numbers) or self.state}"

    def _ipython_display_(self, **kwargs: Any) -> None:
        if kernel.without_page() or kernel.in_colab():
            kernel.wait_for(self._work.idle)  # output after the cell would be lost
        super()._ipython_display_()

    def _still(self) -> bytes | None:
        """The comparison."""
        from ..lab.contact_sheet import contact_sheet

        if not self.results:
            return None
        return encode_png(contact_sheet(self.picture.image, self.results))
