from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_nets import picture

import sdwidgets as sdw
from sdwidgets.errors import InputError
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.trace import Node, Trace, Tree

SETTINGS: dict[str, Any] = {"steps": 6, "seed": 1, "sampler": "euler", "guidance_scale": 3.0}


@pytest.fixture
def trace(tiny_model: LatentDiffusion) -> Trace:
    return tiny_model.generate("the cat", attention=True, **SETTINGS)


@pytest.fixture
def tree(trace: Trace) -> Tree:
    """A run, a branch of it, a branch of that, and an edit."""
    tree = Tree(trace)
    first = tree.grow(tree.root, 2, prompt="the dog")
    tree.grow(first, 4, guidance_scale=7.0)
    tree.edit(tree.root, "cat", "bird")
    return tree


# -- nodes ----------------------------------------------------------------------------------


def test_a_tree_has_its_runs_in_order(tree: Tree) -> None:
    root, first, second, edit = tree
    assert (tree.root, len(tree)) == (root, 4)
    assert root.children == (first, edit) and first.children == (second,)
    assert [node.how for node in tree] == ["", "branch", "branch", "edit"]
    assert [node.step for node in tree] == [0, 2, 4, 0]
    assert second.path == (root, first, second) and root.path == (root,)
    assert tree[second.id] is second and second in tree
    assert all(
        own is theirs
        for own, theirs in zip(second.trace.steps[:4], first.trace.steps[:4], strict=True)
    )
    assert second.trace.parent is not None and second.trace.parent.trace is first.trace


def test_only_the_rest_of_a_branch_is_paid(tree: Tree) -> None:
    assert [node.cost for node in tree] == [6, 4, 2, 12]
    assert tree.cost == 24 and tree.saved == 6


def test_what_a_run_changes_is_said_in_words(tree: Tree) -> None:
    root = tree.root
    assert [node.changes for node in tree] == ["", "cat → dog", "guidance 7", "cat → bird"]
    more = tree.grow(root, 3, prompt="the cat sat", sampler="euler_ancestral", seed=5)
    assert more.changes == "+ sat, euler_ancestral, noise of seed 5"
    assert tree.grow(root, 3, prompt="cat").changes == "− the"
    assert tree.grow(root, 3, prompt="a dog").changes == "“a dog”"
    assert tree.grow(root, 3).changes == "nothing changed"
    assert tree.edit(root, weights={"cat": 2}).changes == "cat × 2"


def test_the_difference_is_that_of_the_images(tree: Tree) -> None:
    root, first, *_ = tree
    assert root.difference is None and root.difference_map() is None
    shown = first.difference_map()
    assert shown is not None
    mine, theirs = (np.asarray(node.trace.image, np.float64) / 255 for node in (first, root))
    np.testing.assert_allclose(shown, np.abs(mine - theirs).mean(2), rtol=1e-4, atol=1e-6)
    assert shown.shape == mine.shape[:2] and shown.dtype == np.float32
    assert first.difference == pytest.approx(float(shown.mean()))
    assert tree.grow(root, 2).difference == 0


def test_a_trace_with_parents_is_a_tree_with_them(trace: Trace) -> None:
    one = trace.branch(2, guidance_scale=1.0)
    two = one.branch(4, prompt="the dog")
    tree = Tree(two)
    assert [node.trace for node in tree] == [trace, one, two]
    assert [node.step for node in tree] == [0, 2, 4]


def test_the_second_pass_of_an_image_comes_from_the_first(tiny_model: LatentDiffusion) -> None:
    trace = tiny_model.generate("the cat", hires=2, **SETTINGS)
    tree = Tree(trace)
    first, second = tree
    assert second.how == "hires" and second.difference is None and second.trace is trace
    assert tree.grow(first, 3, guidance_scale=1.0).parent is first
    with pytest.raises(InputError, match="two passes"):
        tree.grow(second, 3)


