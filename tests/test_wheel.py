"""What is in a built wheel, and that the front end is built when it must be, and only then."""

from __future__ import annotations

import importlib.util
import os
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
    wanted = {path.relative_to(ROOT).as_posix() for path in hatch_build.BUNDLES}
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


def test_every_entry_of_the_front_end_is_a_bundle(hatch_build: ModuleType) -> None:
    entries = (ROOT / "js" / "build.mjs").read_text().split("entryPoints: [")[1].split("]")[0]
    names = [name.strip(" \"'") for name in entries.split(",")]
    assert {bundle.stem for bundle in hatch_build.BUNDLES} == set(names)


@pytest.fixture
def tree(hatch_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small js/ folder with one bundle, built after its sources were written."""
    bundle, js = tmp_path / "static" / "picture.js", tmp_path / "js"
    sources = ("build.mjs", "package.json", "package-lock.json", "src/a.ts")
    for number, path in enumerate([*(js / source for source in sources), bundle]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (number + 1, number + 1))
    monkeypatch.setattr(hatch_build, "JS", js)
    monkeypatch.setattr(hatch_build, "BUNDLES", [bundle])
    return tmp_path


def test_bundles_newer_than_their_sources_are_not_built_again(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hatch_build, "npm", lambda *_: pytest.fail("npm was called"))
    assert not hatch_build.build()


def test_a_changed_source_a_missing_bundle_and_no_test_make_them_old(
    hatch_build: ModuleType, tree: Path
) -> None:
    assert hatch_build.is_current()
    (tree / "js" / "src" / "a.test.ts").touch()
    assert hatch_build.is_current()
    (tree / "js" / "src" / "a.ts").touch()
    assert not hatch_build.is_current()
    (tree / "static" / "picture.js").unlink()
    assert not hatch_build.is_current()


def test_node_comes_as_a_wheel_only_where_it_is_needed(
    hatch_build: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hatch_build, "find_npm", lambda: None)
    hook = object.__new__(hatch_build.FrontEnd)
    assert hook.dependencies() == []
    (tree / "js" / "src" / "a.ts").touch()
    assert hook.dependencies() == [hatch_build.NODE_WHEEL]
    monkeypatch.setattr(hatch_build, "find_npm", lambda: ("/usr/bin", ["npm"]))
    assert hook.dependencies() == []
