"""What every benchmark shares: interleaved rounds, medians, the machine, and results on disk."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
MISSED = 3  # the exit status if a target was missed; 1 is Python's own, for errors
PACKAGES = ("sdwidgets", "torch", "transformers", "diffusers", "ipywidgets", "anywidget")


@dataclass(frozen=True)
class Ratio:
    """An answer: ours divided by the peer's or by the target, so less is better."""

    what: str
    value: float
    target: float | None = None  # the ratio that must not be exceeded; None: no target
    ours: str = ""  # the two numbers divided, in words
    other: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.value <= self.target

    def __str__(self) -> str:
        verdict = {None: "", True: "  reached", False: "  MISSED"}[self.met]
        target = "" if self.target is None else f"  (target {self.target:g}{verdict})"
        return f"{self.what}: {self.value:.3f}{target}\n    {self.ours}  against  {self.other}"


@dataclass(frozen=True)
class Options:
    """The options that all benchmarks have."""

    device: str
    threads: int
    rounds: int
    machine: str
    out: Path
    more: argparse.Namespace = field(repr=False)

    def child(self) -> dict[str, str]:
        """The environment of a child process with as many threads, and no network.

        All cores are what it takes by itself: set in the environment they would be a user's choice,
        which the kit leaves alone.
        """
        threads = {} if self.threads == cores() else {"OMP_NUM_THREADS": str(self.threads)}
        return {
            **{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
            **threads,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
            ),
        }


def options(
    description: str | None,
    rounds: int,
    add: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    arguments: Sequence[str] | None = None,
) -> Options:
    """Read the command line; ``add`` declares what a benchmark has beyond the common options."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--threads", type=int, default=cores(), help="CPU threads (all)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"interleaved rounds ({rounds})")
    parser.add_argument("--machine", help="a name for this machine, for the results' file names")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    add(parser)
    given = parser.parse_args(arguments)
    name = given.machine or machine_name(given.device)
    return Options(given.device, given.threads, max(given.rounds, 1), name, given.out, given)


def use_threads(number: int) -> None:
    """Have torch, the peer and the kit all compute with ``number`` CPU threads."""
    import torch

    import sdwidgets as sdw

    torch.set_num_threads(number)
    sdw.options.threads = number


def interleaved(
    rounds: int, work: Mapping[str, Callable[[], object]], *, sync: Callable[[], object] = int
) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round.

    All of them run once unmeasured. Then every round runs them all, in the opposite order of the
    round before, so that a machine that becomes slower or busier does so for all alike. ``work``
    may return its own seconds; otherwise the whole call counts, until ``sync`` returns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(-1, rounds):
        names = list(work) if number % 2 else list(work)[::-1]
        for name in names:
            sync()
            began = time.perf_counter()
            result = work[name]()
            sync()
            spent = result if isinstance(result, float) else time.perf_counter() - began
            if number >= 0:
                seconds[name].append(spent)
        if number >= 0:
            line = "  ".join(f"{name} {seconds[name][-1]:.4g} s" for name in work)
            print(f"  round {number + 1} of {rounds}: {line}", flush=True)
    return seconds


def against(
    what: str,
    seconds: Mapping[str, Sequence[float]],
    ours: str,
    other: str,
    target: float | None = None,
) -> Ratio:
    """The median over rounds of ours / the other's: each round is compared with itself."""
    ratios = [a / b for a, b in zip(seconds[ours], seconds[other], strict=True)]
    return Ratio(
        what,
        statistics.median(ratios),
        target,
        f"{ours} {duration(statistics.median(seconds[ours]))}",
        f"{other} {duration(statistics.median(seconds[other]))}",
    )


