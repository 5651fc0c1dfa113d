"""Embedders against the code of latent diffusion's authors: equal numbers from equal weights.

tests/golden/README.md says how their numbers were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compvis import filled, values
from torch import Tensor, nn

from sdwidgets.configs import (
    AutoencoderConfig,
    BertConfig,
    BoxesConfig,
    ClassConfig,
    LabelMapConfig,
    MaskedImageConfig,
)
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, Held, condition
from sdwidgets.models.embedders import embedders_of
from sdwidgets.models.token_encoder import TokenEncoder

FILE = Path(__file__).parents[1] / "golden" / "latent_diffusion_conditioning.json"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def with_their_weights(module: nn.Module) -> nn.Module:
    """The module, whose weights have the names of theirs, with the numbers of these names."""
    return filled(module, {"": ""})


def image_of(name: str, channels: int) -> Tensor:
    return values(name, (channels, 4, 6)).clamp(-1, 1)


def same(ours: Tensor | None, theirs: list[float]) -> bool:
    assert ours is not None
    return torch.allclose(ours.detach().flatten(), torch.tensor(theirs), rtol=0, atol=1e-5)


def test_the_transformer(golden: dict[str, Any]) -> None:
    encoder = TokenEncoder(BertConfig(vocab_size=60, width=16, layers=2, length=12))
    states = with_their_weights(encoder)(torch.tensor(golden["transformer"]["ids"])).states
    assert states.shape == (2, 12, 16)
    assert same(states, golden["transformer"]["states"])


def test_prompts_with_berts_tokens(golden: dict[str, Any]) -> None:
    (text,) = embedders_of([BertConfig(width=12, layers=1)])
    with_their_weights(text.model)
    prompts = golden["bert"]["prompts"]
    given = [Given(prompt, (8, 8)) for prompt in prompts]
    # The last prompt is cut there; here, it has a second chunk, and the others are repeated.
    tokens = text.tokens(given)
    assert tokens is not None
    assert tokens.ids[:, :77].tolist() == golden["bert"]["ids"]
    context = condition([text], given).context
    assert context is not None
    assert same(context[:, :77, :3], golden["bert"]["states"])


@pytest.mark.parametrize("crop", [True, False])
def test_the_tokens_of_boxes(golden: dict[str, Any], crop: bool) -> None:
    names = tuple(f"class {number}" for number in range(601))
    config = BoxesConfig(names, width=8, layers=1, heads=1, head_width=8, crop=crop)
    (boxes,) = embedders_of([config])
    given = [
        Given(None, (8, 8), boxes=tuple((names[c], tuple(corners)) for c, *corners in layout))
        for layout in golden["layouts"]
    ]
    tokens = boxes.tokens(given)
    assert tokens is not None
    assert tokens.ids.tolist() == golden["boxes with crop" if crop else "boxes"]


def test_a_label_map(golden: dict[str, Any]) -> None:
    (seen,) = embedders_of([LabelMapConfig(("a", "b", "c", "d", "e"), stages=2, channels=3)])
    with_their_weights(seen.model)
    values = torch.tensor(golden["rescaler"]["labels"], dtype=torch.float32).view(1, 16, 24)
    concat = condition([seen], [Given(None, (24, 16), label_map=Held(values))]).concat
    assert same(concat, golden["rescaler"]["channels"])


def test_a_class(golden: dict[str, Any]) -> None:
    (labels,) = embedders_of([ClassConfig(("cat", "dog", "fox"), 6)])
    with_their_weights(labels.model)
    given = [Given(None, (8, 8), label=name) for name in ("cat", "fox", None)]
    assert same(condition([labels], given).context, golden["classes"]["tokens"])


def test_an_image_to_inpaint(golden: dict[str, Any]) -> None:
    identity = Autoencoder(AutoencoderConfig((), latent_channels=3, scaling_factor=1.0))
    config = MaskedImageConfig(3, mask_last=True, signed=True, fill=-1.0)
    (seen,) = embedders_of([config], autoencoder=identity)
    image, mask = image_of("image", 3), (image_of("mask", 1) >= 0).float()
    given = Given(None, (6, 4), image=Held(image), mask=Held(mask))
    assert same(condition([seen], [given]).concat, golden["inpainting"]["concat"])
