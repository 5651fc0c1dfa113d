"""The command ``sdwidgets``.

``sdwidgets demo`` opens the lessons in JupyterLab, ``sdwidgets inspect FILE...`` says what files
are, and ``sdwidgets convert FILE --out NEW.safetensors`` makes safetensors files of others.
"""

from __future__ import annotations

import argparse
import base64
import copy
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LESSONS = (
    "01_first_picture.ipynb",
    "02_denoising.ipynb",
    "03_cross_attention.ipynb",
    "04_autoencoder.ipynb",
    "05_train_your_own.ipynb",
    "06_change_a_run.ipynb",
    "07_one_idea_many_systems.ipynb",
)
EXECUTED = tuple(name for name in LESSONS if name != "05_train_your_own.ipynb")
"""The lessons that are executed beforehand; the other one trains for minutes, to be watched."""


def lesson(name: str = LESSONS[0]) -> Path:
    """The path of a lesson, inside the installed package or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"The lesson {name} is not part of this installation of sdwidgets.")


def execute(notebook: Path) -> tuple[Path, Path | None]:
    """Execute ``notebook`` in place, and write its HTML and its last image beside it.

    Returns the paths of the HTML and of the image, None if no cell showed an image. An error in a
    cell raises ``nbclient.exceptions.CellExecutionError``.
    """
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        content,
        timeout=600,
        kernel_name="python3",
        extra_arguments=[
            "--IPKernelApp.log_level=40"
        ],  # hides warnings that are not about the lesson
        resources={"metadata": {"path": str(notebook.parent)}},
    )
    try:
        client.execute()
    finally:  # a failed cell is easier to understand in the notebook
        nbformat.write(content, notebook)
        sign(notebook)

    html = notebook.with_suffix(".html")
    html.write_text(_page(content), encoding="utf-8")

    images = [
        output["data"]["image/png"]
        for cell in content.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    ]
    if not images:
        return html, None
    image = notebook.with_suffix(".png")
    image.write_bytes(base64.b64decode(images[-1]))
    return html, image


def sign(notebook: Path) -> bool:
    """Sign a notebook with the user's own key, as ``jupyter trust`` does; return whether it worked.

    JupyterLab shows widgets only in trusted notebooks, and trusts by itself only those that it
    executed. The user executed this one, too, though outside of JupyterLab.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    try:
        NotebookNotary().sign(nbformat.read(notebook, as_version=4))
    except Exception as error:  # no folder to write to, no database
        print(
            f"{notebook.name} cannot be signed: {error}\nTrust it in JupyterLab to see widgets.",
            flush=True,
        )
        return False
    return True


def _page(content: Any) -> str:
    """The HTML of an executed notebook, with a still image in place of each widget that left one.

    The widgets themselves would need scripts that nbconvert's pages fetch from the network.
    """
    from nbconvert import HTMLExporter

    content = copy.deepcopy(content)
    for cell in content.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    page, _ = HTMLExporter().from_notebook_node(content)
    return page


def set_aside_if_edited(notebook: Path) -> Path | None:
    """Rename a notebook whose cells differ from its lesson's; return the new path, if any."""
    try:
        same = _sources(notebook) == _sources(lesson(notebook.name))
    except (ValueError, KeyError, TypeError):  # no longer a notebook, but somebody's file
        same = False
    if same:
        return None
    numbers = itertools.count(1)
    free = (notebook.with_stem(f"{notebook.stem}_{n}") for n in numbers)
    return notebook.rename(next(path for path in free if not path.exists()))


