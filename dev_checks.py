"""Every check of ``make test``, or the quick ones of ``make quick``; dev.py starts it in ``.venv``.

All checks run, also after one has failed. At the end it says how long each took, which tests were
skipped and why, and how many passed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hatch_build
from dev import ROOT, VENV, VENV_PYTHON, apt, is_root, run, say

Check = Callable[[], bool]

REPORTS = Path(ROOT, "out", "tests")  # pytest's reports, which the summary is made of
WORKERS = str(min(os.cpu_count() or 1, 4))  # each needs up to 1 GB
IN_PARALLEL = ("-n", WORKERS, "--dist", "loadfile")
AT_MOST_TWO = ("-n", str(min(int(WORKERS), 2)), "--dist", "loadfile")  # each has its own servers

# ------------------------------------------------------------------------- what the tests need


def chromium() -> bool:
    """A browser: the one on the PATH, else by apt, else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    null = subprocess.DEVNULL

    def starts(path: str) -> bool:  # Ubuntu's package is a stub that asks for snap
        return subprocess.call([path, "--version"], stdout=null, stderr=null) == 0

    def found() -> bool:
        return any(starts(path) for path in map(shutil.which, names) if path)

    if found() or (apt("chromium") and found()):
        return True
    with_libraries = ["--with-deps"] if is_root() else []
    return run(VENV_PYTHON, "-m", "playwright", "install", *with_libraries, "chromium")


def emoji_font() -> bool:
    """The font that scenes are drawn with. The tests that need it are skipped without it."""
    from sdwidgets.scenes import find_font

    if find_font() is None and not apt("fonts-noto-color-emoji"):
        say("    not found: install Noto Color Emoji (Debian: fonts-noto-color-emoji)")
    return True


def node_packages() -> bool:
    """The front end's development packages, and Node itself where the machine has none."""
    if hatch_build.find_npm() is None and not run(
        VENV_PYTHON, "-m", "pip", "install", "--quiet", hatch_build.NODE_WHEEL
    ):
        return False
    importlib.invalidate_caches()
    hatch_build.install_packages(hatch_build.JS, hatch_build.LAB, everything=True)
    hatch_build.build()
    return True


# ------------------------------------------------------------------------- the checks


def module(*arguments: str) -> Check:
    return lambda: run(VENV_PYTHON, "-m", *arguments)


def npm_script(name: str) -> Check:
    def check() -> bool:
        hatch_build.npm("run", "--silent", name)
        return True

    return check


def pytest(report: str, *arguments: str, python: str = VENV_PYTHON) -> bool:
    """Runs pytest; False if a test fails or none runs. Writes ``report``.xml for the summary."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    return run(python, "-m", "pytest", "-q", f"--junitxml={REPORTS / report}.xml", *arguments)


def tests(report: str, marks: str, *arguments: str) -> Check:
    return lambda: pytest(report, "-m", marks, *arguments)


UNIT = "not parity and not browser"

# The oldest that pyproject.toml allows, where Google Colab has no newer ones. Torch's oldest is not
# available everywhere, so .venv's is used.
OLD_VERSIONS = (
    "anywidget==0.9.19",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "traitlets==5.7.1",
    "transformers==4.44.2",
)
OLD_TESTS = ("tests/widgets", "tests/models/test_text.py", "tests/test_bundled.py")
OLD_PARITY = "tests/parity/test_text.py"  # with transformers; the others need a new diffusers


def oldest_versions() -> bool:
    """The tests of what meets these packages, with old versions of them; all else is .venv's."""
    if sys.version_info >= (3, 13):  # these versions know no newer one
        say("    left out: they need Python 3.12 or older")
        return True
    folder = Path(ROOT, ".venv-oldest")
    python = python_of(folder)
    if not (make_venv(folder) and pip_install(python, *OLD_VERSIONS)):
        return False
    see_all_else(python)
    quiet = ("-W", "ignore")
    parity = pytest("oldest-parity", *quiet, OLD_PARITY, python=python)
    marks = ("-m", "not parity")
    return pytest("oldest", *quiet, *IN_PARALLEL, *marks, *OLD_TESTS, python=python) and parity


