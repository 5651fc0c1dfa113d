"""Is a step of a Stable Diffusion 1 network faster than diffusers'?

``python -m benchmarks.sd1_step [--device cuda]``

Both networks share random weights (3.4 GB in float32, once). A guided step is a batch of two
latents of 64 x 64 cells with 77 tokens. Both must give the same result, which is checked first.
They run in float32 on a CPU, where a step takes seconds, and in bfloat16 or float16 on a GPU.
"""

from __future__ import annotations

import sys
from typing import Any

from .measure import against, begin, interleaved, options, report, synchroniser, use_threads
from .models import diffusers_unet


def networks(dtype: Any, device: str, convolutions: bool) -> tuple[Any, Any]:
    """Our UNet of Stable Diffusion 1's shape and diffusers', on the same memory."""
    import torch

    from sdwidgets.configs import SD1
    from sdwidgets.models.unet import UNet

    torch.manual_seed(0)
    ours = UNet(SD1.unet).eval().requires_grad_(False).to(device, dtype)
    return ours, diffusers_unet(ours, 64, convolutions)


def main() -> int:
    def add(parser: Any) -> None:
        parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"])
        parser.add_argument("--batch", type=int, default=2, help="2: one picture, guided")
        parser.add_argument("--cells", type=int, default=64, help="64: 512 pixels")

    given = options(__doc__, 5, add)
    question = "Is a step of a Stable Diffusion 1 network faster than diffusers'?"
    described = begin(question, given)

    import torch

    use_threads(given.threads)
    number = given.more.dtype or ("float32" if given.device == "cpu" else "float16")
    dtype, batch, cells = getattr(torch, number), given.more.batch, given.more.cells
    # Stable Diffusion 1 as it is published has 1x1 convolutions around attention.
    ours, theirs = networks(dtype, given.device, convolutions=True)
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator).to(given.device, dtype)

    x, context = normal(batch, 4, cells, cells), normal(batch, 77, 768)
    t = torch.full((batch,), 500.0, device=given.device)

    @torch.no_grad()
    def our_step() -> Any:
        return ours(x, t, context)

    @torch.no_grad()
    def their_step() -> Any:
        return theirs(x, t, encoder_hidden_states=context, return_dict=False)[0]

    one, other = our_step().float(), their_step().float()
    difference = float((one - other).abs().max() / other.abs().max())
    print(f"   {number}; the two outputs differ by {difference:.1e} of the largest value")
    work: dict[str, Any] = {"sdwidgets": our_step, "diffusers": their_step}
    seconds = interleaved(given.rounds, work, sync=synchroniser(given.device))
    what = f"A guided SD1 step in {number}"
    ratios = [against(what, seconds, "sdwidgets", "diffusers", 1.0)]
    return report(
        "sd1_step",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        dtype=number,
        batch=batch,
        cells=cells,
        relative_difference=difference,
    )


if __name__ == "__main__":
    sys.exit(main())
