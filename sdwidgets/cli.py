"""The command ``sdwidgets``: ``sdwidgets demo`` opens the first lesson in JupyterLab."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LESSON = "01_first_picture.ipynb"


def lesson() -> Path:
    """The path of the first lesson: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / LESSON).is_file():
            return folder / LESSON
    raise FileNotFoundError(f"The lesson {LESSON} is not part of this installation of sdwidgets.")


def execute(notebook: Path) -> tuple[Path, Path | None]:
    """Execute ``notebook`` in place; leaves its HTML and its last picture beside it.

    Returns the paths of the HTML and of the picture (None where no cell showed one). An error in
    a cell raises ``nbclient.exceptions.CellExecutionError``.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        content,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # its warnings are not about the lesson
        resources={"metadata": {"path": str(notebook.parent)}},
    )
    try:
        client.execute()
    finally:  # a failed cell is easier to understand in the notebook
        nbformat.write(content, notebook)

    page, _ = HTMLExporter().from_notebook_node(content)
    html = notebook.with_suffix(".html")
    html.write_text(page, encoding="utf-8")

    pictures = [
        output["data"]["image/png"]
        for cell in content.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    ]
    if not pictures:
        return html, None
    picture = notebook.with_suffix(".png")
    picture.write_bytes(base64.b64decode(pictures[-1]))
    return html, picture


def set_aside_if_edited(notebook: Path) -> Path | None:
    """Give a notebook whose cells are not the lesson's another name; returns that, if it did."""
    try:
        same = _sources(notebook) == _sources(lesson())
    except (ValueError, KeyError, TypeError):  # no notebook any more, but somebody's file
        same = False
    if same:
        return None
    numbers = itertools.count(1)
    free = (notebook.with_stem(f"{notebook.stem}_{n}") for n in numbers)
    return notebook.rename(next(path for path in free if not path.exists()))


def _sources(notebook: Path) -> list[str]:
    """The text of every cell; a list of lines counts as the text they make."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells]


def demo(out: Path, *, run: bool, terminal: bool) -> int:
    """Copy the first lesson to ``out``; execute it if ``run``; open it if at a ``terminal``."""
    # The kernel must be this environment's, whatever else is installed for the user.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    out.mkdir(parents=True, exist_ok=True)
    notebook = out / LESSON
    if notebook.exists() and run and (kept := set_aside_if_edited(notebook)):
        print(f"Your edited {LESSON} is kept as {kept}.", flush=True)
    if run or not notebook.exists():
        shutil.copyfile(lesson(), notebook)

    if run:
        print(f"Executing {LESSON} on the bundled model, on this machine alone ...", flush=True)
        started = time.perf_counter()
        html, picture = execute(notebook)
        print(f"Done in {time.perf_counter() - started:.0f} s:")
        for name, path in (("notebook", notebook), ("page", html), ("picture", picture)):
            if path is not None:
                print(f"  {name:9} {path}")

    if not terminal:
        return 0
    print(f"Opening {notebook} in JupyterLab; Ctrl-C twice ends it.", flush=True)
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(notebook)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sdwidgets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    about = "open the first lesson in JupyterLab; without a terminal, execute it instead"
    command = commands.add_parser("demo", help=about, description=about)
    command.add_argument("--out", type=Path, default=Path("sdwidgets-demo"), help="where to put it")
    command.add_argument("--execute", action="store_true", help="execute it before opening it")
    options = parser.parse_args(arguments)

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return demo(options.out, run=options.execute or not terminal, terminal=terminal)


if __name__ == "__main__":
    sys.exit(main())
