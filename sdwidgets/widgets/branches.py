"""Branches: the tree of one starting noise, grown by hand in a notebook cell."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import traitlets

from .. import checks
from ..contract import SYSTEMS, UPLOAD
from ..errors import Busy, InputError, SDWidgetsError
from ..manager import ModelManager, Request
from ..trace.branching import Branch
from ..trace.editing import Edit
from ..trace.images import encode_png
from ..trace.trace import Trace
from ..trace.tree import Node, Tree
from . import kernel
from .branch_map import BranchMap, check_room, thumbnail
from .compare import Compare
from .life import Living
from .pace import INTERVAL, Pace
from .results import contact
from .running import Running
from .side import current_manager, shared_manager
from .slots import Slots
from .upload import Part, Upload
from .waiting import wait
from .watching import in_words

if TYPE_CHECKING:
    from ..pipeline import LatentDiffusion


class Asked(NamedTuple):
    """A run to be made. ``draft``: the draft that it replaces, if it is one; -1 is a new draft."""

    node: int
    what: Branch | Edit
    draft: int | None = None


class Branches(Living, ipywidgets.VBox):
    """The tree of one starting noise: every run under the step at which it leaves its parent.

    Choose a step of a run, change words, guidance, sampler or the seed of the rest, and grow a
    branch: only the steps that are left are paid. Words can be struck, replaced and weighed, too
    (prompt-to-prompt). Runs work in the background.

    Example::

        trace = model.generate("a cat left of a car", seed=7)
        branches = sdw.Branches(trace)
        branches                                             # shows the widget
        branches.grow(0, 12, guidance_scale=7.0)             # like the button; returns at once
        branches.wait()                                      # the new node, once it is there
        branches.tree.save("cats.sdtree")

    ``trace``: a `Trace`, with the runs from which it came as far as they are in memory, or a
    `Tree`. ``model``: what made it, a `LatentDiffusion` or its name; None takes the model of the
    run, if it is still loaded, or the bundled one, if that made it.
    """

    state = traitlets.Unicode("idle", read_only=True)
    """idle, loading, running, done, stopped or error."""

    error = traitlets.Any(None, read_only=True)
    """The exception that ended the last run, or about what was asked; None without one."""

    comparison: Compare | None = None
    """Two runs side by side, locked to one step; None unless two were chosen."""

    _instead = "Save its tree with branches.tree.save(path), and open that elsewhere."

    def __init__(
        self,
        trace: Trace | Tree,
        model: LatentDiffusion | str | None = None,
        *,
        manager: ModelManager | None = None,
    ):
        tree = trace if isinstance(trace, Tree) else Tree(trace)
        if manager is not None:
            checks.able("manager", manager, "submit", "a ModelManager")
        if model is not None and not isinstance(model, str):
            checks.able("model", model, "run", "a LatentDiffusion or the name of one")
        check_room(len(tree))
        self.tree = tree
        self._model, self._manager = model, manager
        self._added = ""  # the name under which the manager has the model from here
        self._lock = threading.RLock()
        self._running: Running | None = None
        self._waiting: Asked | None = None
        self._drafts: set[int] = set()
        self._made: Node | None = None
        self._upload = Upload()
        self.map = BranchMap(self._take, self._refuse)
        self._parts = (self.map,)
        self._shown: tuple[ipywidgets.Widget, ...] = (self.map,)
        super().__init__(self._shown)
        for name in ("sdw", "sdw-branches-box"):
            self.add_class(name)
        self._show()
        self.selected = [*tree][-1]
        self._begin()

    # ------------------------------------------------------------------------------ from Python

    @property
    def manager(self) -> ModelManager:
        """The manager that runs this widget: the given one, or one shared with the Studios."""
        return shared_manager() if self._manager is None else self._manager

    @property
    def selected(self) -> Node:
        """The node on show. Set it to a node of the tree or to its id."""
        return self.tree[self.map.selected]

    @selected.setter
    def selected(self, node: Node | int) -> None:
        self.map.selected = self.tree.node(node).id

    def grow(self, node: Node | int | None = None, step: int | None = None, **changes: Any) -> None:
        """Start to make a branch, as `Trace.branch` does, and return at once.

        ``node``: None is the selected one. ``step``: None is the step on show. Raises InputError,
        and Busy while a run of this widget goes on. The widget shows these errors, too.
        """
        self._check_open()
        with self._lock, self._shown_errors():
            found = self.selected if node is None else self.tree.node(node)
            place = self.map.at if step is None else step
            self._start(Asked(found.id, found.trace.branching(place, **changes)))

    def edit(
        self,
        node: Node | int | None = None,
        word: str | None = None,
        replacement: str = "",
        **how: Any,
    ) -> None:
        """Start to make an edit, as `Trace.edit` does, and return at once; raises as `grow`."""
        self._check_open()
        with self._lock, self._shown_errors():
            found = self.selected if node is None else self.tree.node(node)
            self._start(Asked(found.id, found.trace.editing(word, replacement, **how)))

    def stop(self) -> None:
        """Stop the current run within a step. Without a run, nothing happens."""
        self._waiting = None
        run = self._running
        if run is not None and not run.over:
            run.stop()

    def wait(self, timeout: float | None = None) -> Node | None:
        """Wait for the current run and return its node; None if it was stopped.

        Raises the error that ended the run, and TimeoutError after ``timeout`` seconds. Ctrl-C
        stops the run and raises KeyboardInterrupt.
        """
        self._check_process()
        run = self._running
        if run is None:
            return None
        wait(
            run.finished,
            timeout,
            what="The run",
            is_here=run.is_this_thread(),
            stop=self.stop,
            instead="Wait in a cell, or observe `state`.",
        )
        if run.error is not None:
            raise run.error.with_traceback(None)
        if self._running is not run:  # the newest edit was waiting for it
            return self.wait(timeout)
        return self._made

    def prune(self, node: Node | int) -> None:
        """Take a node out of the tree, with all that came from it; `undo` brings them back."""
        with self._lock:
            self.tree.prune(node)
            self._drafts &= {one.id for one in self.tree}
            self._show()

    def undo(self) -> None:
        """Bring back what was pruned last."""
        with self._lock:
            node = self.tree.undo()
            self._show()
            if node is not None:
                self.selected = node

    def compare(self, node: Node | int, other: Node | int) -> Compare:
        """Show two runs side by side below, locked to one step; return the comparison."""
        self._check_open()
        traces = [self.tree.node(one).trace for one in (node, other)]
        with self._lock:
            if self.comparison is None or self.comparison.comm is None:  # or closed from outside
                self.comparison = Compare(*traces)
                self.children = (*self._shown, self.comparison)
            else:
                self.comparison.show(*traces)
            return self.comparison

    def end_comparison(self) -> None:
        """Remove the comparison."""
        comparison, self.comparison = self.comparison, None
        if comparison is not None:
            self.children = self._shown
            comparison.close()

    def show(self, trace: Trace | Tree) -> Branches:
        """Show the tree of another run, or another tree, such as ``sdw.Tree.load("cats.sdtree")``;
        return the widget. Raises Busy during a run."""
        tree = trace if isinstance(trace, Tree) else Tree(trace)
        check_room(len(tree))
        self._check_open()
        with self._lock:
            self._check_idle()
            self.end_comparison()
            self._forget_model()
            self.tree, self._drafts, self._made = tree, set(), None
            self._show()
            self.selected, self.map.at = tree.root, -1
        self._redraw()
        return self

    # -------------------------------------------------------------------------------- the runs

    def _start(self, asked: Asked) -> None:
        """Make a run, or let a draft wait for the one that goes on; the lock is held."""
        if self._goes_on() and asked.draft is not None:
            self._waiting = asked  # the newest, never more than one
            return
        self._check_idle()
        replaces = asked.draft in self._drafts
        check_room(len(self.tree) + (not replaces))
        request = Request(self._named(), asked.what.settings)
        which = {"branch" if isinstance(asked.what, Branch) else "edit": asked.what}
        forming = Forming(self.map, asked, self.tree[asked.node])
        self._made = None
        run = self._running = Running(
            self.manager,
            replace(request, **which),  # type: ignore[arg-type]
            forming,  # type: ignore[arg-type]
            on_state=self._follow,
            on_message=lambda message: self._say("loading", message),
            on_run=lambda _: self._say("running", ""),
            on_end=lambda run, state, message: self._take_end(run, asked, state, message),
        )
        try:
            self.set_trait("error", None)
            self.map.wrong = ""
            forming.show()
            self._say("loading", "Starting")
            run.start()
        except BaseException:  # an observer may raise anything
            run.give_up()
            raise

    def _named(self) -> str:
        """The name under which the manager has the model. Raises InputError if it is not known."""
        made = self.tree.root.trace
        if isinstance(self._model, str):
            return self._model
        live = made.model_ref() if self._model is None and made.model_ref else self._model
        manager = self.manager
        if live is None:
            name = SYSTEMS.get(made.model, made.model)
            if name in manager.available():
                return name
            raise InputError(
                f"The model of this tree, {checks.shown(made.model)}, is not loaded.\n"
                "Give it: sdw.Branches(trace, model=sdw.load(...)).",
                parameter="model",
            )
        for name in manager.loaded():
            if manager.load(name) is live:
                return name
        self._added = manager.add(live, replace=False)
        return self._added

    def _forget_model(self) -> None:
        """Give back to the manager what was only added for this widget."""
        added, self._added = self._added, ""
        manager = self._manager or current_manager()
        if added and manager is not None and not manager.closed:
            manager.unload(added)

    def _goes_on(self) -> bool:
        return self._running is not None and not self._running.over

    def _check_idle(self) -> None:
        if self._goes_on():
            raise Busy(
                "A branch is still growing.\nWait with branches.wait(), or stop it with "
                "branches.stop()."
            )

    def _follow(self, state: str) -> None:
        self._say("running" if state == "running" else "loading", self.map.message)

    def _say(self, state: str, message: str) -> None:
        if self._closed:
            return
        with self.map.hold_sync():
            self.map.state, self.map.message = state, message
        self.set_trait("state", state)

    def _take_end(self, run: Running, asked: Asked, state: str, message: str) -> None:
        """Take a run that is over into the tree, and start the draft that waits."""
        if self._closed:
            run.over = True
            return
        with self._lock:
            try:
                if state == "done" and run.trace is not None and asked.node in self._ids():
                    self._made = self._taken(run.trace, asked)
            finally:
                run.over = True
                self.map.forming = {}
            if run.error is not None:
                self._waiting = None
                self._refuse(run.error)
                return
            if self._made is not None:
                self._show()
                self.selected, self.map.at = self._made, -1
            waiting, self._waiting = self._waiting, None
            if waiting is not None and waiting.node in self._ids():
                if waiting.draft == -1 and asked.draft is not None and self._made is not None:
                    waiting = waiting._replace(draft=self._made.id)
                with self._shown_errors():
                    self._start(waiting)
                return
            self._say(state, message)
            self._redraw()

    def _ids(self) -> set[int]:
        return {node.id for node in self.tree}

    def _taken(self, trace: Trace, asked: Asked) -> Node:
        """The node of a run that is done; a draft takes the place of the one before it."""
        if asked.draft in self._drafts and asked.draft in self._ids():
            node = self.tree.replace(asked.draft, trace)
        else:
            node = self.tree.add(trace, asked.node)
            if asked.draft is not None:
                self._drafts.add(node.id)
        return node

    def _show(self) -> None:
        self.map.show([*self.tree], self._drafts, self.tree.undoable)

    # -------------------------------------------------------------------------------- the page

    def set_state(self, sync_data: Any) -> None:
        """Does nothing: pages set the traits of the map, and none of this widget's."""

    def _take(self, message: dict[str, Any], buffers: Any) -> None:
        """Do what the page asks for. It is on the thread that hears messages, so it only starts
        things."""
        kind = message["kind"]
        if kind in ("grow", "edit"):
            with contextlib.suppress(SDWidgetsError):  # already shown
                self._make(kind, message)
                if kernel.in_colab():  # it does not paint a thread's updates after the cell
                    with contextlib.suppress(Exception):
                        self.wait()
        elif kind == "cost":
            self._answer_cost(message)
        elif kind == "file":
            self._open_part(message, buffers)
        else:
            acts = {
                "stop": lambda: self.stop(),
                "undo": lambda: self.undo(),
                "save": lambda: self._send_file(),
                "apart": lambda: self.end_comparison(),
                "keep": lambda: self._keep(message.get("node")),
                "prune": lambda: self.prune(self.tree[message.get("node")]),  # type: ignore[index]
                "rename": lambda: self._rename(message.get("node"), message.get("name")),
                "compare": lambda: self.compare(
                    self.tree[message.get("node")],  # type: ignore[index]
                    self.tree[message.get("other")],  # type: ignore[index]
                ),
            }
            acts[kind]()

    def _make(self, kind: str, message: Mapping[str, Any]) -> None:
        """Grow a branch or make an edit, as the page asks."""
        changes = message.get("changes")
        with self._lock, self._shown_errors():
            node = self.tree[message.get("node")]  # type: ignore[index]
            named = {str(name): value for name, value in _dict(changes).items()}
            if kind == "grow":
                self._keep(node.id)
                self._start(Asked(node.id, node.trace.branching(message.get("step"), **named)))  # type: ignore[arg-type]
                return
            draft = message.get("draft")
            asked = Edit.of(node.trace, **_named(named, EDITS))
            self._start(Asked(node.id, asked, draft if checks.is_whole(draft) else None))

    def _answer_cost(self, message: Mapping[str, Any]) -> None:
        """Tell the page how many steps a branch would take; null where that is not known yet."""
        cost, why = None, ""
        try:
            node = self.tree[message.get("node")]  # type: ignore[index]
            changes = {str(name): value for name, value in _dict(message.get("changes")).items()}
            model = None if isinstance(self._model, str) else self._model
            cost = node.trace.branching(message.get("step"), **changes).cost(model)  # type: ignore[arg-type]
        except InputError as error:
            why = in_words(error)
        self.map.send({"kind": "cost", "key": message.get("key"), "cost": cost, "why": why})

    def _keep(self, number: Any) -> None:
        """Let a draft be a run like the others."""
        if number in self._drafts:
            self._drafts.discard(number)
            self._show()

    def _rename(self, number: Any, name: Any) -> None:
        self.tree[number].name = name
        self._show()

    def _send_file(self) -> None:
        """Send the tree as a file for the page to save."""
        with tempfile.TemporaryDirectory() as folder:
            content = self.tree.save(Path(folder) / "tree.sdtree").read_bytes()
        if len(content) > UPLOAD["largest"]:
            raise InputError(
                f"The tree takes {len(content) / 2**20:.0f} MB, too much for the page.\n"
                "Save it from Python: branches.tree.save('tree.sdtree')."
            )
        self.map.send({"kind": "file", "name": "tree.sdtree"}, [content])

    def _open_part(self, message: dict[str, Any], buffers: Any) -> None:
        """Take a part of a file, and show its tree after the last."""
        content = self._upload.add(Part.of(message, buffers))
        if content is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tree.sdtree"
            path.write_bytes(content)
            try:
                tree = Tree.load(path)
            except InputError as error:
                said = str(error).replace(repr(str(path)), "The file")
                raise InputError(said, parameter="path") from None
        self.show(tree)
        self._say("idle", f"Opened a tree of {len(tree)} runs")

    @contextlib.contextmanager
    def _shown_errors(self) -> Any:
        """Show an error, and raise it."""
        try:
            yield
        except (SDWidgetsError, TypeError) as error:
            self._refuse(error)
            raise

    def _refuse(self, error: BaseException) -> None:
        """Show an error. The tree stays as it is."""
        self.set_trait("error", error)
        self.map.wrong = str(getattr(error, "parameter", None) or "")
        if self._goes_on():
            self.map.message = in_words(error)
        else:
            self._say("error", in_words(error))

    def _complain(self, error: Exception) -> None:
        self._refuse(error)

    # ------------------------------------------------------------------------------- as output

    def _end(self) -> None:
        self.stop()  # its thread ends within a step
        self.end_comparison()
        self._forget_model()

    def __repr__(self) -> str:
        return f"Branches: {self.tree!r}"

    def _still(self) -> bytes | None:
        """The final images, in the order of the tree."""
        images = [node.trace.images[0] for node in self.tree if node.trace.images][:16]
        if not images:
            return None
        size = images[0].size
        return encode_png(contact([one.convert("RGB").resize(size) for one in images]))


