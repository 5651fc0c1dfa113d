"""The autoencoder lab: what a picture becomes on its way through autoencoders, and what one can do
to it there. The engine is in ``sdwidgets.lab``; js/src/lab.ts draws."""

from __future__ import annotations

import base64
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anywidget
import traitlets
from PIL import Image

from .. import checks
from ..checks import shortened
from ..configs import EMOJI
from ..errors import Busy, InputError, SDWidgetsError
from ..frontend import bundle
from ..pictures import PictureLike, as_picture, fitted
from ..trace.images import encode_png
from . import kernel, lab_wire
from .newest import Newest
from .pace import Pace
from .selection import Choice, FromPage
from .upload import Upload
from .watching import in_words

if TYPE_CHECKING:
    from ..lab.edits import Edit
    from ..lab.history import History
    from ..models.autoencoder import Autoencoder
    from ..pipeline import LatentDiffusion
    from .studio import Studio

MOST = 4
"""Autoencoders side by side."""

DEFAULTS = ("KL-f4", "KL-f8", "KL-f16", "VQ-f8")
"""Those to begin with, as far as they are here."""

SIDES = (64, 128, 256)
LARGEST_KEPT = 1024  # pixels along the longer side of the pictures as they came

State = Callable[[], bool]


class OfCatalogue(Choice):
    """A choice among the names of the catalogue: ``check`` is given them, too."""

    def __init__(self, default: Any, check: Callable[[str, Any, list[str]], Any]):
        self._known: list[str] = []
        super().__init__(default, lambda name, value: check(name, value, self._known))

    def validate(self, obj: Any, value: Any) -> Any:
        self._known = [one["name"] for one in obj.catalogue]
        if not self._known and value == self.default_value:  # there is nothing to choose from
            return value
        return super().validate(obj, value)


def _some(name: str, value: Any, known: list[str]) -> list[str]:
    if not isinstance(value, (list, tuple)):
        value = [value]
    chosen = list(dict.fromkeys(checks.choice(name, one, known) for one in value))
    if not 1 <= len(chosen) <= MOST:
        raise InputError(
            f"{name} must be 1 to {MOST} autoencoders, got {len(chosen)}.", parameter=name
        )
    return chosen


def _side(name: str, value: Any) -> int:
    if not checks.is_whole(value) or value not in SIDES:
        raise InputError(f"{name} must be one of {SIDES}.", parameter=name)
    return int(value)


def _worked_out(write: Callable[[Any, Any], Any], empty: Any = None) -> Any:
    """A trait that holds what the engine worked out; ``write`` makes of it what the page reads."""
    return traitlets.Any(empty).tag(sync=True, to_json=write)


@dataclass(frozen=True, eq=False)
class Source:
    """A picture as it came."""

    name: str
    image: Image.Image
    notices: tuple[str, ...] = ()
    caption: str = ""


