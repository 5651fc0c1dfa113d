"""What the network of a checkpoint predicts, at which noise it ends, and how that was decided.

A network that was trained to predict v makes noise if its output is read as eps, and nothing fails.
So every place that can tell is asked, in this order: the caller; the config; marks in the file of
weights; its metadata; a file beside it. Where two of these disagree, nothing is loaded until the
caller decides. If none says anything, the weights themselves are looked at, and last the family:
both are guesses, which are told.

The marks are those that other programs write: the empty tensors "v_pred" and "ztsnr" (ComfyUI), the
metadata of ModelSpec (https://github.com/Stability-AI/ModelSpec) and of kohya's sd-scripts, and a
.yaml with the file's name, as for CompVis's and Stability's code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..configs import (
    EMOJI,
    SD2,
    ModelConfig,
    Prediction,
    PredictionSource,
    UNetConfig,
)
from ..errors import CheckpointError
from ..untrusted import open_regular
from . import config_json
from .families import family_of
from .few_steps import LIKE_TURBO
from .layout import Layout
from .weights import FLOATS, WeightFile, quoted

BUNDLED = (
    Path(__file__).resolve().parents[1]
    / "weights" / "emoji" / "unet" / "diffusion_pytorch_model.safetensors"
)  # fmt: skip

_SIZES = {"eps": 512, "v": 768, "x0": 512}  # pixels, of Stable Diffusion 2's published models
_ARCHITECTURES: dict[str, Prediction] = {
    "stable-diffusion-v2-512": "eps",
    "stable-diffusion-v2-768-v": "v",
}
_KOHYA: dict[str, Prediction] = {"sd_v1_v": "v", "sd_v2": "eps", "sd_v2_v": "v"}
# Marks of noise levels and preconditionings that this kit does not have.
_OTHER_NOISE = {
    "edm_mean": "EDM's preconditioning, of latents with a mean and deviation of their own "
    "(as Playground 2.5)",
    "edm_std": "EDM's preconditioning, of latents with a mean and deviation of their own "
    "(as Playground 2.5)",
    "edm_vpred.sigma_max": "EDM's noise levels with v-prediction (as CosXL)",
    "edm_vpred.sigma_min": "EDM's noise levels with v-prediction (as CosXL)",
}
_PURE_NOISE = 1e-4  # what is left of the image; Stable Diffusion leaves 0.0047
_YAML_LIMIT = 2**18  # bytes


class Sign(NamedTuple):
    """What a place says about the prediction."""

    prediction: Prediction
    source: PredictionSource
    place: str  # "its mark 'v_pred'"


def settled(layout: Layout, wanted: Prediction | None, zero_snr: bool | None = None) -> Layout:
    """Return the layout with what its network predicts, how that was decided, and notices.

    ``wanted`` and ``zero_snr`` (whether the noise ends in pure noise) are what the caller asks for;
    they are taken, with a notice if the file of weights says something else. Raises
    ``CheckpointError`` for two answers, and for noise that this kit lacks.
    """
    _check_noise(layout.weights[0].files[0])
    found = _ending(_predicting(layout, wanted), zero_snr, layout.prediction_source)
    few = found.few_steps
    if few is None or few.is_certain:
        return found
    return replace(found, notices=(*found.notices, few.notice(found.shown)))


def _predicting(layout: Layout, wanted: Prediction | None) -> Layout:
    """Return the layout with what its network predicts."""
    own = layout.config.schedule.prediction
    signs = list(_signs(layout.weights[0].files[0]))
    if layout.prediction_source != "family":
        signs.insert(0, Sign(own, layout.prediction_source, "the config"))
    signs += _bundled(layout)
    if wanted is not None:
        others = [sign for sign in signs if sign.prediction != wanted and sign.source == "file"]
        told = [f"prediction={wanted!r} was asked for, but {_told(others)}."] if others else []
        return _with(layout, wanted, "caller", *told)
    if len({sign.prediction for sign in signs}) > 1:
        raise CheckpointError(
            f"{layout.path}: what the network predicts is in doubt: {_told(signs)}.\n"
            f"Decide with prediction={signs[0].prediction!r} or {signs[-1].prediction!r}; "
            "the wrong choice makes noise."
        )
    guess = _by_weights(layout)
    if signs:
        found, source = signs[0].prediction, signs[0].source
        said = []
        if guess is not None and guess != found:
            said.append(
                f"{layout.shown}: {signs[0].place} says that it predicts {found}, but its "
                f"weights look like {guess}. If images are noise, pass prediction={guess!r}."
            )
        decided = f"{signs[0].place.replace('the config', 'its config')} says so"
        return replace(_with(layout, found, source, *said), decided=decided)
    if guess is not None:
        doubt = (
            f"{layout.shown} does not say what it predicts; its weights look like {guess}. "
            f"If images are noise, pass prediction={_other(guess)!r}."
        )
        return replace(
            _with(layout, guess, "file", doubt), decided="its weights look like it, nothing says so"
        )
    if _is_sd2(layout.config) and own == "v":
        return _with(
            layout,
            own,
            "family",
            f"{layout.shown} does not say what it predicts; v-prediction was assumed, as in Stable "
            "Diffusion 2 for 768 pixels. For its base model of 512 pixels, pass prediction='eps'.",
        )
    # The usual case of all other families: a notice that no run has to repeat.
    family = family_of(layout.config.unet)
    said_once = (
        f"{layout.shown} does not say what it predicts; {own} was assumed, as in "
        f"{family.title if family else 'its family'}. If images are noise, pass "
        f"prediction={_other(own)!r}."
    )
    return replace(layout, said=(*layout.said, said_once))


def _ending(layout: Layout, wanted: bool | None, origin: PredictionSource) -> Layout:
    """Return the layout with whether its noise ends in pure noise; ``origin`` is where its config
    came from."""
    schedule = layout.config.schedule
    signs = list(_signs_of_pure_noise(layout.weights[0].files[0]))
    told = []
    if wanted is not None:
        found = wanted
        if signs and not wanted:
            told.append(f"zero_snr=False was asked for, but {signs[0]} says that it is.")
    else:
        found = schedule.zero_snr or bool(signs)
        if signs and not schedule.zero_snr and origin == "config":
            told.append(
                f"{layout.shown}: {signs[0]} says that its noise ends in pure noise, unlike its "
                "config. If images are wrong, pass zero_snr=False."
            )
    if found and schedule.prediction == "eps":
        told.append(
            f"{layout.shown} predicts eps, but its noise ends in pure noise, where eps tells "
            "nothing about the image. If images are wrong, pass prediction='v'."
        )
    config = replace(layout.config, schedule=replace(schedule, zero_snr=found))
    return replace(layout, config=config, notices=(*layout.notices, *told))


def _is_sd2(config: ModelConfig) -> bool:
    """Whether a network takes what that of Stable Diffusion 2 takes, whose models differ."""
    unet, known = config.unet, SD2.unet
    return (unet.context_dim, unet.vector_dim, unet.in_channels) == (
        known.context_dim, known.vector_dim, known.in_channels
    )  # fmt: skip


def _other(prediction: Prediction) -> Prediction:
    return "v" if prediction == "eps" else "eps"


def _with(
    layout: Layout, prediction: Prediction, source: PredictionSource, *notices: str
) -> Layout:
    config, few = layout.config, layout.few_steps
    if layout.prediction_source == "family" and _is_sd2(config):
        config = replace(config, size=_SIZES[prediction])
        if prediction == "v" and few is not None and few.decided == LIKE_TURBO:  # it is not, then
            few = None
            config = replace(
                config,
                guidance_scale=SD2.guidance_scale,
                steps=SD2.steps,
                sampler=SD2.sampler,
                schedule_name=SD2.schedule_name,
            )
    schedule = replace(config.schedule, prediction=prediction)
    return replace(
        layout,
        config=replace(config, schedule=schedule),
        few_steps=few,
        prediction_source=source,
        notices=(*layout.notices, *notices),
    )


def _told(signs: list[Sign]) -> str:
    return ", ".join(f"{sign.place} says {sign.prediction}" for sign in signs[:4])


def _check_noise(file: WeightFile) -> None:
    marks = [mark for mark in _OTHER_NOISE if mark in file.entries]
    if marks:
        raise CheckpointError(
            f"{file.path} is marked {quoted(marks[0])}: it needs {_OTHER_NOISE[marks[0]]}, which "
            "this kit does not have.\nWithout it, its images would be wrong."
        )


def _signs_of_pure_noise(file: WeightFile) -> Iterator[str]:
    """Yield the places that say that the noise ends in pure noise (zero terminal SNR)."""
    if "ztsnr" in file.entries:
        yield "its mark 'ztsnr'"
    if file.metadata.get("ss_zero_terminal_snr", "").lower() == "true":
        yield "its ss_zero_terminal_snr"
    beside = file.path.with_suffix(".yaml")
    if re.search(_YAML_PURE_NOISE, _text_of(beside), re.MULTILINE | re.IGNORECASE):
        yield f"{quoted(beside.name)} beside it"
    buffer = "alphas_cumprod"
    entry = file.entries.get(buffer)
    is_small = entry is not None and 2 <= math.prod(entry.shape) <= 10_000
    if entry is not None and is_small and entry.dtype in FLOATS:
        left = file.numbers(buffer).reshape(-1)[-1]
        if left < _PURE_NOISE:
            yield f"its {buffer}"


def _signs(file: WeightFile) -> Iterator[Sign]:
    """Yield what the file of weights, and the .yaml beside it, say."""
    if "v_pred" in file.entries:
        yield Sign("v", "file", "its mark 'v_pred'")
    for key in ("modelspec.prediction_type", "modelspec.predict_key"):
        if value := file.metadata.get(key):
            found = config_json.as_prediction(value.lower())
            if found is None:
                raise CheckpointError(
                    f"{file.path} predicts {quoted(value)} by its {key}, which this kit does not "
                    "know.\nKnown: epsilon, v, sample."
                )
            yield Sign(found, "file", f"its {key}")
    architecture = file.metadata.get("modelspec.architecture", "").lower()
    if found := _ARCHITECTURES.get(architecture):
        yield Sign(found, "file", "its modelspec.architecture")
    if found := _KOHYA.get(file.metadata.get("ss_base_model_version", "")):
        yield Sign(found, "file", "its ss_base_model_version")
    if found := _of_yaml(file.path.with_suffix(".yaml")):
        yield Sign(found, "config", f"{quoted(file.path.with_suffix('.yaml').name)} beside it")


_YAML_PURE_NOISE = r"^\s*(zero_terminal_snr|ztsnr|zsnr|rescale_betas_zero_snr)\s*:\s*[\"']?true\b"
_SCALINGS: dict[str, Prediction] = {"Eps": "eps", "V": "v"}


def _text_of(path: Path) -> str:
    """Return the start of a small text file; "" if it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(_YAML_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def _of_yaml(path: Path) -> Prediction | None:
    """Return what the .yaml of a model says, CompVis's or Stability's; eps if it says nothing."""
    text = _text_of(path)
    if said := re.search(r"^\s*parameterization\s*:\s*[\"']?(\w+)", text, re.MULTILINE):
        return config_json.as_prediction(said[1])
    if said := re.search(r"denoiser_scaling\.(Eps|V)Scaling\b", text):
        return _SCALINGS[said[1]]
    return "eps" if "ldm.models.diffusion" in text else None


def _by_weights(layout: Layout) -> Prediction | None:
    """Return what the weights of a Stable Diffusion 2 look like; None for every other network.

    In its v-networks, the biases of the norms before the last self-attention are spread more. That
    is a rule of thumb which ComfyUI uses, too. Networks for inpainting (9 channels) are not asked:
    all of them predict eps, as their family says.
    """
    unet = layout.config.unet
    known = SD2.unet
    if (unet.channels, unet.blocks_per_level) != (known.channels, known.blocks_per_level):
        return None
    if not _is_sd2(layout.config):
        return None
    last = f"up_blocks.3.attentions.{unet.blocks_per_level}.transformer_blocks.0.norm1.bias"
    values = _read(layout, last, unet)
    return (
        None if values is None or len(values) < 2 else ("v" if values.std(ddof=1) > 0.09 else "eps")
    )


def _bundled(layout: Layout) -> list[Sign]:
    """Return what the bundled model predicts, if these are its weights.

    Raises ``CheckpointError`` if they came with the noise of another model.
    """
    if layout.config.unet != EMOJI.unet or not BUNDLED.is_file():
        return []
    bias, own = _read(layout, "conv_out.bias", EMOJI.unet), _bundled_bias()
    if bias is None or bias.shape != own.shape or not np.allclose(bias, own, rtol=0.01):
        return []
    ours, theirs = layout.config.schedule, EMOJI.schedule
    if (ours.steps, ours.kind, ours.beta_start, ours.beta_end) != (
        theirs.steps, theirs.kind, theirs.beta_start, theirs.beta_end
    ):  # fmt: skip
        raise CheckpointError(
            f"{layout.path} has the weights of the bundled model with the noise of another: beta "
            f"from {ours.beta_start:g} to {ours.beta_end:g}.\nThey need {theirs.kind} beta from "
            f"{theirs.beta_start:g} to {theirs.beta_end:g} in {theirs.steps:,} steps."
        )
    return [Sign(EMOJI.schedule.prediction, "file", "the bundled model, whose weights it has,")]


@cache
def _bundled_bias() -> np.ndarray:
    with WeightFile(BUNDLED) as file:
        return file.numbers("conv_out.bias")


def _read(layout: Layout, name: str, unet: UNetConfig) -> np.ndarray | None:
    """Return a small parameter of the network; None if it is not there."""
    place = layout.weights[0].place(name)
    if place is None:
        return None
    file, source = place
    entry = file.entries[source.name]
    is_small = len(entry.shape) == 1 and entry.shape[0] <= max(unet.channels)
    return file.numbers(source.name) if is_small and entry.dtype in FLOATS else None
