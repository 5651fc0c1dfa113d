"""Files of LoRAs, matched with the networks of a model before any weight is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from ..configs import TextConfig, UNetConfig
from ..errors import CheckpointError, CheckpointNotFound
from ..loras import Lora
from ..models.unet import UNet
from ..sources import Source
from . import bases, lora_names
from .lora_algorithms import (
    MAGNITUDES,
    Algorithm,
    Misfit,
    algorithms_of,
    axis_of,
    is_fitting,
)
from .lora_names import Place, Table
from .lora_scaling import CONFIG, Scaling, peft_settings, scaling_of
from .pickles import PickleFile, open_weights
from .recognise import foreign_names
from .weights import FLOATS, WeightFile, quoted

_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin")
_CPU = torch.device("cpu")

Shape = tuple[int, ...]
Weights: TypeAlias = "WeightFile | PickleFile"


@dataclass(frozen=True)
class Networks:
    """What LoRAs change: a UNet, and text encoders in the order of the model's embedders."""

    label: str  # of the model, for messages
    unet: UNet
    texts: tuple[nn.Module, ...]
    unet_config: UNetConfig
    text_configs: tuple[TextConfig, ...]

    @cached_property
    def parameters(self) -> tuple[dict[str, nn.Parameter], ...]:
        """The weights of each network by name."""
        return tuple(dict(each.named_parameters()) for each in self.all)

    @cached_property
    def table(self) -> Table:
        """Where each module is, in every spelling."""
        return lora_names.table(self.unet_config, self.text_configs, self.parameters)

    @property
    def all(self) -> tuple[nn.Module, ...]:
        return self.unet, *self.texts


@dataclass(frozen=True)
class Change:
    """A change of one parameter: its tensors in the file by kind, and the factor of the change."""

    algorithm: Algorithm
    tensors: Mapping[str, str]
    scale: float = 1.0
    magnitudes: str = ""  # the name of DoRA's, in the file
    axis: int = 0


@dataclass(frozen=True)
class Fitted:
    """An open file whose changes have all found their parameters."""

    file: Weights
    lora: Lora
    changes: Mapping[tuple[int, str], Change]  # by network and parameter
    words: tuple[str, ...]  # learnt words inside, which are no changes of weights

    @property
    def source(self) -> Source:
        """The file in records."""
        path = self.lora.path
        name = self.file.path.name
        if path.name != name:
            name = f"{path.name}/{name}"
        return Source(
            name,
            kind="lora",
            strength=self.lora.strength,
            text_strength=self.lora.different_text_strength,
            file=self.file.stamp,
        )


@contextmanager
def naming(lora: Lora) -> Iterator[None]:
    """Say in errors about a file which LoRA they are about."""
    try:
        yield
    except CheckpointError as error:
        error.lora = lora.path
        raise


def fitted(lora: Lora, networks: Networks, stack: ExitStack) -> Fitted:
    """Return the open file of a LoRA, if all of it has a place in the networks.

    Raises ``CheckpointNotFound`` or ``CheckpointError``, which name the LoRA, before any weight is
    read. The file stays open until ``stack`` closes.
    """
    with naming(lora):
        return _fitted(lora, networks, stack)


def _fitted(lora: Lora, networks: Networks, stack: ExitStack) -> Fitted:
    path, settings = _located(lora.path)
    file: Weights = open_weights(path)
    stack.callback(file.__exit__)
    if lora.file is not None and lora.file != file.stamp:
        raise CheckpointError(
            f"{path} has changed since it was applied to {networks.label!r}.\n"
            "Take it away with model.without_lora(), and apply it again."
        )
    words = sorted(name for name in file.entries if lora_names.is_word(name))
    modules = _modules(file, words)
    scaling = scaling_of(file.path, file.metadata, settings)
    numbered = _numbered(file, modules, networks)
    changes: dict[tuple[int, str], Change] = {}
    homeless, misfits = list[str](), list[str]()
    targets = [{name: tuple(p.shape) for name, p in each.items()} for each in networks.parameters]
    for spelled, kinds in modules.items():
        places = numbered.get(spelled) or networks.table.get(spelled) or ()
        if not places:
            homeless.append(spelled)
            continue
        try:
            found = _placed(file, spelled, kinds, places, targets, scaling)
        except Misfit as error:
            misfits.append(f"{quoted(spelled)} has {error}")
            continue
        for place, change in found.items():
            if place in changes:
                raise CheckpointError(f"{path} changes {quoted(place[1])} twice.")
            changes[place] = change
    if homeless or misfits:
        raise CheckpointError(_why_not(file, networks, len(modules), homeless, misfits))
    return Fitted(file, lora, changes, tuple(_word(name) for name in words))


