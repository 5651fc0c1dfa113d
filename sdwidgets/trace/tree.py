"""The tree of one starting noise: a run, and the runs that came from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..errors import InputError
from . import tree_file
from .about import changes
from .trace import Trace
from .tree_file import LONGEST_NAME, Row

UNDONE = 8
"""The most prunings that can be undone; older ones are forgotten, with their runs."""


class Node:
    """A run of a tree.

    ``id``: a number that no other node of the tree ever has; the root's is 0. ``trace``: its
    record. ``parent``: the node from which it came; None for the root. ``how``: "branch", "edit",
    "hires" (the second pass of its parent), or "" for the root. ``step``: how many first steps are
    the parent's own. ``picture``: the index of the image of the parent's batch that it continues;
    None for the whole batch.
    """

    def __init__(
        self, number: int, trace: Trace, parent: Node | None = None, picture: int | None = None
    ):
        came = None if parent is None else trace.parent
        self.id, self.trace, self.parent, self.picture = number, trace, parent, picture
        self.how = "" if came is None else came.how
        self.step = 0 if came is None else came.step
        self._name = ""
        self._children: list[Node] = []
        self._difference: tuple[float | None] | None = None

    def __repr__(self) -> str:
        said = self.name or self.changes or self.trace.prompt
        return f"Node({self.id}, {checks.shortened(said, 60)!r})"

    @property
    def name(self) -> str:
        """What a person calls it; "" for no name."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        name = checks.typed("name", name, str, "a text").strip()
        if len(name) > LONGEST_NAME:
            raise InputError(
                f"A name has at most {LONGEST_NAME} characters, got {len(name)}.", parameter="name"
            )
        self._name = name

    @property
    def children(self) -> tuple[Node, ...]:
        """The runs that came from it, in their order."""
        return tuple(self._children)

    @property
    def path(self) -> tuple[Node, ...]:
        """The nodes from the root to this one."""
        path = [self]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        return tuple(reversed(path))

    @property
    def changes(self) -> str:
        """How its run differs from its parent's, in words; "" for the root."""
        return "" if self.parent is None else changes(self.trace, self.parent.trace)

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.trace.expected or len(self.trace.steps)

    @property
    def cost(self) -> int:
        """The steps of the network that it took, of which a branch has only the rest.

        Each step of an edit counts twice, since the run that is edited is made again beside it.
        """
        if self.how == "edit":
            return 2 * self.steps
        return max(self.steps - self.step, 0)

    @property
    def difference(self) -> float | None:
        """How far its image is from its parent's: the mean of `difference_map` over all images,
        0 to 1. None for the root, and where the sizes differ or an image is missing."""
        if self._difference is None:
            count = min(len(self.trace.images), self.trace.batch_size)
            maps = [self.difference_map(index) for index in range(count)]
            known = [float(one.mean()) for one in maps if one is not None]
            self._difference = (float(np.mean(known)) if known else None,)
        return self._difference[0]

    def difference_map(self, picture: int = 0) -> np.ndarray | None:
        """[H, W] float32, 0 to 1: how far each pixel is from its parent's, the mean over red, green
        and blue. ``picture``: the image's index in this run's batch. None as in `difference`.
        """
        picture = checks.index("picture", picture, max(len(self.trace.images), 1))
        if self.parent is None or not self.trace.images:
            return None
        theirs = self.parent.trace.images
        index = picture if self.picture is None else self.picture
        mine = self.trace.images[picture]
        if index >= len(theirs) or theirs[index].size != mine.size:
            return None
        pixels = [np.asarray(one.convert("RGB"), np.float32) / 255 for one in (theirs[index], mine)]
        return np.abs(pixels[1] - pixels[0]).mean(2, dtype=np.float32)


