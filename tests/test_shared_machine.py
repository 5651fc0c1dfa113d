"""Several people on one machine, as with JupyterHub: in processes of their own."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from sdwidgets.checkpoints.load import BUNDLED, DEFAULT

ROOT = Path(__file__).resolve().parents[1]
WAIT = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="uses what Linux has"),
]

# What a person does; `writes` has the paths that Python opens to write, or makes.
PERSON = """
import os, sys
writes = []

def note(event, given):
    if event == "open" and isinstance(given[0], (str, bytes)):
        changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        if (given[2] or 0) & changes or set(given[1] or "") & set("wax+"):
            writes.append(os.fsdecode(given[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"):
        writes.append(os.fsdecode(given[0]))

sys.addaudithook(note)
models, = sys.argv[1:]
try:
    open(os.path.join(models, "refused"), "w").close()
    sys.exit("this user may write everywhere")
except OSError:
    writes.clear()

import sdwidgets as sdw
from sdwidgets.checkpoints.listing import find

found = [str(each.path) for each in find([models])]
model = sdw.load(os.path.join(models, "emoji"))
trace = model.generate("a cat", seed=7, steps=2, attention=True)
studio = sdw.Studio(model=os.path.join(models, "emoji"), prompt="a cat", seed=7, steps=2)
studio.generate()
again = studio.wait(100)
studio._repr_mimebundle_()
print(sdw.inspect(os.path.join(models, "emoji")), file=sys.stderr)
quiet = list(writes)
again.save_image("cat.png")
trace.save("cat.sdtrace")

import json
print(json.dumps({"found": found, "writes": quiet, "same": trace.image == again.image}))
"""


def bound_by_permissions() -> None:
    """Take from a child of root the right to write everywhere (CAP_DAC_OVERRIDE), at its exec."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


def person(code: str, *arguments: Any, **environment: str) -> subprocess.Popen[str]:
    """Start a Python process of somebody's."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        cwd=environment.get("PWD"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=bound_by_permissions,
    )


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with the models of all people, a cache of the hub and a home, to be read alone."""
    if not (BUNDLED / DEFAULT / "model_index.json").is_file():
        pytest.skip("the bundled model's weights are not in this checkout")
    shared = tmp_path / "shared"
    shutil.copytree(BUNDLED / DEFAULT, shared / "models" / "emoji")
    (shared / "hub" / "hub").mkdir(parents=True)
    (shared / "home").mkdir()
    modes = {path: path.stat().st_mode for path in [shared, *shared.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield shared
    for path, mode in modes.items():
        path.chmod(mode)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and the time of change of everything in a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_a_read_only_folder_of_models_is_enough_and_nothing_is_written(
    read_only: Path, tmp_path: Path
) -> None:
    before = files(read_only)
    people = []
    for name in ("alice", "bob"):
        own = tmp_path / name
        own.mkdir()
        places = {"PWD": str(own), "TMPDIR": str(own), "HOME": str(read_only / "home")}
        places |= {"HF_HOME": str(read_only / "hub"), "HF_HUB_OFFLINE": "1"}
        people.append(person(PERSON, read_only / "models", **places))
    for each in people:
        said, errors = each.communicate(timeout=WAIT)
        if "may write everywhere" in errors:
            pytest.skip("this user may write everywhere")
        assert each.returncode == 0, errors
        told = json.loads(said.splitlines()[-1])
        assert told["same"]
        assert str(read_only / "models" / "emoji") in told["found"]
        outside = [path for path in told["writes"] if not path.startswith(("/dev/", "/proc/"))]
        assert [path for path in outside if not path.startswith(str(tmp_path))] == []
        assert "Traceback" not in errors
    assert files(read_only) == before
    for name in ("alice", "bob"):
        assert sorted(path.name for path in (tmp_path / name).glob("cat.*")) == [
            "cat.png",
            "cat.sdtrace",
        ]


NEIGHBOUR = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print("working", flush=True)
while True: pass
"""

FREE = """
import os, sys, time
from sdwidgets.threads import free_cores
cores = {int(each) for each in sys.argv[1:]}
os.sched_setaffinity(0, cores)
while True:
    print(free_cores(), flush=True)
    time.sleep(0.6)
"""


def test_a_neighbour_at_work_leaves_fewer_cores() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    neighbours = [person(NEIGHBOUR, core) for core in cores]
    watch = person(FREE, *cores)
    try:
        for each in neighbours:
            assert each.stdout is not None
            assert each.stdout.readline() == "working\n"
        assert watch.stdout is not None
        seen = []
        while not seen or seen[-1] != 1:  # both cores are busy: never none, whatever others do
            seen.append(int(watch.stdout.readline()))
            assert len(seen) < 100
        assert min(seen) == 1
        assert max(seen) <= 2
    finally:
        for each in (*neighbours, watch):
            each.kill()
            each.communicate()


NUMBER = """
import sys
import sdwidgets as sdw, torch
from sdwidgets.configs import SD1
from sdwidgets.models.unet import UNet
from sdwidgets.threads import threads_for
with torch.device("meta"):
    net = UNet(SD1.unet)
own = torch.nn.Conv2d(4, 4, 3)
net.parameters = own.parameters  # on the CPU, with a large network's work
with threads_for(net, 2 * 64 * 64):
    print(torch.get_num_threads())
"""


def test_a_number_that_the_hub_has_set_stays() -> None:
    people = [(n, person(NUMBER, OMP_NUM_THREADS=str(n))) for n in {1, min(2, os.cpu_count() or 1)}]
    for number, each in people:
        said, errors = each.communicate(timeout=WAIT)
        assert each.returncode == 0, errors
        assert int(said) == number


def test_the_snippet_of_the_document_is_a_configuration_that_the_kit_reads() -> None:
    text = (ROOT / "docs" / "jupyterhub.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(c = .*?)```", text, re.DOTALL)
    (overrides,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    config = Config()
    exec(textwrap.dedent(snippet), {"get_config": lambda: config})
    environment = config.Spawner.environment
    assert set(environment) == {"HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"}
    assert config.Spawner.cpu_limit >= int(environment["OMP_NUM_THREADS"])
    assert config.Spawner.mem_limit.endswith("G")
    schema = json.loads((ROOT / "js" / "lab" / "schema" / "preferences.json").read_text())
    chosen = json.loads(overrides)["sdwidgets:preferences"]
    assert chosen
    assert chosen.keys() <= schema["properties"].keys()
