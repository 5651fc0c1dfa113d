"""What kernels and front ends do differently, in one place.

Nothing here is needed for correct results. On a kernel without these quirks, every function does
nothing.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import traitlets

if TYPE_CHECKING:
    AnyTrait = traitlets.TraitType[Any, Any]
else:
    AnyTrait = traitlets.TraitType  # before traitlets 5.10 it takes no types


class Closable(Protocol):
    """A widget, as far as this file needs to know."""

    def close(self) -> None: ...


def unpin(*widgets: Any) -> None:
    """Let the front end choose the thread that handles messages to these widgets.

    Since ipykernel 7.4, the (sub)shell that last published on a widget's comm handles its messages,
    so a click waits for a busy cell. Without that rule, JupyterLab's choice applies: one subshell
    for all widgets. The attribute is private to ipykernel. Where it is missing, clicks are handled
    after the cell.
    """
    for widget in widgets:
        comm = getattr(widget, "comm", None)
        if comm is not None and hasattr(type(comm), "_reply_subshell_for"):
            comm._reply_subshell_for = None


class Cell(NamedTuple):
    """Where code runs: the cell and its execution."""

    cell: str
    execution: str


def _shell() -> Any:
    """The IPython that runs this; None outside of IPython."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def current_cell() -> Cell | None:
    """The cell being executed; None outside a notebook, or if the front end does not say."""
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None:
        return None
    try:
        request = kernel.get_parent("shell")
        return Cell(request["metadata"]["cellId"], request["header"]["msg_id"])
    except (AttributeError, KeyError, TypeError):
        return None


def without_page() -> bool:
    """Whether code runs without a page: the requests of nbclient name no cell."""
    return (
        getattr(_shell(), "kernel", None) is not None and current_cell() is None and not in_colab()
    )


def display(data: dict[str, Any], metadata: dict[str, Any], name: str) -> None:
    """Display output under a name, by which it can be replaced."""
    from IPython.display import display as put

    put(data, metadata=metadata, raw=True, display_id=name)


def update_display(data: dict[str, Any], metadata: dict[str, Any], name: str) -> None:
    """Replace the output with that name. A page redraws it and may jump."""
    from IPython.display import update_display as replace

    replace(data, metadata=metadata, raw=True, display_id=name)


_made: dict[str, tuple[str, list[weakref.ref[Closable]]]] = {}  # by cell: execution, its widgets
_made_lock = threading.Lock()


def replace_in_cell(widget: Closable) -> None:
    """Close the widgets that an earlier execution of the current cell made.

    A front end does not tell the kernel that a cell's output is gone. Without this, a widget whose
    cell runs again would keep its run, comms and images forever; so would IPython's history.
    """
    here = current_cell()
    if here is None:
        return
    with _made_lock:
        execution, widgets = _made.get(here.cell, (here.execution, []))
        if execution == here.execution:
            _made[here.cell] = (execution, [*widgets, weakref.ref(widget)])
            return
        _made[here.cell] = (here.execution, [weakref.ref(widget)])
    for old in [ref() for ref in widgets]:
        if old is not None:
            old.close()
            _forget_output(old)


def _forget_output(value: object) -> None:
    """Remove a value from IPython's history of outputs, ``Out`` and ``_``, which keeps it for ever.

    The names that the user gave to it stay.
    """
    shell = _shell()
    if shell is None:
        return
    outputs = shell.user_ns.get("_oh", {})
    numbers = [number for number, one in outputs.items() if one is value]
    for number in numbers:
        del outputs[number]
    for names in (shell.user_ns, shell.user_ns_hidden):
        for name in (f"_{number}" for number in numbers):
            if names.get(name) is value:
                del names[name]
        for name in ("_", "__", "___"):
            if names.get(name) is value:
                names[name] = ""
    for name in ("_", "__", "___"):
        if getattr(shell.displayhook, name, None) is value:
            setattr(shell.displayhook, name, "")


def in_colab() -> bool:
    """Whether this is Google Colab, which does not paint what threads send after their cell."""
    return "google.colab" in sys.modules


@contextlib.contextmanager
def _messages() -> Iterator[Callable[[int], Any] | None]:
    """Give a function that handles up to so many waiting messages; None if there is no way.

    Cells that are started meanwhile run afterwards: jupyter_ui_poll holds them back until the cell
    ends that waits. While a page's message is handled no cell ends, and so no other would ever run.
    What it does at the end of a cell is then done here.
    """
    try:
        from jupyter_ui_poll import ui_events
    except ImportError:
        yield None
        return
    waiting = ui_events()
    try:
        with waiting as handle:
            yield handle
    finally:
        if not _in_cell():
            for at_the_end in [*_shell().events.callbacks["post_run_cell"]]:
                if getattr(at_the_end, "__self__", None) is waiting:
                    at_the_end(None)


def _in_cell() -> bool:
    """Whether a cell runs, or a page's message is handled; a cell if the kernel does not say."""
    kernel = getattr(_shell(), "kernel", None)
    parent: Callable[[], Any] = getattr(kernel, "get_parent", dict)
    try:
        return bool(parent()["header"]["msg_type"] == "execute_request")
    except (KeyError, TypeError):
        return True


def wait_for(done: threading.Event, timeout: float | None = None) -> bool:
    """Wait until ``done`` is set, or ``timeout`` seconds; return whether it is set.

    Ctrl-C interrupts the wait. On Colab, the front end's messages (Stop) are handled meanwhile if
    the package jupyter_ui_poll is installed.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        handle_messages = stack.enter_context(_messages()) if in_colab() else None
        while not done.is_set():
            left = 0.1 if deadline is None else min(0.1, deadline - time.monotonic())
            if left <= 0:
                break
            if handle_messages is None:
                done.wait(left)
            else:
                handle_messages(10)
                done.wait(0.02)
    return done.is_set()


# ------------------------------------------------------------------------------------- comms


def comm_manager() -> Any:
    """What keeps this kernel's comms, and the targets that pages may open; None without a kernel.

    The package comm, which newer kernels have, would be one that is connected to nothing elsewhere.
    """
    return getattr(getattr(_shell(), "kernel", None), "comm_manager", None)


def open_comm(target: str, data: dict[str, Any]) -> Any:
    """Open a comm from the kernel's side, and return it."""
    try:
        from ipykernel.comm import Comm
    except ImportError:  # another kernel
        from comm import create_comm

        return create_comm(target_name=target, data=data)
    # Newer versions warn that they have this only for users of older ones.
    takes = inspect.signature(Comm.__init__).parameters
    quiet = {"show_warning": False} if "show_warning" in takes else {}
    return Comm(target_name=target, data=data, **quiet)


def keep_open(comm: Any) -> None:
    """Keep a comm listed, and without another message, although a page has closed its side of it.

    Pages close comms whose target they do not know. Other pages may know it.
    """
    manager = comm_manager()
    if manager is not None:
        comm._closed = False
        manager.register_comm(comm)