class Tree:
    """A run and the runs that came from it: branches, and edits of its prompt.

    Made from a trace, it also has the runs from which that came, as far as they are in memory.
    Iterating it yields its nodes, each before those that came from it::

        tree = sdw.Tree(model.generate("a cat left of a car", seed=7))
        snow = tree.grow(tree.root, 12, prompt="a cat left of a car in the snow")
        tree.grow(snow, 16, guidance_scale=7.0)
        tree.edit(tree.root, "cat", "dog")
        [(node.changes, node.cost, node.difference) for node in tree]
        tree.save("cats.sdtree")
    """

    def __init__(self, trace: Trace):
        line = [checks.typed("trace", trace, Trace, "a Trace")]
        while (above := line[-1].parent) is not None and isinstance(above.trace, Trace):
            line.append(above.trace)
        self._nodes: dict[int, Node] = {}
        self._next = 0
        self._pruned: list[Node] = []
        node: Node | None = None
        for one in reversed(line):
            node = self._grown(one, node, _picture_of(one))

    def __repr__(self) -> str:
        return f"Tree of {len(self)} runs: {checks.shortened(self.root.trace.prompt, 60)!r}"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Node]:
        return _below(self.root)

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and self._nodes.get(node.id) is node

    def __getitem__(self, number: int) -> Node:
        """The node with that id. Raises InputError if there is none."""
        found = self._nodes.get(number) if checks.is_whole(number) else None
        if found is None:
            raise InputError(
                f"The tree has no node {checks.shown(number)}.\n"
                f"Its nodes: {checks.shortened(', '.join(map(str, self._nodes)), 80)}.",
                parameter="node",
            )
        return found

    @property
    def root(self) -> Node:
        """The run from which all others came."""
        return next(iter(self._nodes.values()))

    @property
    def cost(self) -> int:
        """The steps of the network that all runs took together."""
        return sum(node.cost for node in self)

    @property
    def saved(self) -> int:
        """The steps that branches did not have to make again."""
        return sum(node.step for node in self if node.how == "branch")

    # ------------------------------------------------------------------------------ growing

    def grow(
        self,
        node: Node | int,
        step: int,
        *,
        model: Any = None,
        picture: int | None = None,
        **changes: Any,
    ) -> Node:
        """Make a branch of a node's run and return its node; see `Trace.branch`.

        ``node``: a node of the tree, or its id. Raises InputError, and what a run raises; the tree
        then stays as it was.
        """
        node = self.node(node)
        if picture is not None:
            picture = checks.index("picture", picture, node.trace.batch_size)
        trace = node.trace.branch(step, model=model, picture=picture, **changes)
        return self._grown(trace, node, picture)

    def edit(
        self,
        node: Node | int,
        word: str | None = None,
        replacement: str = "",
        *,
        model: Any = None,
        **how: Any,
    ) -> Node:
        """Make an edit of a node's run and return its node; see `Trace.edit`."""
        node = self.node(node)
        trace = node.trace.edit(word, replacement, model=model, **how)
        return self._grown(trace, node, _picture_of(trace))

    def add(self, trace: Trace, node: Node | int | None = None) -> Node:
        """Take in a run that came from one of the tree's, and return its node.

        ``node``: the one from which it came; None finds it. Raises InputError if it came from none.
        """
        came = checks.typed("trace", trace, Trace, "a Trace").parent
        if came is not None and node is None:
            node = next((one for one in self if one.trace is came.trace), None)
        if came is None or node is None:
            raise InputError(
                "This run came from none of the tree's.\n"
                "Branch or edit one of them: tree.grow(node, step, ...), tree.edit(node, ...).",
                parameter="trace",
            )
        node = self.node(node)
        return self._grown(trace, node, _continued(trace, node.trace))

    def replace(self, node: Node | int, trace: Trace) -> Node:
        """Put another run that came from the same parent in the place of a node's; return the node.

        Raises InputError where runs came from the one before.
        """
        node = self.node(node)
        came = checks.typed("trace", trace, Trace, "a Trace").parent
        if node.children or node.parent is None or came is None or came.how != node.how:
            raise InputError(
                "Only a run from which no other came can be replaced, by one made alike.",
                parameter="node",
            )
        node.trace, node.step, node._difference = trace, came.step, None
        return node

    def node(self, node: Node | int) -> Node:
        """The node that is meant by itself or by its id. Raises InputError if it is not there."""
        if not isinstance(node, Node):
            return self[node]
        if node not in self:
            raise InputError(f"{node!r} is not in this tree.", parameter="node")
        return node

    def _grown(
        self,
        trace: Trace,
        parent: Node | None,
        picture: int | None = None,
        number: int | None = None,
    ) -> Node:
        """A new node for a run."""
        node = Node(self._next if number is None else number, trace, parent, picture)
        self._next = max(self._next, node.id) + 1
        self._nodes[node.id] = node
        if parent is not None:
            parent._children.append(node)
        return node

    # ------------------------------------------------------------------------------ pruning

    def prune(self, node: Node | int) -> tuple[Node, ...]:
        """Take a node out of the tree, with all that came from it; return them.

        `undo` brings them back. Raises InputError for the root.
        """
        node = self.node(node)
        if node.parent is None:
            raise InputError("The root cannot be pruned: it is the tree.", parameter="node")
        gone = tuple(_below(node))
        node.parent._children.remove(node)
        for one in gone:
            del self._nodes[one.id]
        self._pruned = [*self._pruned, node][-UNDONE:]
        return gone

    def undo(self) -> Node | None:
        """Bring back what was pruned last, and return its first node; None if there is nothing."""
        while self._pruned:
            node = self._pruned.pop()
            if node.parent in self:
                assert node.parent is not None
                node.parent._children.append(node)
                node.parent._children.sort(key=lambda one: one.id)
                self._nodes.update((one.id, one) for one in _below(node))
                return node
        return None

    @property
    def undoable(self) -> int:
        """How many runs `undo` would bring back."""
        last = next((one for one in reversed(self._pruned) if one.parent in self), None)
        return 0 if last is None else sum(1 for _ in _below(last))

    # ------------------------------------------------------------------------------ to files

    def save(self, path: str | os.PathLike[str], *, precision: str = "8-bit") -> Path:
        """Write the whole tree into one file, whole or not at all; see `tree_file.save`."""
        rows = [
            Row(
                node.id,
                None if node.parent is None else node.parent.id,
                node.name,
                node.picture,
                node.trace,
            )
            for node in self
        ]
        return tree_file.save(rows, path, precision=precision)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tree:
        """Read a tree back, with neither torch nor the model; see `tree_file.load`."""
        rows = tree_file.load(path, Trace)
        tree = cls.__new__(cls)
        tree._nodes, tree._next, tree._pruned = {}, 0, []
        for row in rows:
            parent = None if row.parent is None else tree._nodes[row.parent]
            tree._grown(row.trace, parent, row.picture, row.id).name = row.name
        return tree


def _below(node: Node) -> Iterator[Node]:
    """The node, and all that came from it, each before its own."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += reversed(one.children)


def _picture_of(trace: Trace) -> int | None:
    """The image of its parent's batch that an edit continues; None for a branch, and without a
    batch."""
    came = trace.parent
    if came is None or came.how != "edit" or came.edit is None:
        return None
    picture = came.edit.get("picture", 0)
    return int(picture) if checks.is_whole(picture) else 0


def _continued(trace: Trace, parent: Trace) -> int | None:
    """The image of the parent's batch that a run continues; None for all of them."""
    if trace.parent is not None and trace.parent.how == "edit":
        return _picture_of(trace)
    seeds = parent.settings.seeds if parent.settings.seed is not None else ()
    one = trace.batch_size == 1 < len(seeds) and trace.settings.seed in seeds
    return seeds.index(trace.settings.seeds[0]) if one else None