def _sources(notebook: Path) -> list[str]:
    """The text of every cell; lists of lines are joined."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells]


def demo(out: Path, *, run: bool, terminal: bool) -> int:
    """Copy the lessons to ``out``, execute them if ``run``, open the first if ``terminal``.

    Before it is opened, only the first is executed: its images are soon there.
    """
    # The kernel must be this environment's, even if the user has others installed.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    out.mkdir(parents=True, exist_ok=True)
    notebooks = [out / name for name in LESSONS]
    for notebook in notebooks:
        if notebook.exists() and run and (kept := set_aside_if_edited(notebook)):
            print(f"Your edited {notebook.name} is kept as {kept}.", flush=True)
        if run or not notebook.exists():
            shutil.copyfile(lesson(notebook.name), notebook)

    if run:
        print("Executing the lessons on the bundled model, on this machine alone ...", flush=True)
        for name in EXECUTED[:1] if terminal else EXECUTED:  # a person waits for the first alone
            _executed(out / name)

    if not terminal:
        return 0
    print(f"Opening {notebooks[0]} in JupyterLab; Ctrl-C twice ends it.", flush=True)
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(notebooks[0])])


def _executed(notebook: Path) -> None:
    """Execute a lesson and print which files it wrote."""
    started = time.perf_counter()
    html, image = execute(notebook)
    print(f"{notebook.name}, {time.perf_counter() - started:.0f} s:")
    for name, path in (("notebook", notebook), ("page", html), ("image", image)):
        if path is not None:
            print(f"  {name:9} {path}", flush=True)


def inspect(paths: Sequence[str], *, as_json: bool) -> int:
    """Print what each file or folder is; return 1 if one of them cannot be read, else 0."""
    from .checkpoints import inspect as described
    from .errors import SDWidgetsError

    found: list[dict[str, Any]] = []
    failed = False
    for path in paths:
        try:
            description = described(path)
        except SDWidgetsError as error:
            failed = True
            found.append({"path": path, "error": str(error)})
            if not as_json:
                print(error, file=sys.stderr, flush=True)
            continue
        found.append(description.as_dict())
        if not as_json:
            print(f"{path}: {description}" if len(paths) > 1 else description, flush=True)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return int(failed)


def convert(path: str, out: str, **how: Any) -> int:
    """Convert a file and print what was written; return 1 if that is not possible, else 0."""
    from tqdm.auto import tqdm

    from .checkpoints import convert as converted
    from .errors import SDWidgetsError

    with tqdm(unit="B", unit_scale=True, leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            found = converted(path, out, progress=progress, **how)
        except SDWidgetsError as error:
            bar.close()
            print(error, file=sys.stderr, flush=True)
            return 1
    tensors = f"{found.tensors:,} tensor{'s' * (found.tensors != 1)}"
    print(f"Wrote {found.path}: {tensors}, {found.bytes:,} bytes.")
    for said in found.notes:
        print(said)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sdwidgets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (_demo_command, _inspect_command, _convert_command):
        add(commands)
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _demo_command(commands: Any) -> None:
    about = "open the lessons in JupyterLab, or execute them if there is no terminal"
    command = commands.add_parser("demo", help=about, description=about)
    command.add_argument(
        "--out", type=Path, default=Path("sdwidgets-demo"), help="the folder for the lessons"
    )
    command.add_argument(
        "--execute",
        action="store_true",
        help="execute the lessons; at a terminal, only the first, which is then opened",
    )

    def run(options: Any) -> int:
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return demo(options.out, run=options.execute or not terminal, terminal=terminal)

    command.set_defaults(run=run)


def _inspect_command(commands: Any) -> None:
    about = "say what files are: models, LoRAs, ..., and how to load them"
    command = commands.add_parser("inspect", help=about, description=about)
    command.add_argument("files", nargs="+", help="files of weights, or folders of models")
    command.add_argument("--json", action="store_true", help="print everything as JSON")
    command.set_defaults(run=lambda options: inspect(options.files, as_json=options.json))


def _convert_command(commands: Any) -> None:
    about = "make safetensors of a pickle (.ckpt, .pt, .pth, .bin), or another type or layout"
    more = "Nothing in a pickle is run: one that holds more than weights is refused."
    command = commands.add_parser("convert", help=about, description=f"{about}. {more}")
    command.add_argument("file", help="the file or model folder to convert; it is not changed")
    command.add_argument(
        "--out", required=True, help="the new file, which ends in .safetensors, or folder"
    )
    command.add_argument(
        "--dtype", help="float16, bfloat16 or float32 for the weights; by default, their own"
    )
    command.add_argument(
        "--layout",
        help="of a model: compvis (one file by the original names, for XL Stability's), diffusers "
        "(one file by diffusers' names) or folder; by default, every name is kept",
    )
    command.add_argument(
        "--part", help="of a model, this alone: unet, vae, text_encoder or text_encoder_2"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace an existing file or model folder"
    )
    names = ("dtype", "layout", "part", "overwrite")
    command.set_defaults(
        run=lambda options: convert(
            options.file, options.out, **{name: getattr(options, name) for name in names}
        )
    )


if __name__ == "__main__":
    sys.exit(main())