def duration(seconds: float) -> str:
    """Seconds in words: 0.0123 -> '12.3 ms'."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(seconds) * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def synchroniser(device: str) -> Callable[[], object]:
    """A function that waits until a device has finished its work."""
    import torch

    if device == "cuda":
        return torch.cuda.synchronize
    return torch.mps.synchronize if device == "mps" else int


# ------------------------------------------------------------------------------- the machine


def cores() -> int:
    """The number of CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def processor() -> str:
    """The system's name for its processor."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return (found[1] if found else platform.processor() or platform.machine()).strip()


def machine(options: Options) -> dict[str, Any]:
    """What a reader must know about the machine to interpret its numbers."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 0
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": cores(),
        "threads": options.threads,
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "device": options.device,
        "load_before": load(),
    }
    if options.device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine_name(device: str) -> str:
    """A short name for file names: "2-core-amd-epyc"."""
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda"
    else:
        name = f"{cores()}-core {processor()}"
        name += "" if device == "cpu" else f" {device}"
    name = re.sub(r"\((r|tm)\)|\bcpu\b.*|\bprocessor\b|@.*", "", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40]


def load() -> float | None:
    """The number of processes that wanted a core over the last minute; None if unknown."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


# ------------------------------------------------------------------------------- the results


def begin(question: str, options: Options) -> dict[str, Any]:
    """Print what is measured on which machine; returns the machine's description."""
    described = machine(options)
    print(f"== {question}")
    print(
        f"   {described['processor']}, {described['cores']} cores ({options.threads} threads), "
        f"{described.get('gpu', options.device)}, torch {described['torch']}, "
        f"{options.rounds} rounds"
    )
    busy = described["load_before"]
    if busy is not None and busy > 0.5 * described["cores"]:
        print(f"   ! the machine is busy (load {busy}): take these numbers for nothing exact")
    sys.stdout.flush()
    return described


def report(
    name: str,
    question: str,
    ratios: Sequence[Ratio],
    options: Options,
    described: Mapping[str, Any],
    **numbers: Any,
) -> int:
    """Print the ratios and keep everything; returns the exit status, 0 or MISSED."""
    for ratio in ratios:
        print(ratio)
    content = {
        "name": name,
        "question": question,
        "date": time.strftime("%Y-%m-%d"),
        "machine_name": options.machine,
        "machine": described,
        "rounds": options.rounds,
        "ratios": [asdict(ratio) for ratio in ratios],
        "numbers": numbers,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}-{options.machine}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_table(options.out)
    print(f"   kept in {path.name}\n", flush=True)
    return MISSED if any(ratio.met is False for ratio in ratios) else 0


def write_table(folder: Path) -> None:
    """Write README.md of a results folder: every ratio of every file, a section per machine."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    lines = [
        "# Results",
        "",
        "Written by the benchmarks; the `.json` files beside it hold every single round.",
        "A ratio is ours divided by the other: below 1, ours takes less.",
    ]
    for name in sorted({file["machine_name"] for file in files}):
        here = [file for file in files if file["machine_name"] == name]
        m = here[0]["machine"]
        gpu = f", {m['gpu']}" if "gpu" in m else ""
        lines += [
            "",
            f"## {name}",
            "",
            f"{m['processor']}, {m['cores']} cores{gpu}, {m['memory_gb']:g} GB, {m['system']}; "
            f"Python {m['python']}, torch {m['torch']}, transformers {m['transformers']}, "
            f"diffusers {m['diffusers']}.",
            "",
            "| what | ratio | target | ours | the other | rounds | day |",
            "|---|---|---|---|---|---|---|",
        ]
        for file in here:
            for r in file["ratios"]:
                busy = file["machine"]["load_before"]
                mark = " (busy)" if busy and busy > 0.5 * file["machine"]["cores"] else ""
                target = "" if r["target"] is None else f"{r['target']:g}"
                if r["target"] is not None and r["value"] > r["target"]:
                    target += " **missed**"
                lines.append(
                    f"| {r['what']} | {r['value']:.3f} | {target} | {r['ours']} | {r['other']} | "
                    f"{file['rounds']}{mark} | {file['date']} |"
                )
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
