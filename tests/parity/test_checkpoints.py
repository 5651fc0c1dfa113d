"""Checkpoints that diffusers writes and reads, and the tables of names against diffusers'."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import compvis_tensors, networks, save_tensors, write_tokenizer
from references import autoencoder_of, copy_weights, relative_error, unet_of
from torch import Tensor

from sdwidgets import LatentDiffusion, load, load_autoencoder, save, save_autoencoder
from sdwidgets.checkpoints import names
from sdwidgets.configs import FIRST_STAGES, SD1, SD2, AutoencoderConfig, ModelConfig
from sdwidgets.models.autoencoder import Autoencoder

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")

# The published models with few channels: levels, attention, heads and prediction are theirs.
_AUTOENCODER = AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4)
_VOCABULARY = {"vocab_size": 521, "bos": 519, "eos": 520}


def _small(config: ModelConfig, width: int, pad: int) -> ModelConfig:
    unet = replace(
        config.unet,
        channels=(16, 32, 48, 48),
        heads=(2, 2, 2, 2) if config is SD1 else (1, 2, 3, 3),
        blocks_per_level=1,
        context_dim=width,
        norm_groups=8,
    )
    text = replace(
        config.text[0], width=width, layers=2, heads=2, hidden=32, pad=pad, **_VOCABULARY
    )
    return replace(
        config, unet=unet, autoencoder=_AUTOENCODER, embedders=(text,), size=64, guidance_scale=7.5
    )


CONFIGS = {"sd1": _small(SD1, 24, 520), "sd2": _small(SD2, 32, 0)}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return CONFIGS[request.param]


def pipeline_of(config: ModelConfig, folder: Path) -> Any:
    """Return diffusers' pipeline of a config, with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    parts, text = networks(config), config.text[0]
    is_sd1 = config is CONFIGS["sd1"]
    unet = unet_of(config.unet, linear=not is_sd1)
    unet.register_to_config(sample_size=config.size // config.autoencoder.factor)
    if is_sd1:  # as in the published config, where a single number is for all levels
        unet.register_to_config(attention_head_dim=2, transformer_layers_per_block=1)
    vae = autoencoder_of(config.autoencoder)
    copy_weights(parts["unet"], unet)
    copy_weights(parts["vae"], vae)
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=text.vocab_size,
            hidden_size=text.width,
            intermediate_size=text.hidden,
            num_hidden_layers=text.layers,
            num_attention_heads=text.heads,
            hidden_act=text.activation,
            bos_token_id=0,  # as wrong as in the published configs
            pad_token_id=1,
            eos_token_id=2,
        )
    )
    state = parts["text_encoder"].state_dict()
    if not any(name.startswith("text_model.") for name in encoder.state_dict()):  # transformers 5
        state = {name.removeprefix("text_model."): value for name, value in state.items()}
    encoder.load_state_dict(state, strict=True)
    vocabulary = write_tokenizer(folder)
    pad = "<|endoftext|>" if is_sd1 else "!"
    (vocabulary / "special_tokens_map.json").write_text(json.dumps({"pad_token": pad}))
    tokenizer = CLIPTokenizer.from_pretrained(str(vocabulary), pad_token=pad, model_max_length=77)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[config.schedule.prediction],
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return diffusers.StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=encoder.eval(),
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def their_picture(pipeline: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    return np.asarray(
        pipeline(
            "a cat",
            num_inference_steps=4,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(5),
        ).images[0]
    )


def our_picture(model: LatentDiffusion) -> np.ndarray:
    settings: dict[str, Any] = {"sampler": "ddim", "schedule": "ddim"}
    trace = model.generate("a cat", steps=4, guidance_scale=3.0, seed=5, **settings)
    return np.asarray(trace.image)


def same_picture(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Check that images are equal but for rounding at half a grey level, and not a flat colour."""
    assert theirs.std() > 5
    return bool(np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1)


def test_a_folder_saved_by_diffusers_gives_the_same_picture(
    config: ModelConfig, tmp_path: Path
) -> None:
    pipeline = pipeline_of(config, tmp_path / "vocabulary")
    pipeline.save_pretrained(tmp_path / "model")
    model = load(tmp_path / "model", device="cpu")
    assert replace(model.config, name=config.name) == config
    assert same_picture(our_picture(model), their_picture(pipeline))


def test_a_folder_in_shards_gives_the_same_picture(tmp_path: Path) -> None:
    pipeline = pipeline_of(CONFIGS["sd1"], tmp_path / "vocabulary")
    pipeline.save_pretrained(tmp_path / "model", max_shard_size="300KB")
    assert len(list((tmp_path / "model" / "unet").glob("*-of-*.safetensors"))) > 1
    model = load(tmp_path / "model", device="cpu")
    assert same_picture(our_picture(model), their_picture(pipeline))


def test_a_folder_saved_by_us_gives_diffusers_the_same_picture(
    config: ModelConfig, tmp_path: Path
) -> None:
    pipeline_of(config, tmp_path / "vocabulary").save_pretrained(tmp_path / "theirs")
    model = load(tmp_path / "theirs", device="cpu")
    save(model, tmp_path / "ours")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        tmp_path / "ours", local_files_only=True
    )
    assert same_picture(our_picture(model), their_picture(pipeline))


def test_the_folder_we_save_makes_diffusers_say_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline_of(CONFIGS["sd1"], tmp_path / "vocabulary").save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs", device="cpu"), tmp_path / "ours")
    capfd.readouterr()
    diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "ours", local_files_only=True)
    said = capfd.readouterr().err
    assert not re.search(r"not expected|unexpected|missing|newly initialized|mismatch", said, re.I)


@pytest.mark.parametrize("name", ["KL-f16", "VQ-f8"])
@torch.no_grad()
def test_an_autoencoder_saved_by_us_is_diffusers_own(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = FIRST_STAGES[name]
    channels = tuple(n // 16 for n in config.channels)
    config = replace(config, channels=channels, norm_groups=4, codes=min(config.codes, 50))
    ours = Autoencoder(config).eval()
    kind = diffusers.VQModel if config.codes else diffusers.AutoencoderKL
    theirs = kind.from_pretrained(save_autoencoder(ours, tmp_path / "saved"))
    assert not re.search(r"not expected|unexpected|missing", capfd.readouterr().err, re.I)
    latents = torch.randn(1, config.latent_channels, 2, 3)
    expected = theirs.decode(latents / config.scaling_factor).sample
    assert relative_error(ours.decode(latents), expected) < 1e-5
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_autoencoder(tmp_path / "theirs", device="cpu")
    assert again.config == config
    assert relative_error(again.decode(latents), expected) < 1e-5


# --------------------------------------------------------------------------------- tables of names


def compvis_file(config: ModelConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
    parts = networks(config)
    return parts, compvis_tensors(parts, config)


def squeezed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return 1x1 convolutions as linear layers."""
    return {
        name: t[:, :, 0, 0] if t.ndim == 4 and t.shape[2:] == (1, 1) else t
        for name, t in tensors.items()
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    ours, theirs = squeezed(ours), squeezed(theirs)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_compvis_names_of_the_unet_are_diffusers_own(config: ModelConfig) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    parts, tensors = compvis_file(config)
    converted = convert_ldm_unet_checkpoint(tensors, unet_of(config.unet).config)
    assert_same(parts["unet"].state_dict(), converted)


def test_compvis_names_of_the_autoencoder_are_diffusers_own(config: ModelConfig) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    parts, tensors = compvis_file(config)
    converted = convert_ldm_vae_checkpoint(tensors, autoencoder_of(config.autoencoder).config)
    assert_same(parts["vae"].state_dict(), converted)


def test_compvis_names_of_clip_are_diffusers_own(config: ModelConfig) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint

    parts, tensors = compvis_file(config)
    converted = convert_ldm_clip_checkpoint(tensors)
    bare = {name.removeprefix("text_model."): t for name, t in converted.items()}
    expected = parts["text_encoder"].state_dict()
    assert_same({name.removeprefix("text_model."): t for name, t in expected.items()}, bare)


def open_clip_tensors(config: ModelConfig) -> tuple[Any, dict[str, Tensor]]:
    """Return the text encoder as in Stable Diffusion 2's single file, with an unused last layer."""
    encoder = networks(config)["text_encoder"]
    lookup = names.open_clip_names(config.text[0])
    pieces: dict[str, dict[int, Tensor]] = {}
    for name, tensor in encoder.state_dict().items():
        source = lookup(name)[0]
        pieces.setdefault(source.name, {})[source.part] = tensor
    tensors = {
        name: torch.cat([parts[i] for i in range(len(parts))]) for name, parts in pieces.items()
    }
    last = f"transformer.resblocks.{config.text[0].layers}"
    for name in list(tensors):
        if ".resblocks.0." in name:
            tensors[name.replace("transformer.resblocks.0", last)] = tensors[name] + 1
    tensors[names.OPEN_CLIP + "text_projection"] = torch.zeros(
        config.text[0].width, config.text[0].width
    )
    return encoder, tensors


def test_names_of_open_clip_are_diffusers_own() -> None:
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    config = CONFIGS["sd2"]
    encoder, tensors = open_clip_tensors(config)
    converted = convert_open_clip_checkpoint(encoder, tensors)
    theirs = {name.removeprefix("text_model."): tensor for name, tensor in converted.items()}
    ours = {name.removeprefix("text_model."): t for name, t in encoder.state_dict().items()}
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_one_compvis_file_gives_the_same_picture(config: ModelConfig, tmp_path: Path) -> None:
    _, tensors = compvis_file(config)
    if config is CONFIGS["sd2"]:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("cond_stage")}
        tensors |= open_clip_tensors(config)[1]
    path = save_tensors(tensors, tmp_path / "model.safetensors")
    pipeline = pipeline_of(config, tmp_path / "tokenizer")  # beside the file, where it is found
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = load(path, config=config, device="cpu")
    said = [str(w.message) for w in caught if "left out" in str(w.message)]
    assert len(said) == (config is CONFIGS["sd2"])  # its last layer and its projection are left out
    assert same_picture(our_picture(model), their_picture(pipeline))
