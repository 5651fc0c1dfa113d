"""How long does a LoRA take to be applied to Stable Diffusion 1 and taken away again?

``python -m benchmarks.lora [--device cuda]``

The network of Stable Diffusion 1 with random weights, and a LoRA of rank 64 for all of its
attention and feed-forward layers, written by diffusers' names, which both read. diffusers loads it
(PEFT), fuses it into the weights, takes it out of them and unloads it. Ours makes new weights
beside the old ones, and goes back to those. What each leaves of the weights is compared.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from .measure import Ratio, against, begin, interleaved, options, report, synchroniser, use_threads
from .models import diffusers_unet


def write_lora(unet: Any, path: Path, rank: int, small: float) -> int:
    """Write a LoRA for the transformers' layers of a network; return how many it has."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for name, weight in unet.named_parameters():
        if ".transformer_blocks." in name and name.endswith(".weight") and weight.ndim == 2:
            key, (outputs, inputs) = f"unet.{name.removesuffix('.weight')}", weight.shape
            tensors[f"{key}.lora_A.weight"] = (small * torch.randn(rank, inputs)).half()
            tensors[f"{key}.lora_B.weight"] = (small * torch.randn(outputs, rank)).half()
    save_file(tensors, path)
    return len(tensors) // 2


def _resident(field: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at most so far."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
        parser.add_argument("--rank", type=int, default=64)

    given = options(__doc__, 5, add)
    question = "How long does a LoRA take to be applied and taken away?"
    described = begin(question, given)

    import torch
    from safetensors.torch import load_file

    from sdwidgets.checkpoints.lora import apply_loras
    from sdwidgets.checkpoints.lora_files import Networks
    from sdwidgets.configs import SD1
    from sdwidgets.loras import Lora
    from sdwidgets.models.unet import UNet

    use_threads(given.threads)
    number = given.more.dtype or ("float32" if given.device == "cpu" else "float16")
    torch.manual_seed(0)
    ours = UNet(SD1.unet).eval().requires_grad_(False).to(given.device, getattr(torch, number))
    original = {name: weight.clone() for name, weight in ours.named_parameters()}
    theirs = diffusers_unet(ours, 64, convolutions=True)  # on the same memory
    sync = synchroniser(given.device)
    extra: dict[str, list[int]] = {"sdwidgets": [], "diffusers": []}

    def counted(name: str, work: Any) -> Any:
        def measured() -> None:
            if given.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                work()
                extra[name].append(torch.cuda.max_memory_allocated() - before)
            elif Path("/proc/self/clear_refs").exists():  # Linux
                Path("/proc/self/clear_refs").write_text("5")  # forget the peak
                before = _resident("VmRSS")
                work()
                extra[name].append(_resident("VmHWM") - before)
            else:
                work()

        return measured

    with tempfile.TemporaryDirectory(prefix="sdwidgets-benchmark-") as scratch:
        file = Path(scratch) / "lora.safetensors"
        count = write_lora(ours, file, given.more.rank, 0.02)
        networks = Networks("sd1", ours, (), SD1.unet, ())

        def our_lora() -> Any:
            return apply_loras(networks, [Lora(file)]).unet

        def their_lora() -> None:
            theirs.load_lora_adapter(load_file(file), prefix="unet")
            theirs.fuse_lora()

        def their_end() -> None:
            theirs.unfuse_lora()
            theirs.unload_lora()

        new = dict(our_lora().named_parameters())
        their_lora()
        fused = {n.replace(".base_layer", ""): w for n, w in theirs.named_parameters()}
        apart = max(
            float((weight - fused[name].view(weight.shape)).abs().max() / weight.abs().max())
            for name, weight in new.items()
        )
        del new, fused
        their_end()
        left = max(
            float((weight - original[name]).abs().max()) for name, weight in ours.named_parameters()
        )
        print(f"   {number}, {count} layers of rank {given.more.rank}: the weights differ by")
        print(
            f"   {apart:.1e} of the largest; diffusers' are {left:.1e} off after the LoRA is gone"
        )

        def both_ways() -> None:
            their_lora()
            their_end()

        work = {
            "sdwidgets": counted("sdwidgets", our_lora),  # the old weights are still there
            "diffusers": counted("diffusers", both_ways),
        }
        seconds = interleaved(given.rounds, work, sync=sync)
    ratios = [against("A LoRA applied and taken away", seconds, "sdwidgets", "diffusers", 1.0)]
    if all(extra.values()):
        most = {name: max(values) for name, values in extra.items()}
        ratios.append(
            Ratio(
                "The most memory meanwhile, beside the model's",
                most["sdwidgets"] / max(most["diffusers"], 1),
                None,
                f"sdwidgets {most['sdwidgets'] / 1e6:.0f} MB",
                f"diffusers {most['diffusers'] / 1e6:.0f} MB",
            )
        )
    return report(
        "lora",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        dtype=number,
        layers=count,
        relative_difference=apart,
        left_by_diffusers=left,
        extra_bytes=extra,
    )


if __name__ == "__main__":
    sys.exit(main())
