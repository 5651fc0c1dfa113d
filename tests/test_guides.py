"""Ready guides: what they measure, and that their data makes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdwidgets import guides
from sdwidgets.configs import (
    TINY,
    ClassifierConfig,
    ModelConfig,
    NeighboursConfig,
    TextConfig,
    VisionConfig,
)
from sdwidgets.errors import InputError
from sdwidgets.guiding import Guiding
from sdwidgets.models.classifier import NoisyClassifier
from sdwidgets.models.clip_space import space_of
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.usefixtures("seeded")
RED = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
VISION = VisionConfig(size=16, patch=8, width=16, layers=1, heads=2, hidden=32, projection_dim=24)


def picture() -> Image.Image:
    return Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))


def test_colours_and_their_parts() -> None:
    half = RED.clone()
    half[..., 8:] = -1  # black on the right
    both = torch.cat([RED, half])
    assert guides.colour("red")(both).tolist() == pytest.approx([0, 2 / 3])
    assert guides.colour("#ff0000", (0, 0, 0.5, 1))(both).tolist() == pytest.approx([0, 0])
    assert guides.colour("black", (0.5, 0, 1, 1))(both).tolist() == pytest.approx([4 / 3, 0])


def test_like_is_0_for_the_image_itself() -> None:
    guide = guides.like(picture(), 8)
    pixels = torch.from_numpy(np.array(picture())).permute(2, 0, 1)[None] / 127.5 - 1
    assert guide(pixels)[0] < 1e-4 < guide(-pixels)[0]
    assert guide(torch.cat([pixels, -pixels])).shape == (2,)


def test_symmetry_and_smoothness() -> None:
    images = torch.rand(2, 3, 8, 8)
    images[0] = (images[0] + images[0].flip(-1)) / 2
    across, down = guides.symmetric()(images), guides.symmetric("horizontal")(images)
    assert across[0] < 1e-10 < across[1] and (down > 1e-3).all()
    assert guides.smooth()(RED).tolist() == [0] and (guides.smooth()(images) > 0).all()


@pytest.mark.parametrize(
    "guide",
    [
        guides.colour("red", (0, 0, 0.5, 1)),
        guides.like(picture(), 4, through=False),
        guides.symmetric("horizontal"),
        guides.smooth(through=False),
        guides.together(guides.colour("blue"), guides.smooth(), weights=(1, 0.5)),
    ],
)
def test_data_makes_the_guide_again(guide: Any) -> None:
    data = json.loads(json.dumps(guides.plain(guide)))
    again = guides.made(data)
    assert again == guide and again.through == guide.through
    images = torch.rand(2, 3, 12, 12).requires_grad_()
    loss = guide(images)
    assert loss.shape == (2,) and torch.equal(again(images), loss)
    (slope,) = torch.autograd.grad(loss.sum(), images)
    assert slope.isfinite().all() and slope.any()


def test_a_classifier_of_noisy_latents_leads_to_its_class(tiny_model: LatentDiffusion) -> None:
    unet = replace(TINY.unet, depths=(0, 0), context_dim=0)
    judge = NoisyClassifier(ClassifierConfig(unet, ("cat", "dog"), pool="adaptive")).eval()
    torch.nn.init.normal_(list(judge.parameters())[-2])  # new classifiers know nothing
    dog = guides.classifier(judge, "dog")
    x, sigma = torch.randn(1, 4, 8, 8), 2.0
    t = torch.full((1,), float(tiny_model.schedule.t(sigma)))
    guiding = Guiding(dog, tiny_model.autoencoder, 1.0, tiny_model.schedule)
    slope = guiding.noisy_slope(x, sigma)
    with torch.no_grad():
        before, after = (
            dog.noisy(each / 5**0.5, t) for each in (x, x - 1e-2 * slope / slope.norm())
        )
        chances = [guides.classifier(judge, n).noisy(x, t).neg().exp() for n in ("cat", "dog")]
    assert slope.any() and after < before
    assert float(sum(chances)) == pytest.approx(1, abs=1e-4)
    settings: dict[str, Any] = {"steps": 2, "seed": 0}
    *_, plain = tiny_model.sample("a cat", **settings)
    *_, led = tiny_model.sample("a cat", guide=dog, guide_scale=20, **settings)
    assert torch.isfinite(led.x_next).all() and not torch.allclose(led.x_next, plain.x_next)
    assert guides.plain(dog) == {"name": "function", "function": "Classifier"}
    with pytest.raises(InputError, match="label"):
        guides.classifier(judge, "fish")


def test_a_function_is_named_and_cannot_be_made_again() -> None:
    def my_loss(images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))

    data = guides.plain(my_loss)
    assert data["name"] == "function" and data["function"].endswith("my_loss")
    with pytest.raises(InputError, match=r"(?s)my_loss.*cannot keep"):
        guides.made(data)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"name": 3},
        {"name": "magic"},
        {"name": "colour"},
        {"name": "colour", "colour": "no such"},
        {"name": "colour", "colour": "red", "part": [0, 0, 2, 1]},
        {"name": "colour", "colour": "red", "more": 1},
        {"name": "smooth", "through": "yes"},
        {"name": "like", "png": "AAAA", "size": 4},
        {"name": "symmetric", "axis": "round"},
        {"name": "together", "guides": [], "weights": []},
        {"name": "together", "guides": [{"name": "smooth"}], "weights": ["a"]},
        {"name": "together", "guides": [{"name": "together"}], "weights": [1]},
    ],
)
def test_other_data_is_refused(data: Any) -> None:
    with pytest.raises(InputError):
        guides.made(data)


def test_text_is_the_squared_angle_and_its_cutouts_follow_the_step(
    make_model: Callable[[ModelConfig], LatentDiffusion],
) -> None:
    text = TextConfig(
        vocab_size=300, width=16, layers=1, heads=2, hidden=32, bos=298, eos=299, projection_dim=24
    )
    told = NeighboursConfig(width=24, vision=VISION, text=text)
    model = make_model(replace(TINY, embedders=(told,)))
    clip = space_of(model.embedders)
    assert clip is not None
    images = (torch.rand(2, 3, 20, 16) * 2 - 1).requires_grad_()
    whole = guides.text("a cat", clip, 0)(images)
    angle = (clip.images(images) * clip.texts(["a cat"])).sum(-1).acos()
    assert torch.allclose(whole, angle.square() / 2, rtol=1e-3, atol=1e-4)
    guide = guides.text("a cat", clip, 4)
    first, second = guide.at(0)(images), guide.at(1)(images)
    assert torch.allclose(first, guide.at(0)(images)) and not torch.allclose(first, second)
    (slope,) = torch.autograd.grad(first.sum(), images)
    assert slope.isfinite().all() and slope.any()
    *_, step = model.sample("a cat", steps=2, seed=0, guide=guide)
    assert torch.isfinite(step.x_next).all()
