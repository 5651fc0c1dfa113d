"""Is our sampling loop faster than diffusers' with the same weights?

``python -m benchmarks.against_diffusers [--device cuda]``

One process holds the model twice, from the same files: as ours and as diffusers'
StableDiffusionPipeline. In turns, both make the same image (checked first) in 20 guided steps, from
prompt to PIL image. Then the network is replaced by one that does nothing: what remains of a step
is the loop's own time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .measure import (
    against,
    begin,
    interleaved,
    options,
    report,
    synchroniser,
    use_threads,
)
from .models import PROMPT, model_folder

STEPS = 20


@contextmanager
def forward_of(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """A context in which a module has another forward."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # back to the class's own


def main() -> int:
    given = options(
        __doc__, 15, lambda p: p.add_argument("--model", default="emoji", help="emoji, sd1, a path")
    )
    question = "Is our sampling loop faster than diffusers' with the same weights?"
    described = begin(question, given)

    import numpy as np
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    import sdwidgets as sdw

    use_threads(given.threads)
    with model_folder(given.more.model) as folder:
        model = sdw.load(folder, device=given.device)
        pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
        pipeline.to(given.device, model.dtype)
    pipeline.set_progress_bar_config(disable=True)
    # Their DPM-Solver++(2M) with Stable Diffusion's settings, and ours on its grid.
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="leading", steps_offset=1
    )
    guidance, size = model.config.guidance_scale, model.config.size
    side = size // model.config.autoencoder.factor
    noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(0))
    theirs_noise = noise.to(given.device, model.dtype)

    def ours() -> Any:
        return model.generate(
            PROMPT, steps=STEPS, schedule="dpmsolver", guidance_scale=guidance, latents=noise
        ).image

    def theirs() -> Any:
        return pipeline(
            PROMPT,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            latents=theirs_noise,
            width=size,
            height=size,
        ).images[0]

    images = [np.asarray(make(), dtype=np.int16) for make in (ours, theirs)]
    difference = int(np.abs(images[0] - images[1]).max())
    print(f"   the two images differ by at most {difference} of 255 levels")

    sync = synchroniser(given.device)
    work = {"sdwidgets": ours, "diffusers": theirs}
    whole = interleaved(given.rounds, work, sync=sync)
    print("   with a network that does nothing:")
    with (
        forward_of(model.unet, lambda x, *_: x),
        forward_of(pipeline.unet, lambda sample, *_, **__: (sample,)),
        forward_of(model.autoencoder.decoder, lambda z, *_, **__: _blank(z, size)),
        forward_of(pipeline.vae.decoder, lambda z, *_, **__: _blank(z, size)),
    ):
        empty = interleaved(given.rounds, work, sync=sync)
    per_step = {name: [s / STEPS for s in seconds] for name, seconds in empty.items()}
    ratios = [
        against("Prompt to image, same weights", whole, "sdwidgets", "diffusers", 0.9),
        against("A step's own time around the network", per_step, "sdwidgets", "diffusers", 0.9),
    ]
    return report(
        "against_diffusers",
        question,
        ratios,
        given,
        described,
        whole_run=whole,
        step_around_the_network=per_step,
        largest_difference_in_levels=difference,
        model=model.name,
    )


def _blank(z: Any, size: int) -> Any:
    """The image [B, 3, H, W] of a decoder that does nothing."""
    return z.new_zeros(z.shape[0], 3, size, size)


if __name__ == "__main__":
    sys.exit(main())
