"""What the network of a checkpoint predicts, and how that was decided.

A network that was trained to predict v makes noise if its output is read as eps, and nothing fails.
So every place that can tell is asked: the caller, the config, marks in the file of weights, a file
beside it, and the weights themselves. Where two of them disagree, nothing is loaded until the
caller decides.

The marks are those that other programs write: the empty tensors "v_pred" and "ztsnr" (ComfyUI), the
metadata of ModelSpec (https://github.com/Stability-AI/ModelSpec), and a .yaml with the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..configs import EMOJI, SD2, Prediction, PredictionSource, UNetConfig
from ..errors import CheckpointError
from ..untrusted import open_regular
from . import config_json
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
# Marks of noise schedules and preconditionings that this kit does not have.
_OTHER_NOISE = {
    "ztsnr": "a noise schedule that ends in pure noise (zero terminal SNR)",
    "edm_mean": "EDM's preconditioning",
    "edm_std": "EDM's preconditioning",
    "edm_vpred.sigma_max": "EDM's noise levels",
    "edm_vpred.sigma_min": "EDM's noise levels",
}
_YAML_LIMIT = 2**18  # bytes


class Sign(NamedTuple):
    """What a place says about the prediction."""

    prediction: Prediction
    source: PredictionSource
    place: str  # "its mark 'v_pred'"


def settled(layout: Layout, wanted: Prediction | None) -> Layout:
    """Return the layout with what its network predicts, how that was decided, and notices.

    ``wanted`` is what the caller asks for; it is taken, with a notice if the file of weights says
    something else. Raises ``CheckpointError`` for two answers, and for noise that this kit lacks.
    """
    file = layout.weights[0].files[0]
    own = layout.config.schedule.prediction
    _check_noise(file)
    signs = list(_signs(file))
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
        return _with(layout, found, source, *said)
    if guess is not None:
        return _with(
            layout,
            guess,
            "file",
            f"{layout.shown} does not say what it predicts; its weights look like {guess}. "
            f"If images are noise, pass prediction={'eps' if guess == 'v' else 'v'!r}.",
        )
    if layout.config.unet.context_dim != SD2.unet.context_dim:
        return layout  # the family of Stable Diffusion 1 has a single usual prediction
    return _with(
        layout,
        own,
        "family",
        f"{layout.shown} does not say what it predicts; v-prediction was assumed, as in Stable "
        "Diffusion 2 for 768 pixels. For its base model of 512 pixels, pass prediction='eps'.",
    )


def _with(
    layout: Layout, prediction: Prediction, source: PredictionSource, *notices: str
) -> Layout:
    config = layout.config
    size = config.size
    if layout.prediction_source == "family" and config.unet.context_dim == SD2.unet.context_dim:
        size = _SIZES[prediction]
    schedule = replace(config.schedule, prediction=prediction)
    return replace(
        layout,
        config=replace(config, schedule=schedule, size=size),
        prediction_source=source,
        notices=(*layout.notices, *notices),
    )


def _told(signs: list[Sign]) -> str:
    return ", ".join(f"{sign.place} says {sign.prediction}" for sign in signs[:4])


def _check_noise(file: WeightFile) -> None:
    marks = [mark for mark in _OTHER_NOISE if mark in file.entries]
    if file.metadata.get("ss_zero_terminal_snr", "").lower() == "true":
        marks.append("ztsnr")
    if marks:
        raise CheckpointError(
            f"{file.path} is marked {quoted(marks[0])}: it needs {_OTHER_NOISE[marks[0]]}, which "
            "this kit does not have.\nWithout it, its images would be wrong."
        )


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
    if found := _of_yaml(file.path.with_suffix(".yaml")):
        yield Sign(found, "config", f"{quoted(file.path.with_suffix('.yaml').name)} beside it")


def _of_yaml(path: Path) -> Prediction | None:
    """Return what CompVis's .yaml of a model says; eps if it says nothing about it."""
    try:
        with open_regular(path) as file:
            text = file.read(_YAML_LIMIT).decode("utf-8", "replace")
    except OSError:
        return None
    said = re.search(r"^\s*parameterization\s*:\s*[\"']?(\w+)", text, re.MULTILINE)
    if said:
        return config_json.as_prediction(said[1])
    return "eps" if "ldm.models.diffusion" in text else None


def _by_weights(layout: Layout) -> Prediction | None:
    """Return what the weights of a Stable Diffusion 2 look like; None for every other network.

    In its v-networks, the biases of the norms before the last self-attention are spread more. That
    is a rule of thumb which ComfyUI uses, too.
    """
    unet = layout.config.unet
    if (unet.channels, unet.context_dim) != (SD2.unet.channels, SD2.unet.context_dim):
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
    for source in layout.weights[0].lookup(name):
        for file in layout.weights[0].files:
            entry = file.entries.get(source.name)
            is_small = entry and len(entry.shape) == 1 and entry.shape[0] <= max(unet.channels)
            if entry and is_small and entry.dtype in FLOATS:
                return file.numbers(source.name)
    return None
