"""The parts of a model as training tasks, each built on the checkpoints of the parts before."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoints import save_autoencoder, save_model
from ..checkpoints.features import bundled_features
from ..configs import SCENE_STAGES, ModelConfig
from ..errors import InputError
from ..models.autoencoder import Autoencoder
from ..models.clip import CLIPText
from ..models.text import TextEncoder
from ..models.tokenizer import load_tokenizer
from ..models.unet import UNet, zero_residuals
from ..pipeline import LatentDiffusion, noise_schedule
from ..scenes import SIZE, Glyphs, caption_words
from ..trace import fit_preview
from .adversary import Adversary
from .autoencoder import AutoencoderTask, Trained
from .checkpoint import averaged, save_atomically
from .data import Scenes, draw, scene_at
from .latents import cached_latents
from .loop import Plan, Task, placed
from .naming import NamingTask, WithCells
from .recognizer import Recognizer, RecognizerTask
from .scaling import absorb_shift, quieten, standardize
from .text import Contrast, SceneTwins, TextTask, caption_vocabulary, kept_weights


def trained_autoencoder(
    config: ModelConfig, runs: Path, glyphs: Glyphs, device: str = "cpu"
) -> Autoencoder:
    """The autoencoder of the runs folder, its latents scaled to unit variance."""
    model = Autoencoder(config.autoencoder)
    weights = averaged(needed(runs / "autoencoder.pt", "autoencoder"))
    model.load_state_dict(Trained.kept(weights))
    model = placed(model.eval().requires_grad_(False), device)
    model.config = standardize(model, _whole_scenes(glyphs))
    if (runs / "decoder.pt").exists():
        model.load_state_dict(Trained.kept(averaged(runs / "decoder.pt")))
    return model


def trained_first_stage(name: str, runs: Path, glyphs: Glyphs, device: str = "cpu") -> Autoencoder:
    """An autoencoder of `SCENE_STAGES` from the runs folder, latents scaled to unit variance."""
    model = Autoencoder(SCENE_STAGES[name])
    weights = averaged(needed(runs / f"{name}.pt", f"first-stage --name {name}"))
    model.load_state_dict(Trained.kept(weights))
    model = placed(model.eval().requires_grad_(False), device)
    model.config = standardize(model, _whole_scenes(glyphs))
    absorb_shift(model)
    return model


def _whole_scenes(glyphs: Glyphs) -> torch.Tensor:
    """The scenes on which latents are scaled [256, 3, 128, 128]."""
    return draw([scene_at(1, i) for i in range(256)], glyphs)


def pack_first_stages(runs: Path, glyphs: Glyphs, folder: Path) -> list[Path]:
    """The folders of all trained autoencoders of `SCENE_STAGES`, written in float16."""
    done = [name for name in SCENE_STAGES if (runs / f"{name}.pt").exists()]
    return [
        save_autoencoder(
            trained_first_stage(name, runs, glyphs), folder / name.lower(), dtype="float16"
        )
        for name in done
    ]


def needed(checkpoint: Path, part: str) -> Path:
    """A checkpoint that must exist. Raises InputError, naming the ``part`` to train, if not."""
    if not checkpoint.exists():
        raise InputError(
            f"{checkpoint} does not exist yet.\nTrain it first: python -m sdwidgets.training {part}"
        )
    return checkpoint


def trained_text(config: ModelConfig, runs: Path, device: str = "cpu") -> TextEncoder:
    """The frozen text encoder of the runs folder, with its tokenizer."""
    (text,) = config.text
    model = CLIPText(text)
    weights = kept_weights(averaged(needed(runs / "text.pt", "text")), text)
    model.load_state_dict(weights, strict=True)
    model = model.eval().requires_grad_(False).to(device)
    return TextEncoder(text, model, load_tokenizer(runs / "tokenizer"))


def pack(config: ModelConfig, runs: Path, glyphs: Glyphs, folder: Path) -> LatentDiffusion:
    """The model of the runs folder, written to ``folder`` in float16."""
    autoencoder = trained_autoencoder(config, runs, glyphs)
    absorb_shift(autoencoder)
    unet = UNet(config.unet)
    trained = averaged(needed(runs / "diffusion.pt", "diffusion"))
    unet.load_state_dict(WithCells.kept(trained), strict=True)
    scenes = [scene_at(0, i) for i in range(200)]
    images = draw(scenes, glyphs)
    latents = torch.cat([autoencoder.encode(some).mode() for some in images.split(25)])
    model = LatentDiffusion(
        config=replace(config, autoencoder=autoencoder.config),
        unet=unet.eval().requires_grad_(False),
        autoencoder=autoencoder,
        embedders=(trained_text(config, runs),),
        schedule=noise_schedule(config.schedule),
        preview=fit_preview(latents, images),
        vocabulary=caption_words(),
    )
    save_model(model, folder, dtype=torch.float16)
    return model


def unpack(model: LatentDiffusion, tokenizer: Path, runs: Path) -> None:
    """Write ``model`` into the runs folder as checkpoints at step 0.

    The denoiser then continues from its weights, on the autoencoder and the text encoder it was
    trained with. Raises InputError rather than overwrite a file."""
    (text,) = model.embedders
    weights = {
        "autoencoder": {f"autoencoder.{k}": v for k, v in model.autoencoder.state_dict().items()},
        "text": {f"text.{k}": v for k, v in text.model.state_dict().items()},
        "diffusion": {f"unet.{k}": v for k, v in model.unet.state_dict().items()},
    }
    files = {part: runs / f"{part}.pt" for part in weights}
    for file in [*files.values(), runs / "tokenizer"]:
        if file.exists():
            raise InputError(f"{file} already exists.\nMove it away, or give another --runs.")
    shutil.copytree(tokenizer, runs / "tokenizer")
    for part, file in files.items():
        half = {k: v.detach().cpu().float() for k, v in weights[part].items()}
        save_atomically({"model": half, "ema": half, "step": 0}, file)


def task(
    part: str,
    config: ModelConfig,
    runs: Path,
    device: str,
    glyphs: Glyphs,
    plan: Plan,
    scenes: int = 20_000,
    name: str = "",
) -> Task:
    """The training task of ``part`` on ``device``.

    Diffusion caches ``scenes`` latents; ``name`` picks an autoencoder of `SCENE_STAGES`."""
    if part == "autoencoder":
        model = Autoencoder(replace(config.autoencoder, scaling_factor=1.0, shift_factor=0.0))
        quieten(model)
        return AutoencoderTask(
            placed(Trained(model), device),
            Scenes(plan.seed, SIZE, glyphs=glyphs),
            l2=4.0,
            kl=5e-3,
            large_from=plan.steps * 7 // 10,
        )
    if part == "first-stage":
        model = Autoencoder(SCENE_STAGES[name])
        quieten(model)
        return AutoencoderTask(
            placed(Trained(model, Adversary(width=16, layers=2)), device),
            Scenes(plan.seed, SIZE, glyphs=glyphs),
            bundled_features(device),
            adversary=0.1,
            adversary_from=plan.steps * 6 // 10,
            large_from=plan.steps * 8 // 10,
        )
    if part == "text":
        folder = runs / "tokenizer"
        found = caption_vocabulary(folder)
        (text,) = config.text
        if (found.vocab_size, found.pad) != (text.vocab_size, text.pad):
            raise InputError(
                f"The captions make a vocabulary of {found.vocab_size} tokens, but the config says"
                f" {text.vocab_size}.\nCorrect the numbers of the preset in configs.py."
            )
        twins, contrast = SceneTwins(plan.seed, glyphs), Contrast(text).to(device)
        reader = TextEncoder(text, contrast.text, load_tokenizer(folder))
        return TextTask(contrast, reader, twins, len(twins), group=2, seed=plan.seed)
    if part == "recognizer":
        return RecognizerTask(placed(Recognizer(), device), glyphs)
    if part == "decoder":
        model = trained_autoencoder(config, runs, glyphs, device).train()
        model.decoder.requires_grad_(True)
        model.post_quant_conv.requires_grad_(True)
        crops = Scenes(plan.seed + 1, SIZE, glyphs=glyphs)
        return AutoencoderTask(Trained(model), crops, l2=4.0, kl=5e-3, decoder_only=True)
    if part == "diffusion":
        encoder = trained_autoencoder(config, runs, glyphs, device)
        pictures = Scenes(plan.seed, SIZE, glyphs=glyphs, count=scenes)
        unet = UNet(config.unet)
        zero_residuals(unet)
        return NamingTask(
            model=placed(WithCells(unet), device),
            config=replace(config, autoencoder=encoder.config),
            pictures=pictures,
            latents=cached_latents(encoder, pictures, scenes, runs / "latents.pt"),
            autoencoder=encoder,
            embedders=(trained_text(config, runs, device),),
            scenes=[scene_at(plan.seed, number) for number in range(scenes)],
            seed=plan.seed,
        )
    raise InputError(f"There is no part {part!r}.")
