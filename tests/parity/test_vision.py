"""CLIP's vision tower against transformers': equal embeddings up to rounding. No diffusers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from references import relative_error
from vocabulary import write_vocabulary

from sdwidgets import load_clip
from sdwidgets.configs import RDM_VISION, VisionConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound
from sdwidgets.models.clip_vision import CLIPVision
from sdwidgets.pixels import to_tensor

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("seeded")]
transformers = pytest.importorskip("transformers")

SMALL = {"size": 24, "patch": 8, "width": 32, "layers": 3, "heads": 4, "hidden": 64}
CONFIGS = {
    "clip b/32": VisionConfig(**SMALL, projection_dim=16),  # type: ignore[arg-type]
    "clip h": VisionConfig(**SMALL, projection_dim=40, activation="gelu"),  # type: ignore[arg-type]
}


def theirs_of(config: VisionConfig) -> Any:
    """Return transformers' tower of these numbers, on the current device."""
    return transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            image_size=config.size,
            patch_size=config.patch,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            hidden_act=config.activation,
            projection_dim=config.projection_dim,
        )
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_are_those_of_transformers(name: str) -> None:
    config = CONFIGS[name]
    ours = CLIPVision(config).eval()
    theirs = theirs_of(config).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(3, 3, config.size, config.size)
    with torch.no_grad():
        assert relative_error(ours(images), theirs(images).image_embeds) < 1e-5


def test_a_whole_clip_is_loaded_from_a_folder(tmp_path: Path) -> None:
    count = write_vocabulary(tmp_path)
    text = {
        "vocab_size": count,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "bos_token_id": count - 2,
        "eos_token_id": count - 1,
        "pad_token_id": count - 1,
    }
    vision = {
        "image_size": 24,
        "patch_size": 8,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)
    theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_clip(tmp_path)
    assert ours.text is not None and ours.width == 20
    images = torch.rand(2, 3, 24, 24) * 2 - 1
    texts = ["a cat", "the dog"]
    with torch.no_grad():
        ids = ours.text.tokenize(texts).ids
        whole = theirs(input_ids=ids, pixel_values=ours.vision.prepared(images))
        assert relative_error(ours.images(images), whole.image_embeds) < 1e-5
        assert relative_error(ours.texts(texts), whole.text_embeds) < 1e-5
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(CheckpointError, match="not of a whole CLIP"):
        load_clip(tmp_path)
    with pytest.raises(CheckpointNotFound):
        load_clip(tmp_path / "nowhere")


@pytest.mark.parametrize("config", [VisionConfig(), RDM_VISION])
def test_published_towers_have_the_names_and_shapes_of_transformers(config: VisionConfig) -> None:
    with torch.device("meta"):
        ours, theirs = CLIPVision(config), theirs_of(config)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes


@pytest.mark.parametrize("size", [(40, 64), (61, 24), (24, 24), (10, 13)])
def test_images_are_prepared_as_clips_own_processor_does(size: tuple[int, int]) -> None:
    config = replace(VisionConfig(), size=24)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 255 / height, columns * 255 / width, rows * columns % 256], axis=-1)
    picture = Image.fromarray(image.astype(np.uint8))
    processor = (
        transformers.CLIPImageProcessorPil
        if hasattr(transformers, "CLIPImageProcessorPil")
        else transformers.CLIPImageProcessor
    )
    theirs = processor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})(
        picture, return_tensors="pt"
    ).pixel_values
    ours = CLIPVision(
        replace(config, patch=8, **{k: SMALL[k] for k in ("width", "layers")}, heads=4)
    )
    # Pillow rounds to whole levels; one level is 0.015
    assert (ours.prepared(to_tensor(picture)) - theirs).abs().max() < 0.05
