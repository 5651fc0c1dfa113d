"""How long does a single file take to load, and how much memory?

``python -m benchmarks.loading [--models sd1 sdxl]``

Each file has the names and shapes of a published model, and random numbers in float16. Every
contestant is a fresh process that imports everything first, with the file in the system's cache:
ours; one that only reads the bytes, a block at a time, which no loader can beat; and diffusers'
``from_single_file``, with its configs in a folder of this machine. The peak of memory is what the
process takes beyond what it took before, divided by the size of the weights in memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .measure import HERE, Options, Ratio, against, begin, interleaved, options, report

if TYPE_CHECKING:
    from sdwidgets.configs import ModelConfig

PIPELINES = {"sd1": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}

CHILD = """
import json, re, sys, time, warnings
path, configs, dtype, pipeline = sys.argv[1:5]
import torch
{imports}

def status(field):
    found = re.search(field + r":\\s+(\\d+) kB", open("/proc/self/status").read())
    return int(found[1]) * 1024

before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
began = time.perf_counter()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
{load}
seconds = time.perf_counter() - began
peak = status("VmHWM") - before
weights = sum(t.numel() * t.element_size() for m in modules for t in m.state_dict().values())
print(json.dumps({{"seconds": seconds, "peak": peak, "weights": weights}}))
"""

WORK = {
    "sdwidgets": {
        "imports": "import sdwidgets as sdw; sdw.load; import sdwidgets.pipeline",
        "load": """
    model = sdw.load(path, device="cpu", dtype=dtype)
    modules = [model.unet, model.autoencoder, *(each.model for each in model.embedders)]
""",
    },
    "the bytes alone": {
        "imports": "",
        "load": """
    block, modules = bytearray(16 * 2**20), []
    with open(path, "rb", buffering=0) as file:
        while file.readinto(block):
            pass
""",
    },
    "diffusers": {
        "imports": "import diffusers; import transformers.models.clip.modeling_clip\n"
        "kind = getattr(diffusers, pipeline)",
        "load": """
    model = kind.from_single_file(
        path, config=configs, torch_dtype=getattr(torch, dtype), local_files_only=True
    )
    modules = [model.unet, model.vae, model.text_encoder, getattr(model, "text_encoder_2", None)]
    modules = [each for each in modules if each is not None]
