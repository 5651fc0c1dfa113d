"""What does it save to diffuse latents instead of pixels?

``python -m benchmarks.latent_against_pixel``

The twins of `sdwidgets.training.zoo`, ``emoji-pixels`` and ``emoji-latents``, are trained in the
same way; one works on 128 x 128 pixels, the other on the bundled autoencoder's 16 x 16 latents. A
training step and an image from noise, decoder included, are timed for both, on weights that are
random: they take as long as trained ones. This is the paper's argument (arXiv 2112.10752, section
4.1) on small models. How good the twins are after equal seconds is in docs/systems.md.
``--quick`` tries the command in seconds: small batches, few steps, a single round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .measure import against, begin, interleaved, options, report, synchroniser, use_threads

TWINS = {"latents": "emoji-latents", "pixels": "emoji-pixels"}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=8, help="of a training step")
    parser.add_argument("--steps", type=int, default=20, help="of an image")
    parser.add_argument("--quick", action="store_true", help="1 image, 2 steps, a single round")


def main() -> int:
    given = options(__doc__, 7, add)
    question = "What does it save to diffuse latents instead of pixels?"
    described = begin(question, given)
    use_threads(given.threads)
    import torch

    from sdwidgets.checkpoints import load_autoencoder, load_model
    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.models.conditioning import condition, conditioned
    from sdwidgets.models.unet import UNet
    from sdwidgets.pipeline import LatentDiffusion, noise_schedule
    from sdwidgets.training.zoo.systems import SYSTEMS

    batch, steps, rounds = given.more.batch, given.more.steps, given.rounds
    if given.more.quick:
        batch, steps, rounds = 1, 2, 1
    bundled = load_model(device=given.device)

    def twin(name: str) -> LatentDiffusion:
        system = SYSTEMS[name]
        torch.manual_seed(0)
        coder = (
            load_autoencoder(system.autoencoder, device=given.device)
            if system.autoencoder
            else Autoencoder(system.config.autoencoder).to(given.device).eval()
        )
        unet = UNet(system.config.unet).to(given.device).eval()
        schedule = noise_schedule(system.config.schedule)
        return LatentDiffusion(system.config, unet, coder, bundled.embedders, schedule)

    twins = {name: twin(system) for name, system in TWINS.items()}
    prompts = ["a cat left of a car on a blue background"] * batch

    def training_step(model: LatentDiffusion) -> Callable[[], object]:
        f, channels = model.config.autoencoder.factor, model.config.autoencoder.latent_channels
        side = model.config.size // f
        x = torch.randn(batch, channels, side, side, device=given.device)
        t = torch.full((batch,), 500.0, device=given.device)
        unet = model.unet.train().requires_grad_(True)
        given_batch = model._batch(prompts)
        with torch.no_grad():
            told = condition(model.embedders, given_batch, join=model.config.join)

        def step() -> None:
            conditioned(unet, told)(x, t).square().mean().backward()
            unet.zero_grad()

        return step

    def image(model: LatentDiffusion) -> Callable[[], object]:
        def made() -> None:
            model.unet.eval().requires_grad_(False)
            model.generate(prompts[0], steps=steps, seed=0)

        return made

    seconds: dict[str, list[float]] = {}
    for what, make in (("a training step", training_step), ("an image", image)):
        work = {f"{what}, {name}": make(model) for name, model in twins.items()}
        seconds |= interleaved(rounds, work, sync=synchroniser(given.device))
    ratios = [
        against(f"Latents for pixels, {what}", seconds, f"{what}, latents", f"{what}, pixels", 0.5)
        for what in ("a training step", "an image")
    ]
    weights = {
        name: sum(weight.numel() for weight in model.unet.parameters())
        for name, model in twins.items()
    }
    return report(
        "latent_against_pixel",
        question,
        ratios,
        given,
        described,
        seconds=seconds,
        batch=batch,
        steps=steps,
        weights=weights,
    )


if __name__ == "__main__":
    sys.exit(main())