# The oldest in which the JupyterLab extension runs. Only the page's half matters: kernels and tests
# run in .venv.
OLD_LAB = ("jupyterlab==4.2.7", "jupyterlab_widgets==3.0.13", "notebook==7.2.3")
OLD_LAB_FOLDER = Path(ROOT, ".venv-oldest-lab")


def oldest_lab() -> bool:
    """The environment of the browser tests' ``lab_oldest`` and ``notebook_oldest``."""
    if not make_venv(OLD_LAB_FOLDER):
        return False
    python = python_of(OLD_LAB_FOLDER)
    see_all_else(python)
    return pip_install(python, "--no-deps", *OLD_LAB)


# Google Colab's packages of widgets and kernels, with the classic notebook as their page: it loads
# widgets as Colab does, by RequireJS, into ipywidgets 7's own manager. The Python is .venv's, which
# may be older than Colab's 3.12: another one would need a torch of its own.
COLAB = (
    *("anywidget==0.9.21", "ipykernel==6.17.1", "ipython==7.34.0", "ipywidgets==7.7.1"),
    *("jupyter_ui_poll==1.1.0", "nbclassic==1.3.3", "traitlets==5.7.1"),
    *("widgetsnbextension==3.6.10", "backcall", "decorator", "ipython_genutils", "pickleshare"),
    "nest_asyncio",
)
COLAB_FOLDER = Path(ROOT, ".venv-colab")


def colab() -> bool:
    """The environment of the browser tests' ``colab``."""
    if not make_venv(COLAB_FOLDER):
        return False
    python = python_of(COLAB_FOLDER)
    see_all_else(python)
    return pip_install(python, "--no-deps", *COLAB)


def make_venv(folder: Path, *options: str) -> bool:
    return run(VENV_PYTHON, "-m", "venv", *options, str(folder))


def python_of(folder: Path) -> str:
    """The Python of an environment that this one's has made."""
    return str(folder / os.path.relpath(VENV_PYTHON, VENV))


def pip_install(python: str, *packages: str) -> bool:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return run(*pip, *packages)