def _located(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of weights of a LoRA, and PEFT's settings if it is a folder with them."""
    if path.is_dir():
        for name in _FILES:
            if (path / name).is_file():
                return path / name, peft_settings(path / CONFIG)
        raise CheckpointNotFound(
            f"The folder {path} has no {_FILES[0]} and no {_FILES[1]}.\nGive the LoRA's own file."
        )
    is_peft = path.name.startswith("adapter_model.")
    return path, peft_settings(path.parent / CONFIG) if is_peft else {}


def _word(name: str) -> str:
    """The word of a tensor: "<s1>", or NAME in "bundle_emb.NAME.string_to_param.*"."""
    return name.split(".")[1] if name.startswith("bundle_emb.") and "." in name else name


def _modules(file: Weights, words: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the names of the file's tensors by module and kind."""
    modules: dict[str, dict[str, str]] = {}
    unknown = []
    is_list = all(name.isdecimal() and len(name) < 7 for name in file.entries)
    for name in file.entries:
        if name in words:
            continue
        if is_list:  # up, down, up, down, ... of one network
            key, kind = _listed(file.shapes), "lora_down" if int(name) % 2 else "lora_up"
            modules.setdefault(f"{key}:{int(name) // 2}", {})[kind] = name
            continue
        for what, pattern in lora_names.REFUSED.items():
            if pattern.search(name):
                raise CheckpointError(
                    f"{file.path} uses {what} ({quoted(name)}), which has no formula here.\n"
                    "Nothing was applied."
                )
        found = lora_names.split(name)
        if found is None:
            unknown.append(name)
        else:
            module, kind = found
            modules.setdefault(module, {})[kind] = name
    if unknown or not modules:
        some = f", such as {quoted(unknown[0])}" if unknown else ""
        raise CheckpointError(
            f"{file.path} cannot be applied as a LoRA: {len(unknown):,} of its "
            f"{len(file.entries):,} tensors belong to none{some}.\n"
            f"It looks like {foreign_names(file.shapes) or 'a whole model'}."
        )
    return modules


def _listed(shapes: Mapping[str, Shape]) -> str:
    """Return the network that a bare list of matrices changes: a text encoder's are all alike."""
    return "text_encoder" if len({shape[:1] for shape in shapes.values()}) < 3 else "unet"


def _numbered(
    file: Weights,
    modules: Mapping[str, Mapping[str, str]],
    networks: Networks,
) -> dict[str, tuple[Place, ...]]:
    """Return the places of modules that have numbers in place of names."""
    places: dict[str, tuple[Place, ...]] = {}
    for part, key in enumerate(("unet", "text_encoder")):
        numbers = sorted(
            int(spelled.partition(":")[2]) for spelled in modules if spelled.startswith(f"{key}:")
        )
        if not numbers or part >= len(networks.all):
            continue
        classes = _classes(file, key)
        if strange := lora_names.unknown_classes(classes):
            raise CheckpointError(
                f"{file.path} changes all layers of {quoted(strange[0])}, which is unknown here."
            )
        targets = {name: tuple(p.shape) for name, p in networks.parameters[part].items()}
        orders = lora_names.numbered(targets, classes)
        # numbers beyond the network's layers have no place, and are reported as such
        pairs = [
            [(modules[f"{key}:{i}"], f"{order[i]}.weight", i) for i in numbers if i < len(order)]
            for order in orders
        ]
        fitting = [
            each
            for each in pairs
            if all(_has_shape(file, kinds, targets.get(name)) for kinds, name, _ in each)
        ]
        if len(orders[0]) == len(numbers) or not fitting:
            places |= {
                f"{key}:{i}": (Place(part, name.removesuffix(".weight")),)
                for _, name, i in (fitting or pairs)[0]
            }
        # else: with other counts, numbers would mean other layers
    return places


def _classes(file: Weights, key: str) -> list[str]:
    noted = file.metadata.get(key)
    if noted is None:
        return [*lora_names.DEFAULT_CLASSES[key]]
    try:
        found = json.loads(noted) if len(noted) < 4096 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(
            f"{file.path}: its notes do not list the layers that the numbers count."
        )
    return found


def _has_shape(file: Weights, kinds: Mapping[str, str], target: Shape | None) -> bool:
    shapes = {kind: file.entries[name].shape for kind, name in kinds.items()}
    try:
        (algorithm,) = algorithms_of(set(kinds))
        return target is not None and is_fitting(algorithm.shape(shapes, target), target)
    except (Misfit, ValueError, IndexError):
        return False


def _placed(
    file: Weights,
    spelled: str,
    kinds: Mapping[str, str],
    places: Sequence[Place],
    targets: Sequence[Mapping[str, Shape]],
    scaling: Scaling,
) -> dict[tuple[int, str], Change]:
    """Return a module's changes at the first of its possible places where they fit.

    Raises `Misfit`.
    """
    shapes = {kind: file.entries[name].shape for kind, name in kinds.items()}
    floats = {kind for kind in kinds if file.entries[kinds[kind]].dtype in FLOATS}
    if whole := set(kinds) - floats - {"alpha", "on_input"}:
        raise Misfit(f"integers for {min(whole)}")
    algorithms = algorithms_of(set(kinds))
    reason = Misfit("no fitting place")
    for part, module in places:
        found = {}
        try:
            for algorithm in algorithms:
                name = f"{module}.{algorithm.parameter}"
                target = targets[part].get(name)
                if target is None:
                    raise Misfit(f"a {algorithm.parameter}, which the model's has not")
                found[part, name] = _fitting(
                    file, spelled, kinds, shapes, algorithm, target, scaling
                )
        except (Misfit, IndexError) as error:  # IndexError: too few dimensions
            if not isinstance(error, Misfit):
                error = Misfit("tensors with too few dimensions")
            reason = error
            continue
        return found
    raise reason


def _fitting(
    file: Weights,
    spelled: str,
    kinds: Mapping[str, str],
    shapes: Mapping[str, Shape],
    algorithm: Algorithm,
    target: Shape,
    scaling: Scaling,
) -> Change:
    """Return the change of a parameter of the shape ``target``. Raises `Misfit`."""
    if any(math.prod(shape) == 0 for shape in shapes.values()):
        raise Misfit("an empty tensor")
    shape = algorithm.shape(shapes, target)
    if not is_fitting(shape, target):
        raise Misfit(f"a change of {[*shape]} for a weight of {[*target]}")
    tensors = {kind: kinds[kind] for kind in (*algorithm.needs, *algorithm.may) if kind in kinds}
    if algorithm.parameter == "bias":
        return Change(algorithm, tensors)
    rank, scale = algorithm.rank(shapes), 1.0
    if rank is not None:
        if "alpha" in kinds:
            # no alpha, or 0, means the rank, as in kohya's and LyCORIS's code
            scale = (_number(file, kinds["alpha"]) or rank) / rank
        else:
            scale = scaling.of(spelled, rank)
    if "scalar" in kinds:
        scale *= _number(file, kinds["scalar"])
    magnitudes = next((kind for kind in MAGNITUDES if kind in kinds), "")
    axis = axis_of(magnitudes, shapes[magnitudes], target) if magnitudes else 0
    return Change(algorithm, tensors, scale, kinds.get(magnitudes, ""), axis)


def _number(file: Weights, name: str) -> float:
    """Return the single number of a tensor [] or [1], of any type. Raises `Misfit`."""
    shape = file.entries[name].shape
    if math.prod(shape) != 1:
        raise Misfit(f"{quoted(name)} of shape {[*shape]} in place of a number")
    value = float(file.read(name, torch.float64, _CPU).item())
    if not math.isfinite(value):
        raise CheckpointError(
            f"{file.path}: tensor {quoted(name)} holds NaN or infinity.\nDownload it again."
        )
    return value


# ----------------------------------------------------------------------------------- messages


def _why_not(
    file: Weights,
    networks: Networks,
    count: int,
    homeless: Sequence[str],
    misfits: Sequence[str],
) -> str:
    """Say that a file does not fit, by how much, and for what it was probably made."""
    reasons = []
    if homeless:
        reasons.append(f"{len(homeless):,} of {count:,} modules have no place here")
    if misfits:
        reasons.append(f"{len(misfits):,} of {count:,} have other shapes")
    example = quoted(homeless[0]) if homeless else misfits[0]
    made_for = bases.of_lora(file.shapes, file.metadata)
    said = f" It seems to be made for {made_for}." if made_for else ""
    return (
        f"{file.path} does not fit {networks.label!r}: {' and '.join(reasons)}.{said}\n"
        f"The first: {example}. Nothing was applied."
    )
