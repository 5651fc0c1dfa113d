"""The content of a built wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import EXTENSION, ROOT, built, files, hatchling, load, small_checkout

from sdwidgets import __version__
from sdwidgets.cli import LESSONS

pytestmark = pytest.mark.slow

INSTALLED = f"sdwidgets-{__version__}.data/data/share/jupyter/labextensions/sdwidgets"


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    return load(ROOT)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkout(tmp_path_factory.mktemp("checkout"))


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
        "sdwidgets/weights/clip/merges.txt.gz",
        "sdwidgets/weights/bert/vocab.txt.gz",
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


def test_a_wheel_puts_the_whole_extension_where_jupyterlab_looks(wheel: list[str]) -> None:
    made = files(ROOT / "sdwidgets" / "labextension")
    held = {name.removeprefix(f"{INSTALLED}/") for name in wheel if name.startswith(INSTALLED)}
    assert held == made | {"install.json"}
    assert not [name for name in wheel if name.startswith("sdwidgets/labextension")]


def test_a_server_has_nothing_to_load(wheel: list[str]) -> None:
    """So a JupyterHub needs no restart: a reloaded page has the extension."""
    import sdwidgets

    assert not [name for name in wheel if "/etc/" in name or "server_config" in name]
    assert not hasattr(sdwidgets, "_jupyter_server_extension_points")


def test_jupyterlab_can_say_how_the_extension_is_removed() -> None:
    told = json.loads((ROOT / "install.json").read_text())
    assert told.keys() == {"packageManager", "packageName", "uninstallInstructions"}
    assert (told["packageManager"], told["packageName"]) == ("python", "sdwidgets")
    assert "pip" in told["uninstallInstructions"]


@pytest.mark.parametrize("folder", ["js", "js/lab"])
def test_there_is_one_version(folder: str) -> None:
    locked = json.loads((ROOT / folder / "package-lock.json").read_text())
    assert json.loads((ROOT / folder / "package.json").read_text())["version"] == __version__
    assert locked["version"] == locked["packages"][""]["version"] == __version__


def test_the_extension_says_whose_code_it_holds(hatch_build: ModuleType) -> None:
    """Licences that ask for no more than their text, which is beside the code."""
    file = hatch_build.LABEXTENSION / "static" / "third-party-licenses.json"
    notice = (ROOT / "NOTICE").read_text()
    for package in json.loads(file.read_text())["packages"]:
        assert package["name"] in notice
        assert package["licenseId"] in {"MIT", "BSD-3-Clause", "Apache-2.0", "ISC"}, package["name"]
        assert "copyright" in package["extractedText"].lower(), package["name"]


# What hatchling asks of the package that pip fetches for it: a path for a .pth file.
EDITABLES = """
class EditableProject:
    def __init__(self, name, root): pass
    def add_to_path(self, folder): pass
    def files(self): return []
    def dependencies(self): return []
"""


def test_an_editable_install_holds_the_extension_too(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "editables.py").write_text(EDITABLES)
    code = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    command, environment = [sys.executable, "-c", code, tmp_path], {"PYTHONPATH": str(tmp_path)}
    subprocess.run(command, cwd=checkout, env=os.environ | environment, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name.removeprefix(f"{INSTALLED}/") for name in zipfile.ZipFile(wheel).namelist()}
    assert {"install.json", "package.json", "static/remoteEntry.js"} <= held


@pytest.mark.parametrize("missing", ["widgets/static/viewer.js", *EXTENSION])
def test_no_wheel_is_made_without_its_front_end(
    checkout: Path, tmp_path: Path, missing: str
) -> None:
    root = shutil.copytree(checkout, tmp_path / "checkout")
    (root / "sdwidgets" / missing).unlink()
    done = hatchling(root, "wheel", tmp_path / "wheel")
    assert done.returncode != 0
    assert "js/, are missing" in done.stdout + done.stderr
    assert not [*(tmp_path / "wheel").glob("*.whl")]


def test_the_bundles_are_those_that_python_asks_for(hatch_build: ModuleType) -> None:
    asked = {
        name
        for path in (ROOT / "sdwidgets").rglob("*.py")
        for name in re.findall(r'\b(?:bundle|Code)\("(.+?)"\)', path.read_text("utf-8"))
    }
    assert asked == {path.name for path in hatch_build.bundles()}
