"""The jobs of the Makefile, from nothing but Python: ``demo``, ``test`` and ``quick``.

This file runs in any Python of the machine. It makes ``.venv`` and starts the job inside it. Work
that is already done is skipped, so a second run is fast.
"""

# The syntax is that of Python 3.6, so that an old Python can report that it is too old.

import hashlib
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
LESSONS = [VENV_PYTHON, "-m", "sdwidgets.cli", "demo", "--execute", "--out", "out/demo"]
CHECKS = [VENV_PYTHON, "dev_checks.py"]
JOBS = {
    "demo": [[VENV_PYTHON, "hatch_build.py"], LESSONS],
    "test": [CHECKS],
    "quick": [[*CHECKS, "--quick"]],
}


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
    """Install Debian packages; return whether that succeeded. It takes root and apt."""
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
    """Return the path of a Python that is new enough, preferably this one, or end the run."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and run(found, "-c", ""):  # some are stubs that only tell what to install
            return found
    return fail(
        "sdwidgets needs Python {}.{} or newer; {} is {}.{}.".format(
            *OLDEST, sys.executable, *sys.version_info[:2]
        ),
        f"Install a newer Python and name it:  make PYTHON=/path/to/python3.12 {sys.argv[1]}",
    )


def make_venv(python):
    """Make .venv, unless there is one that works."""
    check = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    if os.path.exists(VENV_PYTHON) and run(VENV_PYTHON, "-c", check):
        return
    version = "import sys; print(*sys.version_info[:2], sep='.', end='')"
    package = f"python{subprocess.check_output([python, '-c', version]).decode()}-venv"
    if not run(python, "-c", "import ensurepip, venv") and not apt(package):
        fail(
            f"{python} has no venv module, which Debian and Ubuntu keep in a separate package.",
            f"Install it and run the same command again:  sudo apt install {package}",
        )
    if not run(python, "-m", "venv", "--clear", VENV):
        fail(f"No environment could be made in {VENV}; the lines above say why.")


def install(job):
    """Install this checkout with the pinned versions, unless nothing has changed."""
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
    # The packages of the tests include those of the demo.
    kind = "demo" if job == "demo" else "test"
    if wanted in (done.get("test"), done.get(kind)):
        return "unchanged"
    what = "." if job == "demo" else ".[test]"
    say(f"    pip install -c constraints.txt -e {what}   (minutes the first time: torch is large)")
    pip = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not run(*pip, "-c", "constraints.txt", "-e", what):
        fail("pip could not install sdwidgets; its lines above say why. The next run tries again.")
    with open(stamp, "w") as file:
        json.dump(dict(done, **{kind: wanted}), file)
    return "installed"


def environment(job):
    started = time.time()
    say("==> environment in .venv")
    make_venv(newer_python())
    state = install(job)
    say(f"    {state} ({time.time() - started:.0f} s)")


def main():
    job = sys.argv[1] if len(sys.argv) > 1 else ""
    if job not in JOBS:
        fail("usage: python dev.py " + "|".join(JOBS))
    environment(job)
    *before, last = JOBS[job]
    for command in before:
        if not run(*command):
            return 1
    # Child processes, not exec, which returns to the shell at once on Windows.
    return subprocess.call(last + sys.argv[2:], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
