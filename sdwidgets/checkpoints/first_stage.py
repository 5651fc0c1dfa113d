"""``load_autoencoder``: an autoencoder alone, such as the published first stages."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import checks
from ..configs import FIRST_STAGES, SDXL, AutoencoderConfig
from ..errors import CheckpointError, InputError
from ..sources import Source
from . import infer, parts
from .exchange import is_there
from .families import family_of
from .fill import Part, Plan, extras, fill_all, plan, precision
from .layout import Weights
from .recognise import foreign_names
from .target import device_of, dtype_of, loaded
from .weights import WeightFile, quoted
from .zoo import bundled_folder

if TYPE_CHECKING:
    from ..models.autoencoder import Autoencoder

_OF_TRAINING = ("loss.", "model_ema.")  # discriminator, perceptual loss, a running mean of weights


def load_autoencoder(
    path: str | os.PathLike[str],
    config: str | AutoencoderConfig | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    check_finite: bool = True,
) -> Autoencoder:
    """Return the autoencoder in a safetensors file, or in a folder with its config.json.

    ``path`` may also be the name of a bundled autoencoder: those of
    ``zoo.bundled_autoencoders()`` ("KL-f8", "VQ-f4", ...), trained on the emoji scenes, or "emoji",
    that of the bundled model. A file or folder of that name comes first.

    A file may have CompVis's names (such as the latent-diffusion paper's nine first stages,
    converted from their model.ckpt) or diffusers', and may hold a whole model. The nine are told
    apart by their shapes; ``config`` may name one ("VQ-f4", see ``configs.FIRST_STAGES``), and must
    be an ``AutoencoderConfig`` for all others. Shapes do not tell the latents' scale: for KL-f8 it
    is that of Stable Diffusion 1 and 2, with a warning unless the file says so; for XL pass
    ``configs.SDXL.autoencoder``.

    Every tensor of the autoencoder must be known. Tensors that only training used (discriminator,
    perceptual loss) are left out, with a warning.

    ``device`` and ``dtype`` are as for `load`, but float32 is the default, since a decoder can
    overflow in half precision.

    Raises ``CheckpointNotFound``, ``CheckpointError`` (for truncated, unknown, unsafe or unfit
    files), ``OutOfMemory`` or ``InputError``. Except for values that are not finite, it does so
    before any weight is read.
    """
    target = device_of(device)
    number = dtype_of(dtype, target)
    wanted = _wanted(config)
    checks.flag("check_finite", check_finite)
    place = checks.path("path", path)
    if not is_there(place) and wanted is None and isinstance(path, str):
        place = bundled_folder(path) or place
    is_folder = os.path.isdir(place)
    if is_folder and wanted is not None:
        raise InputError("config= is for single files; a folder has its own.", parameter="config")

    def assemble(stack: ExitStack) -> tuple[Autoencoder, list[str]]:
        doubts: list[str] = []
        if is_folder:
            found, weights = parts.autoencoder_folder(place, stack)
        else:
            found, weights = _open_file(place, wanted, stack, doubts)
        autoencoder, notices = _assemble(place, found, weights, target, number, check_finite)
        return autoencoder, doubts + notices

    autoencoder, notices = loaded(place, target, assemble)
    for said in notices:
        warnings.warn(said, stacklevel=2)
    return autoencoder


def name_of(config: AutoencoderConfig) -> str | None:
    """The name in `FIRST_STAGES` of a config, whatever its scale and shift; None if it has none."""
    return next((n for n, preset in FIRST_STAGES.items() if _is_alike(preset, config)), None)


def _is_alike(one: AutoencoderConfig, other: AutoencoderConfig) -> bool:
    """Whether two autoencoders have the same shapes, whatever their scale and shift."""
    return replace(one, scaling_factor=1.0, shift_factor=0.0) == replace(
        other, scaling_factor=1.0, shift_factor=0.0
    )


def _wanted(config: str | AutoencoderConfig | None) -> AutoencoderConfig | None:
    if config is None or isinstance(config, AutoencoderConfig):
        return config
    if isinstance(config, str) and config in FIRST_STAGES:
        return FIRST_STAGES[config]
    raise InputError(
        f"There is no autoencoder {quoted(config)}.\nKnown: {', '.join(FIRST_STAGES)}; for any "
        "other pass an AutoencoderConfig.",
        parameter="config",
    )


def _open_file(
    path: Path, config: AutoencoderConfig | None, stack: ExitStack, doubts: list[str]
) -> tuple[AutoencoderConfig, Weights]:
    file = stack.enter_context(WeightFile(path))
    place = infer.autoencoder_place(file.shapes)
    if place is None:
        what = foreign_names(file.shapes) or "a model without a known autoencoder"
        raise CheckpointError(f"{path} holds no autoencoder: it is {what}.")
    if config is None:
        config, doubt = _recognised(file, place.prefix)
        doubts += [doubt] if doubt else []
    return config, parts.autoencoder_weights(file, place, config)


def _recognised(file: WeightFile, prefix: str) -> tuple[AutoencoderConfig, str]:
    """Return the config of the autoencoder in a file, and a notice if its scale is in doubt.

    The autoencoders of Stable Diffusion 1, 2 and XL have the same names and shapes. In the file of
    a whole model, the rest of it tells which; alone, the file's notes may.
    """
    with infer.whole(file.path, "autoencoder"):
        config = infer.infer_autoencoder(file.shapes, prefix)
    known = _of_the_model(file.shapes)
    if known is not None and _is_alike(known, config):
        return known, ""
    name = name_of(config)
    if name is None:
        raise CheckpointError(
            f"{file.path} has shapes unlike {', '.join(FIRST_STAGES)}: {_described(config)}.\n"
            "Pass config=AutoencoderConfig(...)."
        )
    config = FIRST_STAGES[name]
    if not _is_alike(SDXL.autoencoder, config):
        return config, ""
    noted = file.metadata.get("modelspec.architecture", "").lower()
    if noted.startswith("stable-diffusion-xl"):
        return SDXL.autoencoder, ""
    if noted.startswith("stable-diffusion-v"):
        return config, ""
    return config, (
        f"{file.path.name} does not say how its latents are scaled; {config.scaling_factor:g} "
        "was assumed, as in Stable Diffusion 1 and 2. "
        "For XL pass config=sdwidgets.configs.SDXL.autoencoder, else config='KL-f8'."
    )


def _of_the_model(shapes: infer.Shapes) -> AutoencoderConfig | None:
    """Return the autoencoder of the family whose network or text encoders are in the same file."""
    place = infer.unet_place(shapes)
    if place is not None:
        with suppress(KeyError, IndexError, ValueError):  # something of it is missing
            if family := family_of(infer.infer_unet(shapes, place)):
                return family.preset.autoencoder
    if any(name.startswith(("conditioner.embedders.1.", "text_encoder_2.")) for name in shapes):
        return SDXL.autoencoder
    others = ("model.diffusion_model.", "unet.", "cond_stage_model.", "text_encoder.")
    known = any(name.startswith(others) for name in shapes)
    return FIRST_STAGES["KL-f8"] if known else None


def _described(config: AutoencoderConfig) -> str:
    """Return a config in a few words, for messages."""
    kind = f"VQ with {config.codes:,} codes" if config.codes else "KL"
    levels = str(list(config.channels[:8]))
    return f"{kind}, levels {levels}, {config.latent_channels:,} latent channels"


def _assemble(
    path: Path,
    config: AutoencoderConfig,
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype,
    check_finite: bool,
) -> tuple[Autoencoder, list[str]]:
    """Return the autoencoder, and notices about precision lost and tensors left out."""
    from ..models.autoencoder import Autoencoder

    with torch.device("meta"):  # shapes, and no memory
        autoencoder = Autoencoder(config)
    planned = plan(Part("autoencoder", autoencoder, weights))
    left_out = _left_out(path, config, planned)
    fill_all([planned], f"The autoencoder {path.name}", dtype, device, check_finite=check_finite)
    autoencoder.sources = tuple(
        Source(file.path.name, kind="autoencoder", file=file.stamp) for file in weights.files
    )
    return autoencoder, [*precision(path.name, [planned]), *left_out]


def _left_out(path: Path, config: AutoencoderConfig, planned: Plan) -> list[str]:
    """Return a line about tensors that only training used; [] if there are none.

    Raises ``CheckpointError`` if tensors of the autoencoder itself have no place.
    """
    first = planned.part.weights.lookup("encoder.conv_in.weight")[0].name
    prefix = first.removesuffix("encoder.conv_in.weight")
    unused = [name.removeprefix(prefix) for name in extras([planned]) if name.startswith(prefix)]
    training = [name for name in unused if name.startswith(_OF_TRAINING)]
    if stray := sorted(set(unused) - set(training)):
        raise CheckpointError(
            f"{path}: the autoencoder ({_described(config)}) has no place for {len(stray):,} of "
            f"the tensors, such as {quoted(stray[0])}.\n"
            "Leave out config= to have it recognised. Nothing was loaded."
        )
    if not training:
        return []
    count = f"{len(training):,} tensors that only training used"
    return [f"{path.name}: {count} (such as {quoted(min(training))}) were left out."]
