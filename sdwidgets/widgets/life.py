"""The life of a widget: how it begins, how it appears in hosts of every kind, and how it ends."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Callable, Collection
from typing import Any, ClassVar, NoReturn, TypeVar

import anywidget
import ipywidgets
from ipywidgets.widgets import widget as registry

from ..errors import Busy, InputError
from . import kernel

log = logging.getLogger(__name__)

AnyLiving = TypeVar("AnyLiving", bound="Living")

VIEW = "application/vnd.jupyter.widget-view+json"


class Living(ipywidgets.DOMWidget):
    """What all widgets of the kit do alike; their first base class.

    It takes the place of a widget that the same cell made before, appears as a still image where
    there are no widgets, and leaves everything that holds it when it is closed.
    """

    _instead: ClassVar[str] = ""  # what to send instead of a copy, as a sentence
    _is_part: ClassVar[bool] = False  # of another widget, with which it is made and closed
    _parts: Collection[Any] = ()  # the widgets inside, which are closed with it
    _closed = False
    _process = 0  # the one that made it, once it is made
    _redraws = False  # whether its output is replaced when its content changes

    def _begin(self) -> None:
        """Start to listen to pages; the last thing that ``__init__`` does."""
        self._process = os.getpid()
        self.on_msg(self._hear)
        kernel.unpin(self, *self._parts)
        if not self._is_part:
            kernel.replace_in_cell(self)

    # ------------------------------------------------------------------------------ the page

    def _handle_msg(self, msg: Any) -> None:
        """Take a page's message as it came over the wire; a malformed one is ignored."""
        try:
            data = msg["content"]["data"]
            if data["method"] == "update":  # ipywidgets would print what goes wrong into a cell
                state = dict(data["state"])
                registry._put_buffers(state, data.get("buffer_paths", ()), msg.get("buffers", ()))
                self.set_state(state)
            elif data["method"] in ("custom", "request_state"):
                super()._handle_msg({**msg, "buffers": list(msg.get("buffers", ()))})
        except Exception:
            log.debug("A message of a page is ignored.", exc_info=True)

    def _hear(self, _: Any, message: Any, buffers: Any) -> None:
        """Pass a page's message on."""
        self._attempt(lambda: self._receive(message, buffers))

    def _attempt(self, act: Callable[[], object]) -> None:
        """Do what a page asks for, and show an error in the widget."""
        try:
            act()
        except Exception as error:
            log.warning("A request of a page has failed.", exc_info=True)
            self._complain(error)

    def _receive(self, message: Any, buffers: Any) -> None:
        """Handle a message of a page. Malformed ones are ignored."""

    def _complain(self, error: Exception) -> None:
        """Show an error that a page's message led to."""

    # ------------------------------------------------------------------------------ as output

    def _still(self) -> bytes | None:
        """A PNG of what the widget shows, for hosts without widgets; None if there is nothing."""
        return None

    def _ipython_display_(self, **kwargs: Any) -> None:
        # Asked here, not when the content changes: by then a page may have sent another request.
        self._redraws = kernel.without_page()
        kernel.display(*self._repr_mimebundle_(), str(self.model_id))

    def _redraw(self) -> None:
        """Bring the output up to date where no page does. It never fails."""
        if self._redraws and not self._closed:
            try:
                kernel.update_display(*self._repr_mimebundle_(), str(self.model_id))
            except Exception:
                log.warning("The output of a widget cannot be brought up to date.", exc_info=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, with a still image and a line of text for hosts without widgets."""
        data: dict[str, Any] = {"text/plain": repr(self)}
        metadata: dict[str, Any] = {}
        if self.comm is not None:
            data[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            # It says what a host (Colab) needs to draw a widget, whatever its class.
            metadata = (anywidget.AnyWidget._repr_mimebundle_(self) or ({}, {}))[1]
        try:
            still = self._still()
        except Exception:  # a caller's own steps may lack data; matplotlib may be missing
            log.debug("No still image of a widget can be made.", exc_info=True)
            still = None
        if still is not None:
            data["image/png"] = base64.b64encode(still).decode()
        return data, metadata

    # ------------------------------------------------------------------------------ copies

    def _cannot_be_copied(self, *_: Any) -> NoReturn:
        raise InputError(
            f"A widget belongs to its notebook, so this {type(self).__name__} cannot be copied or "
            f"pickled.\n{self._instead}"
        )

    __reduce_ex__ = __copy__ = __deepcopy__ = _cannot_be_copied

    # ------------------------------------------------------------------------------ the end

    @property
    def model_id(self) -> Any:
        """The id by which pages know the widget. It keeps it when it is closed, so that a widget
        that still mentions it can be saved."""
        return getattr(self, "_model_id", None) if self.comm is None else self.comm.comm_id

    def close(self) -> None:
        """End what goes on in the widget, and remove it from every page and every other widget."""
        forked = self._process not in (0, os.getpid())  # 0: it could not be made
        if self.comm is None or forked:
            return
        self._closed = True
        try:
            self._end()
        except Exception:  # whoever observes it may raise anything
            log.warning("A widget could not end what goes on in it.", exc_info=True)
        family = [self, *self._parts]
        take_out(family)
        # The outermost first: a widget must not mention closed ones while it can be saved.
        super().close()
        for name in ("_repr_mimebundle_", "_ipython_display_"):
            self.__dict__.pop(name, None)  # ipywidgets shadows them; a closed widget is still shown
        for part in self._parts:
            part.close()
        for one in family:
            for own in (one.layout, getattr(one, "style", None)):
                if own is not None:  # they are widgets, too, and nothing else closes them
                    own.close()

    def _check_process(self) -> None:
        """Raise Busy in a process that was forked from the widget's, which has none of its threads.
        There, whatever waits for them would wait for ever."""
        if self._process != os.getpid():
            raise Busy(
                f"This {type(self).__name__} belongs to the process that made it; this is a fork.\n"
                f"{self._instead}"
            )

    def _end(self) -> None:
        """Stop what goes on, before the widget is closed."""

    def _check_open(self) -> None:
        """Raise InputError if the widget is closed, and Busy in a forked process."""
        self._check_process()
        if self._closed:
            kind = type(self).__name__
            raise InputError(f"This {kind} is closed.\nMake a new one: sdw.{kind}()")


# ------------------------------------------------------------------- what holds other widgets


def opened() -> list[Any]:
    """All open widgets, of every kind."""
    known = getattr(registry, "_instances", None)  # since ipywidgets 8
    return [*(registry.Widget.widgets if known is None else known).values()]


def newest(kind: type[AnyLiving]) -> AnyLiving | None:
    """The open widget of that kind that was made last; None if there is none."""
    return next((one for one in reversed(opened()) if isinstance(one, kind)), None)


def take_out(leaving: Collection[Any]) -> None:
    """Remove widgets from all others that hold them: boxes, tabs, links, and so on.

    A widget that mentions a closed one can neither be saved nor shown again, nor can the notebook.
    """
    ids = {id(one) for one in leaving}
    for holder in opened():
        if id(holder) in ids:
            continue
        try:
            _let_go(holder, lambda value: id(value) in ids)
        except Exception:  # the holder, or whoever observes it, may refuse
            log.warning("A closed widget cannot be removed from %s.", type(holder).__name__)


def _let_go(holder: Any, leaves: Callable[[Any], bool]) -> None:
    """Remove from a widget's traits the values that leave."""
    values = {name: value for name, value in [*holder._trait_values.items()] if value is not None}
    held = [name for name, value in values.items() if _mentions(value, leaves)]
    if not held:
        return
    if isinstance(holder, ipywidgets.widgets.widget_link.Link):
        holder.close()  # one of its two ends is gone
        return
    with holder.hold_sync():
        if "children" in held and "selected_index" in values:
            _turn_pages(holder, leaves)
        for name in sorted(held, key="children".__eq__):  # a layout makes its children from others
            setattr(holder, name, _without(getattr(holder, name), leaves))
    children = getattr(holder, "_children", None)  # a grid's own list
    if isinstance(children, dict):
        holder._children = _without(children, leaves)


def _turn_pages(holder: Any, leaves: Callable[[Any], bool]) -> None:
    """Let the titles and the selection of tabs follow their pages before some are removed."""
    stay = [i for i, child in enumerate(holder.children) if not leaves(child)]
    selected = holder.selected_index
    if selected is not None:
        selected = stay.index(selected) if selected in stay else min(selected, len(stay) - 1)
        holder.selected_index = None if selected < 0 else selected
    if holder.has_trait("titles"):  # ipywidgets 8
        titles = [*holder.titles]
        holder.titles = [titles[i] for i in stay if i < len(titles)]
    else:
        titles = holder._titles
        kept = ((str(new), titles.get(str(old))) for new, old in enumerate(stay))
        holder._titles = {key: title for key, title in kept if title is not None}


def _mentions(value: Any, leaves: Callable[[Any], bool]) -> bool:
    if isinstance(value, ipywidgets.Widget):
        return leaves(value)
    if isinstance(value, (list, tuple)):
        return any(_mentions(one, leaves) for one in value)
    if isinstance(value, dict):
        return any(_mentions(one, leaves) for one in value.values())
    return False


def _without(value: Any, leaves: Callable[[Any], bool]) -> Any:
    """The value without the widgets that leave; None if it is one of them."""
    if isinstance(value, (list, tuple)):
        kind = tuple if isinstance(value, tuple) else list
        return kind(_without(one, leaves) for one in value if not leaves(one))
    if isinstance(value, dict):
        return {key: _without(one, leaves) for key, one in value.items() if not leaves(one)}
    return None if leaves(value) else value
