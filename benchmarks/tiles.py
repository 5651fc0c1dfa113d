"""What does an autoencoder in tiles save, and does it change the image?

``python -m benchmarks.tiles [--sizes 1024 2048] [--models emoji sd1]``

An image is encoded, and latents are decoded: at once, in tiles, and with diffusers' tiles, by the
same weights. Each number comes from a fresh process: the time, and the peak of memory beyond the
loaded weights. Within a round, the three follow one another, in the opposite order every other
round. What they make is compared with what is made at once:

- the largest difference, as a share of the largest value
- the largest seam: the mean step of the difference between two rows or columns, where it is
  largest, beside the mean step of the image itself between neighbours

"sd1" has the shape of Stable Diffusion 1's autoencoder and random weights. At once, a side of 2048
takes it 16 GB of memory; sizes for which there is too little are left out.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .measure import Options, Ratio, begin, duration, options, report

WAYS = ("at once", "in tiles", "diffusers' tiles")
PARTS = ("decode", "encode")
Row = dict[str, Any]


def measured(folder: str, part: str, way: str, given: str, made: str, device: str) -> None:
    """Print the seconds and the peak in bytes of a way in this process, as JSON; ``given`` and
    ``made`` are files of arrays."""
    import time

    import torch

    from sdwidgets.checkpoints import load_autoencoder

    memory = _Memory(device)
    x = torch.from_numpy(np.load(given)).to(device)
    small = x[..., : max(x.shape[-2] // 32, 8), : max(x.shape[-1] // 32, 8)]
    ours = load_autoencoder(folder, device=device)
    config = ours.config
    if way == "diffusers' tiles":
        from diffusers import AutoencoderKL

        theirs = AutoencoderKL.from_pretrained(folder).to(device).eval()
        theirs.enable_tiling()
        del ours

        def work(x: torch.Tensor) -> torch.Tensor:
            if part == "decode":
                z = x / config.scaling_factor + config.shift_factor
                return theirs.decode(z).sample  # type: ignore[no-any-return]
            mean = theirs.encode(x).latent_dist.mean
            return (mean - config.shift_factor) * config.scaling_factor  # type: ignore[no-any-return]
    else:

        def work(x: torch.Tensor) -> torch.Tensor:
            tiled = way == "in tiles"
            if part == "decode":
                return ours.decode(x, tiled=tiled)
            return ours.encode(x, tiled=tiled).mean

    with torch.no_grad():
        work(small)
        before = memory.now()
        memory.forget_peak()
        began = time.perf_counter()
        out = work(x)
        peak = memory.peak() - before  # waits for the device
        seconds = time.perf_counter() - began
    np.save(made, out.cpu().numpy())
    print(json.dumps({"seconds": seconds, "peak": peak}))


class _Memory:
    """What this process takes: resident memory, or what torch allocated on a GPU."""

    def __init__(self, device: str):
        self._on_gpu = device == "cuda"

    def now(self) -> int:
        import torch

        if self._on_gpu:
            torch.cuda.synchronize()
            return torch.cuda.memory_allocated()
        return self._status("VmRSS")

    def peak(self) -> int:
        import torch

        if self._on_gpu:
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated()
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        import torch

        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def largest_difference(made: np.ndarray, whole: np.ndarray) -> float:
    """The largest difference from ``whole``, as a share of its largest value."""
    return float(np.abs(made - whole).max() / np.abs(whole).max())


def largest_seam(made: np.ndarray, whole: np.ndarray) -> float:
    """The largest mean step of the difference [.., H, W] between two rows or columns, in mean steps
    of ``whole`` between neighbours."""
    steps, seams = [], []
    for axis in (-2, -1):
        steps.append(np.abs(np.diff(whole, axis=axis)).mean())
        step = np.abs(np.diff(made - whole, axis=axis))
        along = tuple(n for n in range(step.ndim) if n != step.ndim + axis)
        seams.append(step.mean(along).max())
    return float(max(seams) / np.mean(steps))


def inputs(part: str, side: int, factor: int, channels: int) -> np.ndarray:
    """Latents [1, C, h, w] of about unit variance, or an image [1, 3, H, W] in [-1, 1], both of
    large blobs with fine noise."""
    random = np.random.default_rng(0)
    cells, depth = (side // factor, channels) if part == "decode" else (side, 3)
    coarse = random.standard_normal((1, depth, 8, 8)).repeat(cells // 8, 2).repeat(cells // 8, 3)
    x = 0.8 * coarse + 0.4 * random.standard_normal(coarse.shape)
    return (x if part == "decode" else np.tanh(x)).astype(np.float32)


@contextmanager
def folder_of(name: str) -> Iterator[str]:
    """The folder of an autoencoder: the bundled model's, or random weights of SD1's shape."""
    import torch

    from sdwidgets.checkpoints.save import save_autoencoder
    from sdwidgets.checkpoints.zoo import MODEL, bundled_folder
    from sdwidgets.configs import EMOJI, SD1
    from sdwidgets.models.autoencoder import Autoencoder

    bundled = bundled_folder(MODEL) if name == "emoji" else None
    if bundled is not None:
        yield str(bundled)
        return
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="sdwidgets-benchmark-") as scratch:
        config = (SD1 if name == "sd1" else EMOJI).autoencoder
        folder = save_autoencoder(Autoencoder(config).eval(), Path(scratch) / name)
        settings = json.loads((folder / "config.json").read_text())
        settings["sample_size"] = 512 if name == "sd1" else 128  # diffusers' tiles have this side
        (folder / "config.json").write_text(json.dumps(settings))
        yield str(folder)


def fresh(folder: str, part: str, way: str, files: tuple[str, str], given: Options) -> Row:
    """What `measured` prints in a process of its own."""
    code = "import sys; from benchmarks.tiles import measured; measured(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, folder, part, way, *files, given.device],
        env=given.child(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"A child process failed:\n{done.stderr[-3000:]}")
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(name: str, side: int, given: Options) -> Iterator[Row]:
    """A row for each part, way and round."""
    from sdwidgets.checkpoints import load_autoencoder

    with folder_of(name) as folder, tempfile.TemporaryDirectory() as scratch:
        config = load_autoencoder(folder).config
        for part in PARTS:
            source = str(Path(scratch) / "given.npy")
            np.save(source, inputs(part, side, config.factor, config.latent_channels))
            made = {way: str(Path(scratch) / f"{number}.npy") for number, way in enumerate(WAYS)}
            for number in range(given.rounds):
                rows = {
                    way: fresh(folder, part, way, (source, made[way]), given)
                    for way in (WAYS if number % 2 == 0 else WAYS[::-1])
                }
                whole = np.load(made["at once"])
                for way, row in rows.items():
                    one = np.load(made[way])
                    row |= {"model": name, "side": side, "part": part, "way": way}
                    row["difference"] = largest_difference(one, whole)
                    row["seam"] = largest_seam(one, whole)
                    print(
                        f"  {name} {side} {part} {way}: {duration(row['seconds'])}, "
                        f"{row['peak'] / 1e6:.0f} MB, difference {row['difference']:.1e}, "
                        f"seam {row['seam']:.1e}",
                        flush=True,
                    )
                    yield row


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048], help="pixels")
        parser.add_argument(
            "--models", nargs="+", default=["emoji", "sd1"], choices=("emoji", "sd1")
        )
        parser.add_argument("--quick", action="store_true", help="the bundled model at 256 alone")

    given = options(__doc__, 1, add)
    if given.device == "mps" or (given.device == "cpu" and sys.platform != "linux"):
        raise SystemExit("Peaks of memory are known on Linux and on NVIDIA GPUs alone.")
    import torch

    from sdwidgets.configs import EMOJI, SD1
    from sdwidgets.memory import available_memory
    from sdwidgets.settings import amount, autoencoder_memory

    question = "What does an autoencoder in tiles save, and does it change the image?"
    described = begin(question, given)
    sizes = [256] if given.more.quick else given.more.sizes
    names = ["emoji"] if given.more.quick else given.more.models
    rows: list[Row] = []
    ratios: list[Ratio] = []
    for name in names:
        for side in sizes:
            config = {"emoji": EMOJI, "sd1": SD1}[name].autoencoder
            if side % (8 * config.factor):
                raise SystemExit(f"Sizes are multiples of {8 * config.factor}, got {side}.")
            free, needed = (
                available_memory(torch.device(given.device)),
                autoencoder_memory(config, side, side),
            )
            if free is not None and needed > free:
                print(f"   ({name} at {side} left out: it needs about {amount(needed)} at once)")
                continue
            here = [*compared(name, side, given)]
            rows += here
            for part in PARTS:
                ratios += _ratios(part, f"{name}, {side} x {side}", here)
    return report("tiles", question, ratios, given, described, rows=rows)


def _ratios(part: str, where: str, rows: list[Row]) -> Iterator[Ratio]:
    """The answers for one part of a model at one size."""

    def of(way: str, field: str) -> float:
        return statistics.median(r[field] for r in rows if r["part"] == part and r["way"] == way)

    ours, whole, theirs = "in tiles", "at once", "diffusers' tiles"
    for other in (whole, theirs):
        words = [f"{way} {of(way, 'peak') / 1e6:.0f} MB" for way in (ours, other)]
        value = of(ours, "peak") / max(of(other, "peak"), 1)
        yield Ratio(f"Peak of {part} in tiles, against {other} ({where})", value, None, *words)
    for other in (whole, theirs):
        words = [f"{way} {duration(of(way, 'seconds'))}" for way in (ours, other)]
        value = of(ours, "seconds") / of(other, "seconds")
        yield Ratio(f"Time of {part} in tiles, against {other} ({where})", value, None, *words)
    for field, what in (("difference", "Largest difference"), ("seam", "Largest seam")):
        words = [f"{way} {of(way, field):.1e}" for way in (ours, theirs)]
        value = of(ours, field) / 1e-3  # far below one of 255 levels
        yield Ratio(f"{what} of {part}, in thousandths ({where})", value, 1.0, *words)


if __name__ == "__main__":
    sys.exit(main())