def test_a_batch(tiny_model: LatentDiffusion) -> None:
    tree = Tree(tiny_model.generate(["the cat", "a bird"], **SETTINGS))
    both = tree.grow(tree.root, 3, guidance_scale=1.0)
    one = tree.grow(tree.root, 3, picture=1, prompt="a dog")
    edit = tree.edit(tree.root, "bird", "dog", picture=1)
    assert [node.picture for node in tree] == [None, None, 1, 1]
    assert both.trace.batch_size == 2 and one.trace.batch_size == edit.trace.batch_size == 1
    theirs = np.asarray(tree.root.trace.images[1], np.float64)
    for node in (one, edit):
        shown = node.difference_map()
        assert shown is not None
        wanted = np.abs(np.asarray(node.trace.image, np.float64) - theirs).mean(2) / 255
        np.testing.assert_allclose(shown, wanted, rtol=1e-4, atol=1e-6)
    assert tree.add(one.trace, tree.root).picture == 1


def test_a_name(tree: Tree) -> None:
    node = tree[1]
    node.name = "  the dog's branch "
    assert node.name == "the dog's branch" and "the dog's branch" in repr(node)
    for wrong in (5, "x" * 101):
        with pytest.raises(InputError) as caught:
            node.name = wrong  # type: ignore[assignment]
        assert caught.value.parameter == "name"


def test_a_run_that_was_made_elsewhere_is_taken_in(tree: Tree) -> None:
    first = tree[1]
    node = tree.add(first.trace.branch(3, guidance_scale=1.0))
    assert node.parent is first and (node.step, node.how) == (3, "branch")


def test_a_run_of_another_tree_is_refused(tree: Tree, tiny_model: LatentDiffusion) -> None:
    stranger = tiny_model.generate("a bird", **SETTINGS)
    for trace in (stranger, stranger.branch(3, prompt="the dog")):
        with pytest.raises(InputError, match="none of the tree's") as caught:
            tree.add(trace)
        assert caught.value.parameter == "trace"
    with pytest.raises(InputError, match="no node 99"):
        tree.grow(99, 2)
    with pytest.raises(InputError, match="not in this tree"):
        tree.grow(Tree(stranger).root, 2)
    with pytest.raises(InputError):
        Tree("cat")  # type: ignore[arg-type]
    assert len(tree) == 4


def test_a_branch_that_fails_leaves_the_tree_as_it_was(tree: Tree) -> None:
    with pytest.raises(InputError, match="no step 20"):
        tree.grow(tree.root, 20)
    with pytest.raises(InputError, match="batch_size"):
        tree.grow(tree.root, 2, batch_size=2)
    assert len(tree) == 4 and len(tree.root.children) == 2


# -- what a branch costs --------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"guidance_scale": 1.0},
        {"steps": 12},
        {"schedule": "karras", "steps": 9},
        {"sigmas": [10.0, 3.0, 1.0, 0.5, 0.1, 0.0]},
        {"steps": 24, "end_step": 23},
        {"sampler": "heun"},
    ],
)
@pytest.mark.parametrize("step", [0, 3, 5])
def test_the_cost_is_known_before(trace: Trace, asked: dict[str, Any], step: int) -> None:
    branch = trace.branching(step, **asked)
    assert branch.cost() == len(branch.run()) - step


