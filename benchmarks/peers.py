"""Other projects' packages as they are published, only for benchmarks; none of their code is here.

Their pins of torch, transformers and diffusers would replace this environment, so a package goes
into its own folder, without its dependencies, and is imported unchanged. A missing dependency that
plays no part in the measurement (a sentence parser, say) is replaced by a dummy during the import.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

from .measure import HERE

CACHE = HERE.parent / "out" / "peers"  # git leaves out/ alone


class Unavailable(Exception):
    """A peer cannot be installed, or no longer runs here; the message is a line that says why."""


@dataclass(frozen=True)
class Peer:
    """A published package."""

    requirement: str  # for pip, with its version
    module: str
    # Imported by it at the beginning, and unused by what is measured: stood in for where missing.
    beside: tuple[str, ...] = ()
    # Imported before it, for these look around for packages, and would find the stand-ins.
    first: tuple[str, ...] = ()


DAAM = Peer(
    "daam==0.2.0",
    "daam",
    beside=("spacy", "spacy.tokens", "scipy", "scipy.optimize"),
    first=("diffusers.models.attention_processor", "transformers.models.auto", "matplotlib.pyplot"),
)
ATTENTION_MAP_DIFFUSERS = Peer("attention-map-diffusers==1.0.0", "attention_map_diffusers")


def load(peer: Peer, cache: Path = CACHE) -> ModuleType:
    """The peer's module, installed into ``cache`` if need be. Raises Unavailable."""
    folder = cache / peer.requirement
    if not (folder / peer.module).is_dir():
        install(peer.requirement, folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: it must shadow nothing
    try:
        for name in peer.first:
            importlib.import_module(name)
        with stood_in_for(peer.beside):
            return importlib.import_module(peer.module)
    except Exception as error:
        raise Unavailable(f"{peer.requirement} cannot be imported: {in_a_line(error)}") from error


def install(requirement: str, folder: Path) -> None:
    """pip install a package, without dependencies, into ``folder``. Raises Unavailable."""
    print(f"   (fetching {requirement})", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--target", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{requirement} could not be fetched within five minutes") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(f"{requirement} could not be fetched: {(said or ['pip failed'])[-1]}")


@contextmanager
def stood_in_for(names: Sequence[str]) -> Iterator[None]:
    """A context in which importing a missing module of these gives a dummy."""
    missing = [name for name in names if not _is_there(name)]
    sys.modules.update({name: MagicMock() for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package it would be in
        return False


def in_a_line(error: Exception) -> str:
    """An error's type and the first line of its message, at most 200 characters."""
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}"[:200]
