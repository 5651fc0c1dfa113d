"""What the Makefile runs: ``demo`` and ``test``, from nothing but Python.

The first half runs in whatever Python the machine has and only makes ``.venv``; it then starts
this file again inside it. Everything is skipped that is already there, so a second run is quick.
"""

# Only what Python 3.6 can parse, so that an old one can say that it is too old.

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
INSIDE = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
VENV_PYTHON = os.path.join(INSIDE, "python.exe" if os.name == "nt" else "python")
OLDEST = (3, 10)
JOBS = ("demo", "test")


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(*lines):
    sys.stderr.write("\n".join(lines) + "\n")
    sys.exit(1)


def run(*command):
    return subprocess.call(list(command), cwd=ROOT) == 0


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def apt(*packages):
    """Install Debian packages, as root where there is apt; False where that cannot be."""
    if not (is_root() and shutil.which("apt-get")):
        return False
    say("    apt-get install " + " ".join(packages))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    install = [*quiet, "install", "-y", "--no-install-recommends", *packages]
    with open(os.devnull, "w") as null:
        subprocess.call([*quiet, "update"], env=environment, stdout=null)
        return subprocess.call(install, env=environment, stdout=null) == 0


def newer_python():
    """The path of a Python that is new enough, this one first; ends the run where none is."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and run(found, "-c", ""):  # some are only stand-ins that say what is missing
            return found
    return fail(
        "sdwidgets needs Python {}.{} or newer; {} is {}.{}.".format(
            *OLDEST, sys.executable, *sys.version_info[:2]
        ),
        f"Install a newer one and name it:  make PYTHON=/path/to/python3.12 {sys.argv[1]}",
    )


def make_venv(python):
    """Create .venv, or keep the one that works."""
    check = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    if os.path.exists(VENV_PYTHON) and run(VENV_PYTHON, "-c", check):
        return
    version = "import sys; print(*sys.version_info[:2], sep='.', end='')"
    package = f"python{subprocess.check_output([python, '-c', version]).decode()}-venv"
    if not run(python, "-c", "import ensurepip, venv") and not apt(package):
        fail(
            f"{python} has no venv module, which Debian and Ubuntu keep in a package of its own.",
            f"Install it and run the same command again:  sudo apt install {package}",
        )
    if not run(python, "-m", "venv", "--clear", VENV):
        fail(f"No environment could be made in {VENV}; the lines above say why.")


def install(job):
    """pip install this checkout with the pinned versions; skipped while nothing has changed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", "hatch_build.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    digest.update(ROOT.encode())
    wanted = digest.hexdigest()
    stamp = os.path.join(VENV, "sdwidgets-installed.json")
    try:
        with open(stamp) as file:
            done = json.load(file)
    except (OSError, ValueError):
        done = {}
    # What the tests need contains what the demo needs.
    if wanted in (done.get("test"), done.get(job)):
        return "as it was"
    what = "." if job == "demo" else ".[test]"
    say(f"    pip install -c constraints.txt -e {what}   (minutes the first time: torch is large)")
    pip = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not run(*pip, "-c", "constraints.txt", "-e", what):
        fail("pip could not install sdwidgets; its lines above say why. The next run tries again.")
    with open(stamp, "w") as file:
        json.dump(dict(done, **{job: wanted}), file)
    return "installed"


def environment(job):
    started = time.time()
    say("==> environment in .venv")
    make_venv(newer_python())
    state = install(job)
    say(f"    {state} ({time.time() - started:.0f} s)")


# ------------------------------------------------------------------- from here on inside .venv


def demo():
    """Execute the lessons into out/demo; with a terminal, open the first in JupyterLab."""
    import hatch_build

    hatch_build.build()
    command = [VENV_PYTHON, "-m", "sdwidgets.cli", "demo", "--execute", "--out", "out/demo"]
    return subprocess.call(command, cwd=ROOT)


