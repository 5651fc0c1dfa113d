"""Small checkouts of the package, and what hatchling makes of them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ("labextension/package.json", "labextension/static/remoteEntry.js")


def load(root: Path) -> ModuleType:
    """Return the build hook of a tree; it is not in a package."""
    spec = importlib.util.spec_from_file_location("hatch_build", root / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_package(extension: Path, entry: str) -> None:
    """Write what the builder of extensions writes last."""
    package = {"jupyterlab": {"_build": {"load": entry}}}
    (extension / "package.json").write_text(json.dumps(package))


def small_checkout(root: Path) -> Path:
    """Make a built checkout without js/, with a JupyterLab extension of two files; return it."""
    for name in ("pyproject.toml", "hatch_build.py", "install.json", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, root)
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "notebooks", root / "notebooks", dirs_exist_ok=True)
    for name in ("__init__.py", "widgets/static/viewer.js", *EXTENSION):
        (root / "sdwidgets" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sdwidgets" / name).touch()
    write_package(root / "sdwidgets" / "labextension", "static/remoteEntry.js")
    return root


def hatchling(root: Path, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a checkout, as a wheel or sdist."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)


def built(root: Path, target: str, folder: Path) -> Path:
    """Return the wheel or sdist of a checkout."""
    done = hatchling(root, target, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.iterdir()
    return file