""",
    },
}


def fresh(work: dict[str, str], arguments: list[str], given: Options) -> dict[str, float]:
    """Seconds, bytes of the peak and bytes of the weights."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(**work), *arguments],
        env=given.child(), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"A child process failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_file(config: ModelConfig, path: Path) -> None:
    """Write a file by the names of published ones, with random numbers of at most 2."""
    import numpy as np

    sys.path.insert(0, str(HERE.parent / "tests"))
    from published import layouts_of, shapes_of

    header, place = {}, 0
    for name, shape in shapes_of(config, layouts_of(config)[0]).items():
        end = place + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, place, 2**26):
            bits = rng.integers(0, 2**16, min(2**26, place - start) // 2, dtype=np.uint16)
            file.write((bits & 0xBFFF).tobytes())  # without the largest exponents, and NaN


def write_configs(config: ModelConfig, folder: Path) -> None:
    """Write the configs of a model folder, and its tokenizers, for diffusers."""
    from sdwidgets.checkpoints import config_json, model_index
    from sdwidgets.configs import SizesConfig
    from sdwidgets.models.tokenizer import clip_tokenizer

    side = config.size // config.autoencoder.factor
    sizes = next((each for each in config.embedders if isinstance(each, SizesConfig)), None)
    unet = config_json.unet_to_json(config.unet, side, sizes)
    contents = {
        "model_index.json": model_index.model_index(config),
        # Stable Diffusion 1 has convolutions around its transformers.
        "unet/config.json": {**unet, "use_linear_projection": config.context_width != 768},
        "vae/config.json": config_json.autoencoder_to_json(config.autoencoder, config.size),
        "scheduler/scheduler_config.json": config_json.schedule_to_json(config.schedule),
    }
    tokenizer = clip_tokenizer()
    merges = "\n".join(" ".join(pair) for pair in tokenizer.merges)
    for text, (encoder, words) in zip(config.text, model_index.folders_of(config), strict=True):
        contents[f"{encoder}/config.json"] = config_json.text_to_json(text)
        contents[f"{words}/vocab.json"] = tokenizer.vocab
        contents[f"{words}/tokenizer_config.json"] = {"tokenizer_class": "CLIPTokenizer"}
        (folder / words).mkdir(parents=True)
        (folder / words / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def config_of(name: str) -> ModelConfig:
    from sdwidgets.configs import SD1, SDXL

    if name == "sdxl":
        return SDXL
    if name == "sd1":
        return SD1
    return replace(  # to try this command in seconds
        SD1,
        unet=replace(SD1.unet, channels=(32, 64, 128, 128)),
        autoencoder=replace(SD1.autoencoder, channels=(32, 64, 128, 128)),
    )


def measured(name: str, given: Options) -> tuple[list[Ratio], dict[str, Any]]:
    """The ratios of a model, and all rounds."""
    config = config_of(name)
    # Half precision keeps XL's 7 GB within the memory of ordinary machines.
    dtype = given.more.dtype or ("bfloat16" if name == "sdxl" else "float32")
    rows: dict[str, list[dict[str, float]]] = {each: [] for each in WORK}
    with tempfile.TemporaryDirectory(prefix="sdwidgets-benchmark-") as scratch:
        path, configs = Path(scratch) / "model.safetensors", Path(scratch) / "configs"
        write_file(config, path)
        write_configs(config, configs)
        print(f"   {name}: {path.stat().st_size / 1e9:.2f} GB, as {dtype}", flush=True)
        arguments = [str(path), str(configs), dtype, PIPELINES.get(name, PIPELINES["sd1"])]

        def work(contestant: str) -> float:
            row = fresh(WORK[contestant], arguments, given)
            rows[contestant].append(row)
            return row["seconds"]

        seconds = interleaved(given.rounds, {each: (lambda each=each: work(each)) for each in WORK})

    def peak(contestant: str) -> float:
        return statistics.median(row["peak"] for row in rows[contestant])

    size = rows["sdwidgets"][0]["weights"]
    ratios = [
        against(f"Loading {name}", seconds, "sdwidgets", "the bytes alone"),
        against(f"Loading {name}", seconds, "sdwidgets", "diffusers", 1.0),
        Ratio(
            f"Peak of loading {name}, in sizes of the weights",
            peak("sdwidgets") / size,
            1.05 if name in PIPELINES else None,
            f"sdwidgets {peak('sdwidgets') / 1e6:.0f} MB",
            f"weights {size / 1e6:.0f} MB",
        ),
        Ratio(
            f"Peak of loading {name}",
            peak("sdwidgets") / peak("diffusers"),
            1.0 if name in PIPELINES else None,
            f"sdwidgets {peak('sdwidgets') / 1e6:.0f} MB",
            f"diffusers {peak('diffusers') / 1e6:.0f} MB",
        ),
    ]
    return ratios, {"dtype": dtype, "rows": rows}


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument(
            "--models", nargs="+", default=["sd1", "sdxl"], choices=["sd1", "sdxl", "tiny"]
        )
        parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the weights")

    given = options(__doc__, 5, add)
    if sys.platform != "linux" or given.device != "cpu":
        raise SystemExit("Peaks of memory are known on Linux alone, and files load to the CPU.")
    question = "How long does a single file take to load, and how much memory?"
    described = begin(question, given)
    ratios: list[Ratio] = []
    numbers: dict[str, Any] = {}
    for name in given.more.models:
        more, numbers[name] = measured(name, given)
        ratios += more
    return report("loading", question, ratios, given, described, **numbers)


if __name__ == "__main__":
    sys.exit(main())