def chromium():
    """A browser for the tests: the one on the PATH, else by apt, else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    null = subprocess.DEVNULL

    def starts(path):  # Ubuntu's package is a stub that asks for snap
        return subprocess.call([path, "--version"], stdout=null, stderr=null) == 0

    def found():
        return any(starts(path) for path in map(shutil.which, names) if path)

    if found() or (apt("chromium") and found()):
        return True
    with_libraries = ["--with-deps"] if is_root() else []
    return run(VENV_PYTHON, "-m", "playwright", "install", *with_libraries, "chromium")


def node_packages():
    """The front end's development packages, Node itself too where the machine has none."""
    import hatch_build

    if hatch_build.find_npm() is None and not run(
        VENV_PYTHON, "-m", "pip", "install", "--quiet", hatch_build.NODE_WHEEL
    ):
        return False
    importlib.invalidate_caches()
    hatch_build.install_packages(everything=True)
    hatch_build.build()
    return True


def npm_script(name):
    def step():
        import hatch_build

        hatch_build.npm("run", "--silent", name)
        return True

    return step


def module(*arguments):
    return lambda: run(VENV_PYTHON, "-m", *arguments)


# The oldest that pyproject.toml allows, where Google Colab has no newer ones; torch's are not
# everywhere to be had, so it is that of .venv.
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


def oldest_versions():
    """The tests of what meets these packages, with old versions of them; all else is .venv's."""
    if sys.version_info >= (3, 13):  # these versions know no newer one
        say("    left out: they need Python 3.12 or older")
        return True
    folder = os.path.join(ROOT, ".venv-oldest")
    python = os.path.join(folder, os.path.relpath(VENV_PYTHON, VENV))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (run(VENV_PYTHON, "-m", "venv", folder) and run(*pip, *OLD_VERSIONS)):
        return False
    where = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
    places = [
        subprocess.check_output([each, "-c", where]).decode() for each in (VENV_PYTHON, python)
    ]
    # The last on the path: what is not in this environment comes from the other.
    with open(os.path.join(places[1], "zz_all_else.pth"), "w") as file:
        file.write(places[0])
    pytest = (python, "-m", "pytest", "-q", "-W", "ignore")
    passed = run(*pytest, OLD_PARITY)
    return run(*pytest, "-m", "not parity", *OLD_TESTS) and passed


def test():
    """Every check there is, each with its time; all run, also after one has failed."""
    # The tests' tensors are tiny: threads would mostly wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    steps = [
        ("browser for the tests", chromium),
        ("front end: packages and bundles", node_packages),
        ("lint: ruff", module("ruff", "check", ".")),
        ("format: ruff", module("ruff", "format", "--check", ".")),
        ("types: mypy", module("mypy")),
        ("lint: biome", npm_script("lint")),
        ("types: tsc", npm_script("typecheck")),
        ("tests: front end", npm_script("test")),
        ("tests: unit", module("pytest", "-q", "-m", "not parity and not browser")),
        ("tests: with the oldest versions", oldest_versions),
        ("tests: parity with diffusers", module("pytest", "-q", "-m", "parity")),
        ("tests: browser", module("pytest", "-q", "-m", "browser")),
    ]
    results = []
    for name, step in steps:
        say("==> " + name)
        started = time.time()
        try:
            passed = step()
        except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
            say(f"    {error}")
            passed = False
        results.append((name, passed, time.time() - started))
        say(f"    {'ok' if passed else 'FAILED'} ({results[-1][2]:.0f} s)")
    say("")
    for name, passed, seconds in results:
        say(f"{'ok' if passed else 'FAILED':6} {seconds:5.0f} s  {name}")
    return 0 if all(passed for _, passed, _ in results) else 1


def main():
    job = sys.argv[1] if len(sys.argv) > 1 else ""
    if job not in JOBS:
        fail("usage: python dev.py " + "|".join(JOBS))
    if "--inside" not in sys.argv:
        environment(job)
        # A child, not exec: on Windows exec would return to the shell at once.
        return subprocess.call([VENV_PYTHON, os.path.abspath(__file__), job, "--inside"], cwd=ROOT)
    return {"demo": demo, "test": test}[job]()


if __name__ == "__main__":
    sys.exit(main())