def test_the_cost_of_other_levels_needs_the_model(
    trace: Trace, tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    loaded = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    branch = loaded.branching(3, steps=12)
    assert branch.cost() is None
    assert branch.cost(tiny_model) == trace.branching(3, steps=12).cost()
    assert loaded.branching(3, prompt="the dog").cost() == 3
    assert trace.branching(3, exact=True).cost() == 6


# -- pruning --------------------------------------------------------------------------------


def test_pruning_takes_all_that_came_from_a_node(tree: Tree) -> None:
    root, first, second, edit = tree
    assert tree.prune(first) == (first, second)
    assert [*tree] == [root, edit] and first not in tree and tree.undoable == 2
    with pytest.raises(InputError, match="no node"):
        tree.prune(first.id)
    assert tree.undo() is first
    assert [*tree] == [root, first, second, edit] and tree.undo() is None
    with pytest.raises(InputError, match="root"):
        tree.prune(root)


def test_prunings_are_undone_one_by_one(tree: Tree) -> None:
    root, first, second, edit = tree
    tree.prune(second)
    tree.prune(first)
    assert [tree.undo(), tree.undo(), tree.undo()] == [first, second, None]
    assert [*tree] == [root, first, second, edit]


def test_ids_are_not_given_again(tree: Tree) -> None:
    tree.prune(3)
    assert tree.grow(tree.root, 5, guidance_scale=1.0).id == 4


# -- files ----------------------------------------------------------------------------------


def assert_same(one: Trace, other: Trace) -> None:
    """Two records of the same run, of which the other was kept in a file."""
    assert one.settings == other.settings and one.tokens == other.tokens
    assert [image.tobytes() for image in one.images] == [image.tobytes() for image in other.images]
    assert [step.index for step in one.steps] == [step.index for step in other.steps]
    for mine, theirs in zip(one.steps, other.steps, strict=True):
        assert (mine.sigma, mine.sigma_next, mine.draws) == (
            theirs.sigma,
            theirs.sigma_next,
            theirs.draws,
        )
        for name in ("x", "denoised", "x_next", "cond", "uncond"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-2)
        assert (mine.attention is None) == (theirs.attention is None)
        if mine.attention is not None and theirs.attention is not None:
            assert list(mine.attention.cross) == list(theirs.attention.cross)
            for layer, maps in mine.attention.cross.items():
                np.testing.assert_allclose(maps, theirs.attention.cross[layer], atol=1e-2)


def assert_same_tree(one: Tree, other: Tree) -> None:
    def told(node: Node) -> tuple[Any, ...]:
        above = None if node.parent is None else node.parent.id
        said = node.id, above, node.how, node.step, node.name, node.picture
        return (*said, node.changes, node.cost, node.difference)

    assert [*map(told, one)] == [*map(told, other)]
    for mine, theirs in zip(one, other, strict=True):
        assert_same(mine.trace, theirs.trace)


def test_a_tree_that_was_saved_is_the_same(tree: Tree, tmp_path: Path) -> None:
    tree[1].name = "the dog"
    path = tree.save(tmp_path / "cats.sdtree")
    loaded = Tree.load(path)
    assert_same_tree(tree, loaded)
    for node in loaded:
        above = node.trace.parent
        assert (above is None) == (node.parent is None)
        if above is not None and node.parent is not None:
            assert above.trace is node.parent.trace
    again = Tree.load(loaded.save(tmp_path / "again.sdtree"))
    assert_same_tree(loaded, again)
    assert (tmp_path / "again.sdtree").stat().st_size == path.stat().st_size


def test_a_loaded_tree_grows_on(tree: Tree, tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    loaded = Tree.load(tree.save(tmp_path / "cats.sdtree"))
    loaded.prune(3)
    node = loaded.grow(2, 5, model=tiny_model, prompt="the bird")
    assert node.id == 4 and node.path[-2].id == 2
    assert loaded.edit(loaded.root, "cat", "dog", model=tiny_model).how == "edit"
    assert_same_tree(loaded, Tree.load(loaded.save(tmp_path / "more.sdtree")))


def test_shared_steps_are_stored_once(trace: Trace, tmp_path: Path) -> None:
    alone = trace.save(tmp_path / "run.sdtrace").stat().st_size
    tree = Tree(trace)
    for scale in (1.0, 2.0, 4.0, 5.0):
        tree.grow(tree.root, 5, guidance_scale=scale)
    size = tree.save(tmp_path / "cats.sdtree").stat().st_size
    apart = sum(node.trace.save(tmp_path / f"{node.id}.sdtrace").stat().st_size for node in tree)
    assert apart > 4.5 * alone  # each has all six steps
    assert size < alone * (1 + 4 * 0.6)  # but only one of them is its own


def test_branches_of_branches_share_with_all_above(tree: Tree, tmp_path: Path) -> None:
    for step in (3, 4, 5):
        tree.grow(2, 5, sampler="euler_ancestral", seed=step)
    assert_same_tree(tree, Tree.load(tree.save(tmp_path / "cats.sdtree", precision="float16")))


def test_what_runs_were_given_is_stored_once(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    image = picture(16, 16)
    trace = tiny_model.generate("the cat", image=image, strength=0.8, **SETTINGS)
    tree = Tree(trace)
    node = tree.grow(tree.root, 3, guidance_scale=1.0)
    loaded = Tree.load(tree.save(tmp_path / "cats.sdtree"))
    assert_same_tree(tree, loaded)
    given = loaded[node.id].trace.given_image
    assert given is loaded.root.trace.given_image is not None
    assert given.tobytes() == trace.given_image.tobytes()  # type: ignore[union-attr]


def test_every_kind_of_run_is_kept(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    batch = Tree(tiny_model.generate(["the cat", "a bird"], **SETTINGS))
    batch.grow(batch.root, 3, guidance_scale=1.0)
    one = batch.grow(batch.root, 3, picture=1, prompt="a longer prompt of a dog")
    batch.grow(one, 4, exact=True, guidance_scale=1.0)
    batch.edit(batch.root, "bird", "dog", picture=1)
    passes = Tree(tiny_model.generate("the cat", hires=2, **SETTINGS))
    stopped = tiny_model.sample("the cat", **SETTINGS)
    steps = [next(stopped) for _ in range(3)]
    half = Tree(Trace.of(steps, stopped))
    half.grow(half.root, 3, guidance_scale=1.0)
    for number, tree in enumerate((batch, passes, half)):
        loaded = Tree.load(tree.save(tmp_path / f"{number}.sdtree"))
        assert_same_tree(tree, loaded)
        for mine, theirs in zip(tree, loaded, strict=True):
            assert mine.trace.record() == theirs.trace.record()


def test_a_longer_prompt_keeps_the_attention_of_its_parent(trace: Trace, tmp_path: Path) -> None:
    tree = Tree(trace)
    tree.grow(tree.root, 3, prompt="the cat left of a dog and a bird")
    assert_same_tree(tree, Tree.load(tree.save(tmp_path / "cats.sdtree")))


def test_no_path_of_the_machine_is_in_the_file(tree: Tree, tmp_path: Path) -> None:
    content = tree.save(tmp_path / "cats.sdtree").read_bytes()
    assert str(tmp_path).encode() not in content and str(Path.home()).encode() not in content


def test_files_are_private(tree: Tree, tmp_path: Path) -> None:
    assert tree.save(tmp_path / "cats.sdtree").stat().st_mode & 0o077 == 0


# -- files that are not trusted ---------------------------------------------------------------


def test_a_changed_file_is_refused(tree: Tree, tmp_path: Path) -> None:
    path = tree.save(tmp_path / "cats.sdtree")
    content = path.read_bytes()
    dice = random.Random(0)
    for place in [*dice.sample(range(len(content)), 60), *range(0, 400, 23)]:
        wrong = bytearray(content)
        wrong[place] ^= dice.randrange(1, 256)
        path.write_bytes(wrong)
        with pytest.raises(InputError) as caught:
            Tree.load(path)
        assert len(str(caught.value).splitlines()) <= 3
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="is cut"):
        Tree.load(path)
    path.write_bytes(content)
    assert len(Tree.load(path)) == 4


def test_other_files_are_named(tree: Tree, trace: Trace, tmp_path: Path) -> None:
    path = tree.save(tmp_path / "cats.sdtree")
    run = trace.save(tmp_path / "run.sdtrace")
    with pytest.raises(InputError, match=r"is a recording \(Trace\.load reads it\), not a tree"):
        Tree.load(run)
    with pytest.raises(InputError, match=r"is a tree of runs \(Tree\.load reads it\), not a rec"):
        Trace.load(path)
    image = trace.save_image(tmp_path / "cat.png")
    with pytest.raises(InputError, match="not a tree of runs"):
        Tree.load(image)
    with pytest.raises(InputError, match="cannot be read"):
        Tree.load(tmp_path / "none.sdtree")


def test_opening_needs_no_torch(tree: Tree, tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tree.save(tmp_path / "cats.sdtree")
    code = (
        "import sys, sdwidgets as sdw; tree = sdw.Tree.load(sys.argv[1]);"
        "print(len(tree), [node.changes for node in tree][1], 'torch' in sys.modules,"
        " 'ipywidgets' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "cat", "→", "dog", "False", "False"]


def test_the_public_name() -> None:
    assert sdw.Tree is Tree
