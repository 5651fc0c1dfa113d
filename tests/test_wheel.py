"""The content of a built wheel; the front end is built when needed, and only then."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from sdwidgets import __version__
from sdwidgets.cli import LESSONS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    """Return the build hook, which is not in a package."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the names of the files in a wheel of this checkout."""
    return zipfile.ZipFile(built(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))).namelist()


def test_a_wheel_holds_every_bundle(wheel: list[str], hatch_build: ModuleType) -> None:
    wanted = {path.relative_to(ROOT).as_posix() for path in hatch_build.bundles()}
    assert wanted <= set(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "sdwidgets/py.typed",
        "sdwidgets/weights/emoji/model_index.json",
        "sdwidgets/weights/emoji/unet/diffusion_pytorch_model.safetensors",
        "sdwidgets/weights/emoji/vae/diffusion_pytorch_model.safetensors",
        "sdwidgets/weights/emoji/text_encoder/model.safetensors",
        "sdwidgets/weights/emoji/tokenizer/vocab.json",
        "sdwidgets/weights/samples/samples.json",
        "sdwidgets/weights/samples/frogs.png",
        *(f"sdwidgets/notebooks/{name}" for name in LESSONS),
    ],
)
def test_a_wheel_holds_what_the_demo_needs(wheel: list[str], name: str) -> None:
    assert name in wheel


def test_a_wheel_holds_the_licence_and_no_sources_of_the_front_end(wheel: list[str]) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert any(name.endswith("licenses/NOTICE") for name in wheel)
    assert not [name for name in wheel if "node_modules" in name or name.endswith(".ts")]


def built(root: Path, target: str, folder: Path) -> Path:
    """Return the wheel or sdist of a checkout."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small built checkout, with a JupyterLab extension of two files."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "hatch_build.py", "install.json", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, root)
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for name in ("__init__.py", "widgets/static/viewer.js", *EXTENSION):
        (root / "sdwidgets" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sdwidgets" / name).touch()
    return root


EXTENSION = ("labextension/package.json", "labextension/static/remoteEntry.js")
INSTALLED = f"sdwidgets-{__version__}.data/data/share/jupyter/labextensions/sdwidgets"


def test_a_wheel_puts_the_extension_where_jupyterlab_looks(checkout: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(built(checkout, "wheel", tmp_path)).namelist()
    files = {name.removeprefix(f"{INSTALLED}/") for name in names if name.startswith(INSTALLED)}
    assert files == {"install.json", "package.json", "static/remoteEntry.js"}
    assert not [name for name in names if name.startswith("sdwidgets/labextension")]
    assert "sdwidgets/widgets/static/viewer.js" in names


def test_an_sdist_holds_what_a_wheel_is_made_of(checkout: Path, tmp_path: Path) -> None:
    with tarfile.open(built(checkout, "sdist", tmp_path)) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {f"sdwidgets/{name}" for name in ("widgets/static/viewer.js", *EXTENSION)}
    assert wanted | {"install.json", "hatch_build.py"} <= held


def test_a_wheel_without_an_extension_is_none_to_jupyterlab(wheel: list[str]) -> None:
    if (ROOT / "sdwidgets" / "labextension").exists():
        pytest.skip("this checkout has built its extension")
    assert not [name for name in wheel if "labextension" in name or "install.json" in name]


def test_the_bundles_are_those_that_python_asks_for(hatch_build: ModuleType) -> None:
    asked = {
        name
        for path in (ROOT / "sdwidgets").rglob("*.py")
        for name in re.findall(r'\b(?:bundle|Code)\("(.+?)"\)', path.read_text("utf-8"))
    }
    assert asked == {path.name for path in hatch_build.bundles()}


@pytest.fixture
def tree(hatch_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small js/ folder with a single entry, built after its sources were written."""
    js, static = tmp_path / "js", tmp_path / "static"
    sources = ("build.mjs", "package.json", "package-lock.json", "src/lib/a.ts", "src/picture.ts")
    paths = [tmp_path / "contract.py", *(js / source for source in sources)]
    paths += [static / "picture.js", static / "picture.css"]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (number + 1, number + 1))
    monkeypatch.setattr(hatch_build, "JS", js)
    monkeypatch.setattr(hatch_build, "STATIC", static)
    monkeypatch.setattr(hatch_build, "CONTRACT", paths[0])
    extension = tmp_path / "labextension" / "package.json"
    extension.parent.mkdir()
    extension.touch()
    monkeypatch.setattr(hatch_build, "LAB", js / "lab")
    monkeypatch.setattr(hatch_build, "LABEXTENSION", extension.parent)
    return tmp_path


def test_bundles_newer_than_their_sources_are_not_built_again(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hatch_build, "npm", lambda *_, **__: pytest.fail("npm was called"))
    assert not hatch_build.build()


@pytest.mark.parametrize("path", ["js/src/lib/a.ts", "js/package-lock.json", "contract.py"])
def test_a_changed_source_makes_bundles_old(hatch_build: ModuleType, tree: Path, path: str) -> None:
    assert hatch_build.is_current()
    (tree / path).touch()
    assert not hatch_build.is_current()


def test_a_test_of_the_front_end_makes_no_bundle_old(hatch_build: ModuleType, tree: Path) -> None:
    (tree / "js" / "src" / "picture.test.ts").touch()
    assert hatch_build.is_current()


@pytest.mark.parametrize("name", ["picture.js", "picture.css"])
def test_a_missing_bundle_is_built(hatch_build: ModuleType, tree: Path, name: str) -> None:
    (tree / "static" / name).unlink()
    assert not hatch_build.is_current()


def test_the_bundle_of_an_entry_that_is_no_more_goes(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "static" / "old.js").touch()
    (tree / "js" / "contract.py").write_text("def write(): pass\n")
    monkeypatch.setattr(hatch_build, "npm", lambda *_, **__: None)
    assert hatch_build.build()
    assert {path.name for path in (tree / "static").iterdir()} == {"picture.js", "picture.css"}


def test_node_comes_as_a_wheel_only_where_it_is_needed(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hatch_build, "find_npm", lambda: None)
    hook = object.__new__(hatch_build.FrontEnd)
    assert hook.dependencies() == []
    (tree / "js" / "src" / "picture.ts").touch()
    assert hook.dependencies() == [hatch_build.NODE_WHEEL]
    monkeypatch.setattr(hatch_build, "find_npm", lambda: ("/usr/bin", ["npm"]))
    assert hook.dependencies() == []
