"""What is in a built wheel, and that the front end is built when it must be, and only then."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from sdwidgets.cli import LESSONS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    """The build hook, which no package holds."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a wheel of this checkout."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file).namelist()


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


def test_the_bundles_are_those_that_python_asks_for(hatch_build: ModuleType) -> None:
    asked = {
        name
        for path in (ROOT / "sdwidgets").rglob("*.py")
        for name in re.findall(r'bundle\("(.+?)"\)', path.read_text("utf-8"))
    }
    assert asked == {path.name for path in hatch_build.bundles()}


@pytest.fixture
def tree(hatch_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small js/ folder with one entry, built after its sources were written."""
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
    return tmp_path


def test_bundles_newer_than_their_sources_are_not_built_again(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hatch_build, "npm", lambda *_: pytest.fail("npm was called"))
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
    monkeypatch.setattr(hatch_build, "npm", lambda *_: None)
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
