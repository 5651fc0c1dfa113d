"""What the network of a run is told of each image: its prompt, sizes, numbers and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .configs import GuidanceConfig, ImageConfig, LowResolutionConfig
from .diffusion import NoiseSchedule
from .models.conditioning import Given, Held, Tokens, ends_of
from .pixels import to_tensor
from .prompts import without_marks
from .settings import Settings
from .trace.tokens import PromptTokens
from .vocabulary import unknown_notice

if TYPE_CHECKING:
    from .pipeline import LatentDiffusion


TOWARD = ("label_map", "neighbours")
"""What guidance leads towards, as it does towards the prompt, among the images of a run."""

MOST_UNKNOWN = 5
"""How many words that a vocabulary does not have are named."""


@dataclass(frozen=True, eq=False)
class Told:
    """The inputs of a model's network for a batch.

    ``given``: first for each image with its prompt; if guided, once more with the negative prompts
    and, where an image guides, too, without that image. ``read``: the tokens of all of these;
    ``tokens`` and ``negative``: those of the prompts and of the negative prompts (None without
    guidance).
    """

    given: tuple[Given, ...]
    read: Tokens
    tokens: Tokens
    negative: Tokens | None
    notices: tuple[str, ...]

    @classmethod
    def of(cls, model: LatentDiffusion, settings: Settings, seen: Mapping[str, Any]) -> Told:
        """What the model is told in a run with these checked settings; ``seen`` is that of `seen`.

        Raises InputError for inputs that the model does not take.
        """
        config = model.config
        given = _given(model, settings, settings.prompts, seen)
        tokens = model.tokenize(given)
        notices = _token_notices("prompt", tokens)
        if others := ends_of(given)[len(given) :]:
            notices += _token_notices("prompt of toward", model.tokenize(others))
        negative: Tokens | None = None
        if settings.is_guided and not config.has(GuidanceConfig):
            prompts = [prompt or None for prompt in settings.negative_prompts]
            away = _given(model, settings, prompts, seen, away=True)
            negative = model.tokenize(away)
            notices += _token_notices("negative prompt", negative)
            given += away  # after the prompts' half
            if config.has(ImageConfig):  # the image guides, too
                given += [replace(each, image=None) for each in away]
        said = (*settings.prompts, *(settings.negative_prompts if negative else ()))
        said += tuple(each.prompt or "" for each in others[:1])
        words = without_marks if settings.weights != "none" else str
        notices += unknown_notice(map(words, said), model.vocabulary)
        read = model.tokenize(given)  # together: their contexts have the same length
        notices += _length_notices(model.tokenize(ends_of(given)))
        return cls(tuple(given), read, tokens, negative, notices)

    @property
    def is_guided(self) -> bool:
        """Whether the network predicts without the prompts, too."""
        return self.negative is not None

    @property
    def has_words(self) -> bool:
        """Whether there are tokens to choose from: a lone token takes all attention."""
        return self.tokens.ids.shape[1] > 1

    def prompt_tokens(self, settings: Settings) -> tuple[PromptTokens, ...]:
        """Each image's prompt as the network reads it."""
        return _prompt_tokens(settings.prompts, self.tokens)

    def negative_tokens(self, settings: Settings) -> tuple[PromptTokens, ...]:
        """Each image's negative prompt as the network reads it; () without guidance."""
        if self.negative is None:
            return ()
        return _prompt_tokens(settings.negative_prompts, self.negative)


def seen(
    image: Image.Image | None,
    mask: Image.Image | None,
    depth: np.ndarray | None,
    label_map: np.ndarray | None = None,
    neighbours: Sequence[Image.Image] = (),
) -> dict[str, Any]:
    """The images that a network may see, by their fields of `Given`.

    Only what is new, 255 in the mask, is hidden from it: it sees the image below a seam.
    """
    held = {}
    if image is not None:
        held["image"] = to_tensor(image)[0]
    if mask is not None:
        held["mask"] = torch.from_numpy((np.asarray(mask) == 255).astype(np.float32))[None]
    if depth is not None:
        held["depth"] = torch.from_numpy(depth)[None]
    if label_map is not None:
        held["label_map"] = torch.from_numpy(label_map.astype(np.float32))[None]
    found: dict[str, Any] = {name: Held(values) for name, values in held.items()}
    if neighbours:
        found["neighbours"] = tuple(Held(to_tensor(each)[0]) for each in neighbours)
    return found


def with_noise(given: Sequence[Given], config: LowResolutionConfig, noise: Tensor) -> list[Given]:
    """What is given, with noise [B, 3, h, w] of its level on the small image, as in training."""
    sigmas = NoiseSchedule.from_betas(config.levels, config.beta_start, config.beta_end).sigmas
    noisy = []
    for index, each in enumerate(given):
        assert each.image is not None
        sigma = float(sigmas[each.noise_level or 0])
        image = each.image.values + sigma * noise[index % len(noise)].to(each.image.values.device)
        noisy.append(replace(each, image=Held(image / (1 + sigma**2) ** 0.5)))
    return noisy


def _given(
    model: LatentDiffusion,
    settings: Settings,
    prompts: Sequence[str | None],
    seen: Mapping[str, Any],
    *,
    away: bool = False,
) -> list[Given]:
    """What the network is told of each image; ``away``: where guidance leads away from."""
    score = settings.negative_aesthetic_score if away else settings.aesthetic_score
    facts: dict[str, Any] = {
        "aesthetic_score": score,
        "noise_level": settings.noise_level,
        "guidance_scale": settings.guidance_scale,
        **seen,
    }
    taken = frozenset[str]().union(*(each.inputs for each in model.embedders))
    facts = {name: fact for name, fact in facts.items() if name in taken}
    sizes = (settings.size, settings.original_size, settings.crop, settings.target_size)
    facts |= {"toward": None if away else settings.toward, "reading": settings.reading}
    if away:  # from nothing: no class, no layout, no map, no neighbours
        facts = {name: fact for name, fact in facts.items() if name not in TOWARD}
        return [Given(prompt, *sizes, **facts) for prompt in prompts]
    return [
        Given(prompt, *sizes, **facts, label=None if label is None else str(label), boxes=boxes)
        for prompt, label, boxes in zip(prompts, settings.labels, settings.layouts, strict=True)
    ]


def _prompt_tokens(prompts: Sequence[str], tokens: Tokens) -> tuple[PromptTokens, ...]:
    return tuple(PromptTokens.of(prompt, tokens, row) for row, prompt in enumerate(prompts))


def _length_notices(tokens: Tokens) -> tuple[str, ...]:
    """A notice of contexts that could not be repeated to the same length."""
    if not tokens.padded:
        return ()
    counts = ", ".join(map(str, sorted(set(tokens.chunks))))
    return (
        f"The prompts have different numbers of chunks ({counts}); empty chunks follow the shorter"
        " ones, so an image may differ from the one made alone.",
    )


def _token_notices(what: str, tokens: Tokens) -> tuple[str, ...]:
    cuts = [cut if len(cut) <= 200 else cut[:200] + " ..." for cut in tokens.cut if cut]
    return (
        *(f"The {what} is too long; the model does not see: {cut}" for cut in dict.fromkeys(cuts)),
        *(
            f"The {what} has {control}, which the model does not read as text: it is a control"
            " token, as at a prompt's start or end."
            for control in tokens.controls
        ),
        *(
            f"The {what} has {word[:40]}, which the model's vocabulary does not have."
            for word in tokens.unknown[:MOST_UNKNOWN]
        ),
    )