EDITS = ("word", "replacement", "prompt", "weights", "cross_attention", "self_attention", "blend")
"""The arguments of an edit that a page may give."""


def _dict(value: Any) -> dict[Any, Any]:
    return checks.typed("changes", value, dict, "a dict")


def _named(given: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """The arguments that are known. Raises InputError for another."""
    for name in given:
        if name not in known:
            raise InputError(f"An edit has no argument {checks.shown(name)}.", parameter=name)
    return dict(given)


class Forming:
    """The run that is being made, as the map shows it: what `Running` needs of a view.

    ``parent``, ``step``, ``how``: as of a node. ``steps``: those of the whole run, ``done`` of
    them; ``image``: a JPEG of the newest, ``thumbnail`` a small one; ``draft``: the id of the draft
    that it will replace, -1 for a new one, or None.
    """

    def __init__(self, shown: BranchMap, asked: Asked, parent: Node):
        self._map, self._asked = shown, asked
        is_branch = isinstance(asked.what, Branch)
        self._step = asked.what.step if isinstance(asked.what, Branch) else 0
        self._how = "branch" if is_branch else "edit"
        self._steps, self._done = parent.steps, 0
        self._pace, self._slots = Pace(), Slots()
        self._trace: Trace | None = None
        self._images: dict[str, bytes] = {}

    def show(self) -> None:
        """Show how far it is."""
        self._map.forming = {
            "parent": self._asked.node,
            "step": self._step,
            "how": self._how,
            "draft": self._asked.draft,
            "steps": self._steps,
            "done": self._done,
            "at": max(self._done - 1, 0),
            **self._images,
        }

    def begin(self, trace: Trace, slots: Slots) -> int:
        """Take the run's record before its first step, and where its steps will be; return 0."""
        self._trace, self._slots = trace, slots
        self._steps = trace.expected or self._steps
        self.show()
        return 0

    def flush(self, *, run: int | None = None) -> float:
        """Show the newest step if it is time; return the seconds until the next time."""
        left = self._pace.left()
        if left > 0:
            return left
        _, new = self._slots.take()
        if new and self._trace is not None:
            step = new[-1].record()
            if step.index >= self._step or step.index == self._steps - 1:
                self._done = step.index + 1
                self._images = {
                    "thumbnail": thumbnail(step, self._trace),
                    "image": thumbnail(step, self._trace, 256),
                }
                self._pace.sent()
                self.show()
        return INTERVAL