class Lab(FromPage, anywidget.AnyWidget):
    """A picture through autoencoders, side by side; its latents, to look at and to play with.

    Example::

        lab = sdw.Lab("photo.jpg", autoencoders=["KL-f8", "VQ-f8"])
        lab                                   # shows it
        lab.wait()                            # until all is worked out
        lab.results[0].psnr                   # 31.2
        lab.edit(Knock(channel=2))            # from sdwidgets.lab import Knock
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

    chosen = OfCatalogue([], _some)
    """Which autoencoders are side by side: one to four names of the catalogue."""

    active = OfCatalogue("", checks.choice)
    """Which of them is looked into; one that was not chosen yet joins them."""

    panel = Choice(
        "latents",
        lambda name, value: checks.choice(name, value, ("latents", "play", "between", "noise")),
    )
    """What is below the comparison: "latents", "play", "between" (two pictures) or "noise"."""

    side = Choice(128, _side)
    """Pixels along the longer side that pictures are brought to: 64, 128 or 256."""

    view = Choice(
        "rebuilt",
        lambda name, value: checks.choice(name, value, ("rebuilt", "error", "slider")),
    )
    """What the comparison shows: the pictures "rebuilt", their "error", or both by a "slider"."""

    state = traitlets.Unicode("idle").tag(sync=True)
    """idle, working or error."""

    message = traitlets.Unicode("").tag(sync=True)
    """What a person should know: notices or an error, three lines at most."""

    can_send = traitlets.Bool(False).tag(sync=True)
    """Whether there is a Studio to send pictures to."""

    picture = _worked_out(lab_wire.picture)
    """The picture looked at, a `lab.picture.Picture`: ``image``, ``name``, ``notices``."""

    second = _worked_out(lab_wire.picture)
    """The second one, for the way between two."""

    results = _worked_out(lab_wire.results, ())
    """A `lab.rebuild.Reconstruction` for each of ``chosen``: ``image``, ``psnr`` and so on."""

    latents = _worked_out(lab_wire.latents)
    """The active one's `lab.latents.Latents`: ``mean``, ``std``, ``sample`` [C, h, w] and so on."""

    edited = _worked_out(lab_wire.edited)
    """The picture after the edits, a `lab.shown.Edited`: ``image``, ``latents``, ``psnr``."""

    touch = _worked_out(lab_wire.touch)
    """What the cell or pixel asked for last touches, a `lab.touch.Touch`."""

    between = _worked_out(lab_wire.between)
    """Frames from picture to second, a `lab.shown.Between`; while ``panel`` is "between"."""

    noise = _worked_out(lab_wire.noise)
    """The picture at noise levels, a `lab.shown.Diffused`; while ``panel`` is "noise"."""

    sent: Image.Image | None = None
    """The picture that was last sent to image to image."""

    # Before __init__ has come to it: a widget is closed when it is collected.
    _work: Newest | None = None

    def __init__(
        self,
        picture: PictureLike | None = None,
        *,
        autoencoders: Sequence[str] | Mapping[str, Autoencoder] | None = None,
        model: LatentDiffusion | None = None,
        studio: Studio | None = None,
        **selections: Any,
    ):
        """``picture``: the first sample if None. ``autoencoders``: names of bundled ones, or
        autoencoders of one's own by name. ``model``: whose noise the noise panel adds; the bundled
        one if None. ``studio``: where pictures are sent to.
        """
        from ..lab.bench import Bench
        from ..lab.catalogue import bundled_entries, entry, usable
        from ..lab.samples import samples

        unknown = [name for name in selections if name not in ("active", "panel", "side", "view")]
        if unknown:
            raise TypeError(f"Lab() has no selection {unknown[0]!r}.")
        self._lock = threading.RLock()
        self._bench = Bench(model)
        self._samples = {sample.name: sample for sample in samples()}
        self._sources: list[Source | None] = [None, None]
        self._histories: dict[str, History] = {}
        self._upload: Upload | None = None
        self._studio = studio
        self._error: BaseException | None = None
        self._said = ""  # what the message is to say once all is done
        self._pace = Pace()
        entries = bundled_entries()
        own: dict[str, Autoencoder] = {}
        if model is not None and model.name != EMOJI.name:
            own[model.name] = model.autoencoder
            entries.append(entry(model.name, model.config.autoencoder, of_model=True))
        if isinstance(autoencoders, Mapping):
            mine = {name: usable(name, one) for name, one in autoencoders.items()}
            entries = [one for one in entries if one.name not in mine]
            entries += [entry(name, one.config) for name, one in mine.items()]
            own |= mine
        for name, autoencoder in own.items():
            self._bench.put(name, autoencoder)
        names = [one.name for one in entries]
        chosen = list(autoencoders or [name for name in DEFAULTS if name in names] or names[:MOST])
        super().__init__(
            catalogue=[asdict(one) for one in entries],
            samples=[
                {
                    "name": sample.name,
                    "caption": sample.caption,
                    "data": lab_wire.thumbnail(sample.path.read_bytes()),
                }
                for sample in self._samples.values()
            ],
            chosen=chosen,
            **{"active": chosen[len(chosen) > 1] if chosen else "", **selections},
            can_send=studio is not None,
        )
        self.set_trait("uid", secrets.token_hex(8))
        self._work = Newest(self._fail, self._settle)
        self.observe(self._reconcile, ["chosen", "active"])
        self.observe(self._choose, ["chosen", "active", "side", "panel"])
        self.on_msg(self._receive)
        kernel.unpin(self)
        kernel.replace_in_cell(self)
        if self.active not in self.chosen and self.active:
            self.chosen = [*self.chosen[: MOST - 1], self.active]
        if picture is not None:
            self.show(picture)
        elif self._samples:
            self._open_sample(next(iter(self._samples)))

    # ------------------------------------------------------------------------------ from Python

    def show(self, picture: PictureLike, second: bool = False) -> None:
        """Look at a picture: a PIL image, an array, a path or a file's bytes; or ``second``, as the
        other one of the way between two. Raises ``ImageError``; the picture so far then stays.
        """
        is_path = isinstance(picture, (str, os.PathLike))
        name = Path(os.fspath(picture)).name if is_path else "picture"  # type: ignore[arg-type]
        if isinstance(picture, str) and picture in self._samples and not Path(picture).exists():
            self._open_sample(picture, second)
        else:
            self._take(_source(picture, name), second)

    def add(self, name: str, autoencoder: Autoencoder | str | os.PathLike[str]) -> None:
        """Choose an autoencoder of one's own, or a file or folder for `load_autoencoder`; it comes
        in place of one of that name, and of the last chosen where there are four.
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
        self._show_all()

    def edit(self, edit: Edit, *, live: bool = False) -> None:
        """Apply an edit (of `sdwidgets.lab`) to the active one's latents. ``live``: it is part of a
        drag, all of which is undone in one step. Raises ``InputError`` for one that cannot be.
        """
        from ..lab.directions import MOST as MOST_DIRECTIONS

        channels = self._entry(self.active)["channels"]
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
            if self._sources[1] is not None:
                self._sources.reverse()
                self._lay_out()

    def reach(self, of: str, x: int, y: int) -> None:
        """Have worked out what a latent "cell" or a "pixel" touches; `touch` will say."""
        of = checks.choice("of", of, ("cell", "pixel"))
        for name, value in {"x": x, "y": y}.items():
            checks.whole(name, value, 0, 2**16)
        self._ask("touch", partial(self._work_touch, of, int(x), int(y)), quiet=True)

    def send_to(self, studio: Studio | None = None) -> Image.Image:
        """Give the edited picture to a Studio, the Lab's own if None, to start from (image to
        image), and return it; it is in ``sent``, too. Raises ``InputError`` where there is none.
        """
        self.wait()
        return self._give(self._studio if studio is None else studio)

    def _give(self, studio: Studio | None) -> Image.Image:
        if self.edited is None:
            raise InputError("There is no picture to send yet.")
        self.sent = image = self.edited.image
        if studio is None:
            raise InputError(
                "There is no Studio to send the picture to; it is in lab.sent.\n"
                "Make the Lab with one: sdw.Lab(studio=studio)"
            )
        studio.image = image  # type: ignore[attr-defined]
        return image

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all that was asked for is worked out and shown.

        Raises what went wrong, ``TimeoutError`` after ``timeout`` seconds, and ``Busy`` where it
        would be for ever: in an observer of the Lab itself.
        """
        if self._work is None:
            return
        if self._work.is_mine:
            raise Busy("The Lab's own work cannot be waited for by what observes it.")
        if not kernel.wait_for(self._work.idle, timeout):
            raise TimeoutError(f"The Lab was not done after {timeout} s; it goes on.")
        if self._error is not None:
            raise self._error.with_traceback(None)

    def close(self) -> None:
        """Take the widget off every page. What is being worked out ends within a step."""
        if self._work is not None:
            self._work.close()
            self.layout.close()  # a widget, too, and nothing else closes it
        super().close()

    # -------------------------------------------------------------------------------- pictures

    def _open_sample(self, name: Any, second: bool = False) -> None:
        sample = self._samples[checks.choice("sample", name, list(self._samples))]
        source = _source(sample.path, sample.name)
        self._take(Source(source.name, source.image, (), sample.caption), second)

    def _take(self, source: Source, second: bool) -> None:
        with self._lock:
            self._sources[1 if second else 0] = source
            self._lay_out(only_second=second)

    def _lay_out(self, *, only_second: bool = False) -> None:
        """Bring the pictures to their size; edits and answers about others go."""
        from ..lab.picture import Picture, fit

        with self._lock, self.hold_sync():
            first, second = self._sources
            self._error = None
            if first is not None and not only_second:
                image, notices = fit(first.image, self.side)
                notices = (*first.notices, *notices)
                self.picture = Picture(first.name, image, notices, first.caption)
                self._histories.clear()
                self.results, self.touch, self.noise = (), None, None
            if second is not None and self.picture is not None:
                size = self.picture.image.size
                image, _, notices = fitted(second.image, None, *size)
                self.second = Picture(second.name, image, (*second.notices, *notices))
            self.between = None
            if only_second:
                self._show_panel()
            else:
                self._show_all()

    def _entry(self, name: str) -> dict[str, Any]:
        return next(one for one in self.catalogue if one["name"] == name)

    # ---------------------------------------------------------------------- what is to be done

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
        self._error = None
        if change.name == "side":
            self._lay_out()
        elif change.name == "panel":
            self._show_panel()
        elif change.name == "active":
            self.touch = self.between = None
            self._show_active()
        elif self.picture is not None:
            self._ask("results", self._work_results)

    def _show_all(self) -> None:
        if self.picture is not None:
            self._ask("results", self._work_results)
            self._show_active()

    def _show_active(self) -> None:
        if self.picture is not None and self.active:
            self._ask("latents", self._work_latents)
            self._ask("edited", self._work_edited)
            self._ask("directions", self._work_directions, quiet=True)
            self._show_panel()

    def _show_panel(self) -> None:
        """What is only worked out while it is looked at."""
        if self.picture is None or self._work is None:
            return
        if self.panel == "between" and self.between is None:
            self._ask("between", self._work_between)
        if self.panel == "noise" and self.noise is None:
            self._ask("noise", self._work_noise)
        for name in ("between", "noise"):
            if name != self.panel:
                self._work.drop(name)

    def _remember(self, change: Callable[[History], History]) -> None:
        """Change the active one's edits, and have the picture follow."""
        from ..lab.history import History

        with self._lock:
            self._histories[self.active] = change(self._histories.get(self.active, History()))
            self._error = None
        self._ask("edited", self._work_edited, quiet=True)

    def _ask(self, kind: str, work: Callable[[State], object], *, quiet: bool = False) -> None:
        """Have it done on the worker; what is ``quiet`` is too quick to say so."""
        if self._work is None:
            return
        if not quiet:
            self.state = "working"
        self._work.ask(kind, work)

    # ------------------------------------------------- work, on the worker's thread, in pieces

    def _work_results(self, is_old: State) -> None:
        picture, chosen = self.picture, list(self.chosen)
        done: list[Any] = []
        failure: Exception | None = None
        for i, name in enumerate(chosen):
            if is_old():
                return
            try:
                done.append(self._bench.rebuilt(name, picture))
            except SDWidgetsError as error:  # the others are shown all the same
                failure = failure or error
            if i == len(chosen) - 1 or self._pace.left() <= 0:
                self._put_on_page(is_old, results=tuple(done))
        if failure is not None:
            raise failure

    def _work_latents(self, is_old: State) -> None:
        from ..lab.latents import look_inside

        name = self.active
        encoded = self._bench.encoded(name, self.picture)
        latents = look_inside(name, self._bench.autoencoder(name), encoded)
        self._put_on_page(is_old, latents=latents)

    def _work_edited(self, is_old: State) -> None:
        from ..lab.history import History

        with self._lock:
            name, history = self.active, self._histories.get(self.active, History())
        edited = self._bench.edited(name, self.picture, history)
        self._breathe()
        self._put_on_page(is_old, edited=edited)

    def _work_directions(self, is_old: State) -> None:
        if self.panel == "play" or self.edited is None or self.edited.directions is None:
            self._bench.directions(self.active)
            self._work_edited(is_old)

    def _work_touch(self, of: str, x: int, y: int, is_old: State) -> None:
        from ..lab.touch import touch

        autoencoder = self._bench.autoencoder(self.active)
        encoded = self._bench.encoded(self.active, self.picture)
        touched = touch(autoencoder, encoded, of, x, y)  # type: ignore[arg-type]
        self._breathe()
        self._put_on_page(is_old, touch=touched)

    def _work_between(self, is_old: State) -> None:
        from ..lab.between import between
        from ..lab.shown import Between

        if self.second is None:  # something to look at: the sample after this one
            names = list(self._samples)
            at = names.index(self.picture.name) if self.picture.name in names else -1
            if not names:
                return
            self._open_sample(names[(at + 1) % len(names)], second=True)
            return
        name = self.active
        first, last = (self._bench.encoded(name, one) for one in (self.picture, self.second))
        frames = []
        for frame in between(self._bench.autoencoder(name), first, last):
            if is_old():
                return
            frames.append(frame)
        self._put_on_page(is_old, between=Between(name, tuple(frames)))

    def _work_noise(self, is_old: State) -> None:
        from ..lab.forward import LEVELS, forward_diffusion
        from ..lab.picture import to_tensor
        from ..lab.shown import Diffused

        model, picture = self._bench.model, self.picture
        levels = []
        for level in forward_diffusion(model, to_tensor(picture.image), picture.caption):
            if is_old():
                return
            levels.append(level)
            if len(levels) % 7 == 0 or len(levels) == LEVELS:
                diffused = Diffused(model.name, picture.caption, tuple(levels))
                self._put_on_page(is_old, noise=diffused)

    def _work_send(self, is_old: State) -> None:
        self._give(self._studio)
        self._said = "Sent to the Studio, as the picture to start from."

    def _put_on_page(self, is_old: State, **traits: Any) -> None:
        """Set traits, unless something newer is on its way."""
        with self._lock, self.hold_sync():
            if not is_old():
                self._pace.sent()
                for name, value in traits.items():
                    setattr(self, name, value)

    def _breathe(self) -> None:
        """Wait until the page may hear of the next frame of a drag."""
        left = self._pace.left()
        if left > 0:
            time.sleep(left)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        with self.hold_sync():
            self.state, self.message = "error", in_words(error)

    def _settle(self) -> None:
        """All is done."""
        if self._error is not None:
            return
        notices = [*(self.picture.notices if self.picture is not None else ())]
        for one in self.results:
            notices += one.notices
        with self.hold_sync():
            said, self._said = self._said, ""
            lines = [said] if said else list(dict.fromkeys(notices))[:3]
            self.state, self.message = "idle", "\n".join(lines)

    # ----------------------------------------------------------------- messages from the page

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """A message of the page; what is not as it should be is ignored, what fails is shown."""
        kind = message.get("kind") if isinstance(message, dict) else None
        handle = self._handlers().get(kind) if isinstance(kind, str) else None
        if handle is None:
            self._ignore(message)
            return
        try:
            handle(message, buffers)
        except Exception as error:
            self._fail(error)

    def _handlers(self) -> dict[str, Callable[[Any, Any], object]]:
        return {
            "file": self._on_file,
            "sample": lambda m, _: self._open_sample(m.get("name"), m.get("second") is True),
            "edit": lambda m, _: self._on_edit(m.get("edit")),
            "undo": lambda *_: self.undo(),
            "redo": lambda *_: self.redo(),
            "reset": lambda *_: self.reset(),
            "touch": lambda m, _: self.reach(*(m.get(name) for name in ("of", "x", "y"))),
            "swap": lambda *_: self.swap(),
            "send": lambda *_: self._ask("send", self._work_send),
        }

    def _on_edit(self, value: Any) -> None:
        from ..lab.edits import from_json

        self.edit(from_json(value), live=isinstance(value, dict) and value.get("live") is True)

    def _on_file(self, message: dict[str, Any], buffers: Any) -> None:
        part = message.get("part")
        if part == 0:
            self._upload = Upload.begin(message)
        if self._upload is None:
            return
        upload = self._upload
        try:
            data = upload.add(part, buffers)
        except InputError:
            self._upload = None
            raise
        if data is not None:
            self._upload = None
            self._ask("open", lambda _: self._take(_source(data, upload.name), upload.second))

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
        if self._work is not None and (kernel.without_page() or kernel.in_colab()):
            kernel.wait_for(self._work.idle)  # nobody hears of what comes after the cell
        kernel.display(*self._repr_mimebundle_(), self.uid)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget; and where none can be shown, the comparison as a picture, or a line."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        data = {**data, "text/plain": repr(self)}
        if self.results:
            from ..lab.still import still

            file = encode_png(still(self.picture.image, self.results))
            data["image/png"] = base64.b64encode(file).decode()
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
