"""Small checkouts of the package, and what hatchling makes of them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import dev_checks

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


class Environment:
    """A clean environment with JupyterLab, in which packages come and go.

    What it has not itself, it takes from that of the tests, where pip changes nothing.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "venv"
        assert dev_checks.make_venv(self.folder, "--without-pip")
        self.python = dev_checks.python_of(self.folder)
        dev_checks.see_all_else(self.python)
        own = {name: str(folder / name) for name in ("config", "data", "runtime")}
        self._variables = {f"JUPYTER_{name.upper()}_DIR": path for name, path in own.items()}
        self._variables["IPYTHONDIR"] = str(folder / "ipython")

    def pip(self, *arguments: str | Path) -> None:
        self._run("pip", *arguments, "--quiet", "--disable-pip-version-check")

    def install(self, wheel: Path) -> None:
        # forced, for pip sees the version of the tests' environment, which it leaves alone
        self.pip("install", "--no-deps", "--no-index", "--force-reinstall", wheel)

    def labextension(self, *arguments: str) -> str:
        """Return what ``jupyter labextension`` says, without its colours."""
        said = self._run("jupyterlab.labextensions", *arguments)
        return re.sub(r"\x1b\[\d*m", "", said)

    def _run(self, module: str, *arguments: str | Path) -> str:
        variables = {**os.environ, **self._variables}
        for name in ("JUPYTER_PATH", "PYTHONPATH"):
            variables.pop(name, None)
        command = [self.python, "-m", module, *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
