"""The build of the front end: when it happens, of what, and what JupyterLab then finds."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import EXTENSION, ROOT, built, files, load, small_checkout, write_package

from sdwidgets import __version__

pytestmark = pytest.mark.slow

JS = ROOT / "js"


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    return load(ROOT)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the build hook of a small tree with one entry, built already; npm fails in it."""
    root = tmp_path / "tree"
    made = ("sdwidgets/widgets/static/picture.js", "sdwidgets/widgets/static/picture.css")
    extension = ("sdwidgets/labextension/package.json", "sdwidgets/labextension/static/entry.js")
    sources = ("build.mjs", "package.json", "package-lock.json", "src/lib/a.ts", "src/picture.ts")
    lab = (
        "package.json",
        "package-lock.json",
        "rspack.config.cjs",
        "src/index.ts",
        "schema/a.json",
    )
    for name in (
        *made,
        *extension,
        *(f"js/{name}" for name in sources),
        *(f"js/lab/{name}" for name in lab),
        "notebooks/01.ipynb",
        "sdwidgets/contract.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "js" / "contract.py").write_text("def write(): pass\n")
    write_package(root / "sdwidgets" / "labextension", "static/entry.js")
    shutil.copy(ROOT / "hatch_build.py", root)
    hook = load(root)
    monkeypatch.setattr(hook, "install_packages", lambda *_, **__: None)
    build_without_npm(hook)
    monkeypatch.setattr(hook, "npm", lambda *_, **__: pytest.fail("npm was called"))
    return hook


def build_without_npm(hook: ModuleType) -> None:
    """Have the hook believe that it has built what is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hook, "npm", lambda *_, **__: None)
        assert hook.build()


def current(hook: ModuleType) -> set[str]:
    return {name for name in hook.PARTS if hook.is_current(name)}


def test_what_was_made_of_these_sources_is_not_built_again(tree: ModuleType) -> None:
    for path in tree.ROOT.rglob("*"):  # as in a copy, where times say nothing
        os.utime(path, (1, 1) if "static" in path.parts else (2, 2))
    assert not tree.build()


@pytest.mark.parametrize(
    ("path", "built_again"),
    [
        ("js/src/lib/a.ts", "both"),
        ("js/src/lib/new.ts", "both"),
        ("sdwidgets/contract.py", "both"),
        ("js/package-lock.json", "both"),
        ("js/lab/src/index.ts", "labextension"),
        ("js/lab/schema/a.json", "labextension"),
        ("js/lab/package.json", "labextension"),
        ("notebooks/01.ipynb", "labextension"),
        ("js/src/picture.test.ts", "neither"),
        ("js/lab/src/panel.test.ts", "neither"),
    ],
)
def test_a_changed_source_makes_old_what_is_made_of_it(
    tree: ModuleType, path: str, built_again: str
) -> None:
    (tree.ROOT / path).write_text("changed")
    old = {"both": set(tree.PARTS), "neither": set()}.get(built_again, {built_again})
    assert current(tree) == set(tree.PARTS) - old


@pytest.mark.parametrize("path", ["js/src/lib/a.ts", "js/lab/schema/a.json"])
def test_a_deleted_source_makes_old_what_was_made_of_it(tree: ModuleType, path: str) -> None:
    (tree.ROOT / path).unlink()
    assert "labextension" not in current(tree)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("widgets/static/picture.js", "bundles"),
        ("widgets/static/picture.css", "bundles"),
        ("labextension/package.json", "labextension"),
        ("labextension/static/entry.js", "labextension"),
    ],
)
def test_what_is_missing_is_built(tree: ModuleType, path: str, part: str) -> None:
    (tree.ROOT / "sdwidgets" / path).unlink()
    assert current(tree) == set(tree.PARTS) - {part}


def test_an_interrupted_build_is_done_again(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree.ROOT / "js" / "src" / "lib" / "a.ts"
    before = source.read_text()
    source.write_text("changed")

    def interrupted(*_: str, **__: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "npm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tree.build()
    source.write_text(before)  # what is there may be made of this or that
    assert "bundles" not in current(tree)


def test_a_source_that_changes_during_a_build_is_built_again(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree.ROOT / "js" / "src" / "lib" / "a.ts"
    source.write_text("first")
    monkeypatch.setattr(tree, "npm", lambda *_, **__: source.write_text("second"))
    assert tree.build()
    assert "bundles" not in current(tree)


def test_a_build_that_makes_nothing_fails(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "npm", lambda *_, **__: None)
    (tree.LABEXTENSION / "static" / "entry.js").unlink()
    with pytest.raises(RuntimeError, match="labextension"):
        tree.build()


def test_the_bundle_of_an_entry_that_is_no_more_goes(tree: ModuleType) -> None:
    (tree.STATIC / "old.js").touch()
    build_without_npm(tree)
    assert {path.name for path in tree.STATIC.iterdir()} == {"picture.js", "picture.css"}


def test_node_comes_as_a_wheel_only_where_it_is_needed(
    tree: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "find_npm", lambda: None)
    hook = object.__new__(tree.FrontEnd)
    assert hook.dependencies() == []
    (tree.JS / "src" / "picture.ts").write_text("changed")
    assert hook.dependencies() == [tree.NODE_WHEEL]
    monkeypatch.setattr(tree, "find_npm", lambda: ("/usr/bin", ["npm"]))
    assert hook.dependencies() == []


@pytest.mark.parametrize(
    ("installed", "asked", "command"),
    [
        ((), False, ["ci", "--omit=dev"]),
        ((), True, ["ci"]),
        (("builds",), False, None),
        (("builds",), True, ["ci"]),
        (("tests",), False, ["ci"]),  # where the packages of the tests are installed, they stay
        (("builds", "tests"), True, None),
    ],
)
def test_packages_are_installed_as_they_are_needed(
    hatch_build: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: tuple[str, ...],
    asked: bool,
    command: list[str] | None,
) -> None:
    package = {"dependencies": {"builds": "1"}, "devDependencies": {"tests": "1"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").touch()
    for name in installed:
        (tmp_path / "node_modules" / name).mkdir(parents=True)
    if installed:
        (tmp_path / "node_modules" / ".package-lock.json").touch()
    called: list[list[str]] = []
    monkeypatch.setattr(hatch_build, "npm", lambda *words, folder: called.append([*words]))
    hatch_build.install_packages(tmp_path, everything=asked)
    assert called == ([] if command is None else [command])


def test_an_sdist_holds_what_a_wheel_is_made_of_and_needs_no_node(
    tree: ModuleType, tmp_path: Path
) -> None:
    small_checkout(tree.ROOT)
    for name in ("viewer.js", "viewer.css"):
        (tree.STATIC / name).touch()
    (tree.JS / "src" / "viewer.ts").touch()
    build_without_npm(tree)
    for package in (tree.JS / "node_modules" / "a", tree.LAB / "node_modules" / "b"):
        package.mkdir(parents=True)
        (package / "index.js").touch()
    file = built(tree.ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(file) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
        sdist.extractall(tmp_path, filter="data")
    wanted = {f"sdwidgets/{name}" for name in ("widgets/static/viewer.js", *EXTENSION)}
    assert wanted | {"install.json", "hatch_build.py", "js/lab/src/index.ts"} <= held
    assert not [name for name in held if "node_modules" in name]
    unpacked = load(tmp_path / file.name.removesuffix(".tar.gz"))
    assert current(unpacked) == set(unpacked.PARTS)


@pytest.fixture
def in_place(tree: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return JupyterLab's copy of the extension, as pip leaves it after an editable install."""
    site, copy = tmp_path / "lib" / "site-packages", tmp_path / "share" / "labextensions"
    information = site / f"sdwidgets-{__version__}.dist-info"
    information.mkdir(parents=True)
    record = ["../../share/labextensions/sdwidgets/package.json,,", "sdwidgets.pth,,"]
    record += [
        "../../share/labextensions/sdwidgets/static/old.js,,",
        f"{information.name}/RECORD,,",
    ]
    (information / "RECORD").write_text("\n".join(record))
    (information / "METADATA").write_text(f"Name: sdwidgets\nVersion: {__version__}\n")
    origin = {"url": tree.ROOT.as_uri(), "dir_info": {"editable": True}}
    (information / "direct_url.json").write_text(json.dumps(origin))
    (copy / "sdwidgets" / "static").mkdir(parents=True)
    (copy / "sdwidgets" / "static" / "old.js").touch()
    # Some versions of importlib's metadata list only the files that are there.
    for file in (copy / "sdwidgets" / "package.json", site / "sdwidgets.pth"):
        file.touch()
    monkeypatch.syspath_prepend(site)
    (tree.ROOT / "install.json").touch()
    return copy / "sdwidgets"


def test_jupyterlab_finds_what_was_built_after_an_editable_install(
    tree: ModuleType, in_place: Path
) -> None:
    for _ in range(2):
        tree.refresh_installed()
        assert files(in_place) == {"install.json", "package.json", "static/entry.js"}
        listed = {file.name for file in metadata.distribution("sdwidgets").files or ()}
        assert listed == {"install.json", "package.json", "entry.js", "sdwidgets.pth", "RECORD"}


@pytest.mark.parametrize(
    "origin",
    [
        None,  # from an index
        {"url": "file:///another/checkout", "dir_info": {"editable": True}},
        {"url": "here", "dir_info": {}},  # pip install .
        {"url": "https://example.org/sdwidgets.whl", "archive_info": {}},
    ],
)
def test_what_is_installed_from_elsewhere_stays(
    tree: ModuleType, in_place: Path, origin: dict[str, str] | None
) -> None:
    (file,) = in_place.parents[2].rglob("direct_url.json")
    file.unlink()
    if origin is not None:
        file.write_text(json.dumps(origin).replace("here", tree.ROOT.as_uri()))
    tree.refresh_installed()
    assert files(in_place) == {"package.json", "static/old.js"}


def test_a_link_to_the_extension_stays(tree: ModuleType, in_place: Path) -> None:
    shutil.rmtree(in_place)
    in_place.symlink_to(tree.LABEXTENSION, target_is_directory=True)
    tree.refresh_installed()
    assert in_place.is_symlink()
    assert files(tree.LABEXTENSION) == {"package.json", "static/entry.js"}


def test_a_build_needs_none_of_the_packages_of_the_tests(
    hatch_build: ModuleType, tmp_path: Path
) -> None:
    """As after ``npm ci --omit=dev``, which is what an installation from a clone does."""
    if hatch_build.find_npm() is None or not (JS / "node_modules" / "vitest").is_dir():
        pytest.skip("needs Node and the front end's packages: make test installs both")
    kept = ("js", "notebooks", "sdwidgets/contract.py", "hatch_build.py")
    for name in kept:
        (copy := tmp_path / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, copy, ignore=shutil.ignore_patterns("node_modules", "built.json")
            )
        else:
            shutil.copy(ROOT / name, copy)
    for folder in ("js", "js/lab"):
        link_packages(ROOT / folder, tmp_path / folder)
    hook = load(tmp_path)
    hook.install_packages = lambda *_, **__: None
    assert hook.build()
    assert files(hook.STATIC) == {path.name for path in hatch_build.bundles()}
    bundled = json.loads((hook.LABEXTENSION / "static" / "third-party-licenses.json").read_text())
    assert {package["name"] for package in bundled["packages"]} == {"css-loader", "style-loader"}


def link_packages(source: Path, target: Path) -> None:
    """Link what ``npm ci --omit=dev`` would install."""
    locked = json.loads((source / "package-lock.json").read_text())["packages"]
    for name, package in locked.items():
        if name.startswith("node_modules/") and not package.get("dev"):
            (link := target / name).parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir() and "/node_modules/" not in name:
                link.symlink_to(source / name, target_is_directory=True)