def see_all_else(python: str) -> None:
    """Have an environment take from .venv what it has not itself."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
    places = [
        subprocess.check_output([each, "-c", where]).decode() for each in (VENV_PYTHON, python)
    ]
    Path(places[1], "zz_all_else.pth").write_text(places[0])  # the last on the path


# ------------------------------------------------------------------------- on another machine

# What other machines do differently, as far as this one can show it: their processors' instructions
# (of torch's kernels and oneDNN's), their number of threads, how they round (tests/rounding.py),
# and work beside the tests.
ROUNDING = {"SDWIDGETS_ROUNDING": "1"}
MACHINES: dict[str, dict[str, str]] = {
    "default": {**ROUNDING, "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx2": {**ROUNDING, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    # Waiting threads sleep: spinning, more threads than cores take tens of times as long.
    "threads": {**ROUNDING, "OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive"},
    "busy": {},
}


def turn() -> str:
    """The machine whose turn it is: another one for each commit."""
    try:
        count = subprocess.check_output(["git", "rev-list", "--count", "HEAD"], cwd=ROOT)
    except (OSError, subprocess.CalledProcessError):  # no clone
        count = str(time.localtime().tm_yday).encode()
    return list(MACHINES)[int(count) % len(MACHINES)]


@contextlib.contextmanager
def machine(name: str) -> Iterator[None]:
    """This machine made like another one."""
    before = dict(os.environ)
    os.environ.update(MACHINES[name])
    work = "while True: pass"
    count = (os.cpu_count() or 1) if name == "busy" else 0
    neighbours = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
        os.environ.clear()
        os.environ.update(before)


PURE = (
    *("checkpoints", "diffusion", "foreign", "models", "trace", "test_architecture.py"),
    *("test_hires.py", "test_pipeline.py", "test_tasks.py", "test_windows.py"),
)
"""Tests without threads or processes of their own: neighbours do not disturb them."""
UNROUNDED = (
    *("foreign", "sweep", "widgets", "test_architecture.py"),
    *("checkpoints/test_layouts.py", "checkpoints/test_ldm.py"),
)
"""Tests of what happens when, and of weights that are only moved: rounding does not change them.
Nor does it change the slow ones, which are about threads and processes."""


def unit_again(name: str) -> Check:
    marks, left_out = (UNIT, PURE) if name == "busy" else (f"{UNIT} and not slow", UNROUNDED)
    ignored = [f"--ignore=tests/{each}" for each in left_out]

    def check() -> bool:
        with machine(name):
            return pytest("again", "-m", marks, *ignored, *IN_PARALLEL)

    return check


# ------------------------------------------------------------------------- all of them

LINT: list[tuple[str, Check]] = [
    ("lint: ruff", module("ruff", "check", ".")),
    ("format: ruff", module("ruff", "format", "--check", ".")),
    ("types: mypy", module("mypy")),
]


def quick() -> list[tuple[str, Check]]:
    """What to run between two edits."""
    marks = f"{UNIT} and not slow"
    return [*LINT, ("tests: quick", tests("quick", marks, *IN_PARALLEL))]


def everything(again: str | None) -> list[tuple[str, Check]]:
    checks = [
        ("browser for the tests", chromium),
        ("font for the tests", emoji_font),
        ("front end: packages and bundles", node_packages),
        *LINT,
        ("lint: biome", npm_script("lint")),
        ("types: tsc", npm_script("typecheck")),
        ("tests: front end", npm_script("test")),
        ("tests: unit", tests("unit", UNIT, *IN_PARALLEL)),
        ("tests: with the oldest versions", oldest_versions),
        ("JupyterLab 4.2 for the tests", oldest_lab),
        ("Google Colab's packages for the tests", colab),
        ("tests: parity with diffusers", tests("parity", "parity", *IN_PARALLEL)),
        ("tests: browser", tests("browser", "browser", *AT_MOST_TWO)),
    ]
    if again is not None:
        checks.append((f"tests: unit, on a machine like {again!r}", unit_again(again)))
    return checks


def summary() -> Iterator[str]:
    """Lines on the tests of all reports: what was skipped and why, how many passed and failed."""
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for report in sorted(REPORTS.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            skip = case.find("skipped")
            if skip is not None:
                place = case.get("classname", "").removeprefix("tests.")
                skipped[f"{place}: {skip.get('message')}"] += 1
            failed = case.find("failure") is not None or case.find("error") is not None
            outcome = "failed" if failed else "passed" if skip is None else "skipped"
            counts[outcome] += 1
    if skipped:
        yield "Skipped tests:"
    for reason, count in sorted(skipped.items()):
        yield f"{count:6}  {reason}"
    yield ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what takes under two minutes")
    parser.add_argument(
        "--again",
        choices=[*MACHINES, "turn"],
        help="run the unit tests a second time, as on such a machine; turn: each in its turn",
    )
    asked = parser.parse_args()
    # The tests' tensors are tiny: threads would mostly wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    shutil.rmtree(REPORTS, ignore_errors=True)
    again = turn() if asked.again == "turn" else asked.again
    began = time.time()
    results = []
    for name, check in quick() if asked.quick else everything(again):
        say("==> " + name)
        started = time.time()
        try:
            passed = check()
        except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
            say(f"    {error}")
            passed = False
        results.append((name, passed, time.time() - started))
        say(f"    {'ok' if passed else 'FAILED'} ({results[-1][2]:.0f} s)")
    say("")
    for name, passed, seconds in results:
        say(f"{'ok' if passed else 'FAILED':6} {seconds:5.0f} s  {name}")
    say(f"{'':6} {time.time() - began:5.0f} s  in all\n")
    for line in summary():
        say(line)
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
