"""A whole `ModelConfig` as plain data, and back: every number, every embedder's config by its name.

diffusers' configs describe the models that its pipelines run. This describes any. The file is not
trusted: each field has the type and the choices that its dataclass says, an unknown field is
refused by name, and numbers have bounds, so that no network is built that cannot be right.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..configs import (
    AutoencoderConfig,
    EmbedderConfig,
    ModelConfig,
    ScheduleConfig,
    TextConfig,
    UNetConfig,
    VisionConfig,
)
from ..errors import CheckpointError
from ..sampling import SAMPLERS, SCHEDULES
from .weights import quoted

Json = dict[str, Any]

MOST_NUMBER = 10_000_000
MOST_NAMES = 100_000
MOST_TEXT = 1_000  # characters of a name
CLASS = "class"
"""The field with the name of an embedder's config class; no config has a field of that name."""

EMBEDDERS: Mapping[str, type] = {each.__name__: each for each in get_args(EmbedderConfig)}
"""The configs of embedders by the names of their classes."""


def config_to_plain(config: ModelConfig) -> Json:
    """Return a config as JSON can hold it."""
    return {field.name: _to_plain(getattr(config, field.name)) for field in fields(config)}


def config_from_plain(data: Mapping[str, Any], where: str) -> ModelConfig:
    """Return the inverse of `config_to_plain`; what is not there has its default.

    Raises ``CheckpointError`` that names the field, for anything else than such a config.
    """
    config: ModelConfig = _dataclass(ModelConfig, data, _Place(where, "config"))
    check_numbers(config, where)
    return config


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        own = {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
        name = type(value).__name__
        return {CLASS: name, **own} if name in EMBEDDERS else own
    return [_to_plain(each) for each in value] if isinstance(value, tuple) else value


# ----------------------------------------------------------------------------------- strict reading


class _Place:
    """Where a value is: the file, and the path of the field."""

    def __init__(self, file: str, path: str):
        self.file, self.path = file, path

    def __truediv__(self, name: object) -> _Place:
        return _Place(self.file, f"{self.path}.{name}")

    def error(self, value: object, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.file}: {self.path} is {quoted(value)}; {expected} was expected."
        )


def _value(kind: Any, value: Any, place: _Place) -> Any:
    origin = get_origin(kind)
    if kind in _SIMPLE:
        return _SIMPLE[kind](value, place)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise place.error(value, " or ".join(map(repr, get_args(kind))))
        return value
    if origin is tuple:
        return _tuple(get_args(kind), value, place)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, place)
    return _dataclass(kind, value, place)


def _integer(value: Any, place: _Place) -> int:
    if type(value) is not int or not 0 <= value <= MOST_NUMBER:
        raise place.error(value, f"a whole number from 0 to {MOST_NUMBER:,}")
    return value


def _number(value: Any, place: _Place) -> float:
    if type(value) not in (int, float) or not abs(value) <= MOST_NUMBER:
        raise place.error(value, f"a number of at most {MOST_NUMBER:,}")
    return float(value)


def _flag(value: Any, place: _Place) -> bool:
    if type(value) is not bool:
        raise place.error(value, "true or false")
    return value


def _text(value: Any, place: _Place) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise place.error(value, f"a text of at most {MOST_TEXT:,} characters")
    return value


_SIMPLE: Mapping[type, Callable[[Any, _Place], Any]] = {
    int: _integer,
    float: _number,
    bool: _flag,
    str: _text,
}


def _tuple(kinds: tuple[Any, ...], value: Any, place: _Place) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > MOST_NAMES:
        raise place.error(value, "a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise place.error(value, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_value(kind, each, place / number) for number, (kind, each) in pairs)


def _union(kinds: tuple[Any, ...], value: Any, place: _Place) -> Any:
    if value is None and type(None) in kinds:
        return None
    known = {kind.__name__: kind for kind in kinds if kind is not type(None)}
    if len(known) == 1:
        return _value(next(iter(known.values())), value, place)
    if not isinstance(value, dict) or value.get(CLASS) not in known:
        kind = value.get(CLASS) if isinstance(value, dict) else value
        raise (place / CLASS).error(kind, f"one of {', '.join(known)}")
    return _dataclass(known[value[CLASS]], value, place)


def _dataclass(kind: Any, value: Any, place: _Place) -> Any:
    if not isinstance(value, Mapping):
        raise place.error(value, "an object")
    known, types_of = _fields_of(kind)
    own = {name: each for name, each in value.items() if name != CLASS}
    if strange := [name for name in own if name not in known]:
        raise CheckpointError(
            f"{place.file}: {place.path} has a field {quoted(strange[0])}, which this version of "
            f"sdwidgets does not know.\nKnown: {', '.join(known)}. A newer version may have it."
        )
    lacking = [name for name, field in known.items() if name not in own and not _has_default(field)]
    if lacking:
        raise CheckpointError(f"{place.file}: {place.path} has no {', '.join(lacking)}.")
    return kind(**{n: _value(types_of[n], each, place / n) for n, each in own.items()})


@cache
def _fields_of(kind: Any) -> tuple[dict[str, Field[Any]], dict[str, Any]]:
    return {field.name: field for field in fields(kind)}, get_type_hints(kind)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


# ------------------------------------------------------------------------------ numbers that can be

ACTIVATIONS = ("quick_gelu", "gelu")
LEVELS = 8
WIDEST = 16_384
DEEPEST = 64  # layers or blocks


def check_numbers(config: ModelConfig, where: str) -> None:
    """Raise ``CheckpointError`` for numbers of which no network can be made, or only a far larger
    one than any that was published."""
    place = _Place(where, "config")
    _check_unet(config.unet, place / "unet")
    _check_autoencoder(config.autoencoder, place / "autoencoder")
    for number, each in enumerate(config.embedders):
        _check_embedder(each, place / "embedders" / number)
    _check_schedule(config.schedule, place / "schedule")
    if not 1 <= config.size <= WIDEST:
        raise (place / "size").error(config.size, f"a number of pixels from 1 to {WIDEST:,}")
    if not 1 <= config.steps <= 1_000:
        raise (place / "steps").error(config.steps, "a whole number from 1 to 1,000")
    if config.sampler not in SAMPLERS:
        raise (place / "sampler").error(config.sampler, f"one of {', '.join(SAMPLERS)}")
    if config.schedule_name not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise (place / "schedule_name").error(config.schedule_name, f"one of {known}")


_BOUNDS = {
    "vocab_size": (1, MOST_NUMBER),
    "width": (1, WIDEST),
    "hidden": (1, 4 * WIDEST),
    "layers": (0, DEEPEST),
    "heads": (1, 1_024),
    "head_width": (1, WIDEST),
    "length": (2, 4_096),
    "size": (1, WIDEST),
    "patch": (1, WIDEST),
    "stages": (0, LEVELS),
    "channels": (1, 4_096),
    "latent_channels": (1, 4_096),
    "most": (0, 100_000),
}
"""The lowest and highest numbers of the fields of embedders' configs."""


def _check_embedder(config: Any, place: _Place) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            _check_embedder(value, place / field.name)
        elif type(value) is int and field.name in _BOUNDS:
            low, high = _BOUNDS[field.name]
            if not low <= value <= high:
                expected = f"a whole number from {low:,} to {high:,}"
                raise (place / field.name).error(value, expected)
    if isinstance(config, (TextConfig, VisionConfig)):
        if config.width % config.heads:
            raise (place / "heads").error(config.heads, f"a number that divides {config.width:,}")
        if config.activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}"
            raise (place / "activation").error(config.activation, expected)
    if isinstance(config, VisionConfig) and config.patch > config.size:
        raise (place / "patch").error(config.patch, f"at most {config.size:,}")


def _check_unet(unet: UNetConfig, place: _Place) -> None:
    levels = _check_channels(unet.channels, unet.blocks_per_level, unet.norm_groups, place)
    for name in ("depths", "heads"):
        value = getattr(unet, name)
        if len(value) != levels or max(value) > (DEEPEST if name == "depths" else 1_024):
            raise (place / name).error(value, f"a list of {levels} whole numbers")
    split = [unet.heads[n] for n, depth in enumerate(unet.depths) if depth]
    wide = [unet.channels[n] for n, depth in enumerate(unet.depths) if depth]
    if unet.mid_depth:
        split, wide = [*split, unet.heads[-1]], [*wide, unet.channels[-1]]
    if any(not heads or width % heads for heads, width in zip(split, wide, strict=True)):
        raise (place / "heads").error(list(unet.heads), f"divisors of {list(unet.channels)}")
    if unet.up_depths and (
        len(unet.up_depths) != levels
        or any(len(each) != unet.blocks_per_level + 1 for each in unet.up_depths)
        or max(map(max, unet.up_depths)) > DEEPEST
    ):
        expected = f"{levels} lists of {unet.blocks_per_level + 1} whole numbers"
        raise (place / "up_depths").error(unet.up_depths, expected)
    if unet.cross_only and len(unet.cross_only) != levels:
        raise (place / "cross_only").error(unet.cross_only, f"a list of {levels}")
    if unet.middle > 2 or unet.middle_depth > DEEPEST:
        raise (place / "middle").error(unet.middle, "0, 1 or 2")
    for name in ("context_dim", "vector_dim", "guidance_dim"):
        if (value := getattr(unet, name)) > 4 * WIDEST:
            raise (place / name).error(value, f"a whole number from 0 to {4 * WIDEST:,}")
    for name in ("in_channels", "out_channels"):
        if not 1 <= (value := getattr(unet, name)) <= 4_096:
            raise (place / name).error(value, "a whole number from 1 to 4,096")


def _check_autoencoder(vae: AutoencoderConfig, place: _Place) -> None:
    if vae.channels:
        _check_channels(vae.channels, vae.blocks_per_level, vae.norm_groups, place)
    for name in ("latent_channels", "in_channels"):
        if not 1 <= (value := getattr(vae, name)) <= 4_096:
            raise (place / name).error(value, "a whole number from 1 to 4,096")
    if not (math.isfinite(vae.scaling_factor) and vae.scaling_factor):
        raise (place / "scaling_factor").error(vae.scaling_factor, "a number other than 0")


def _check_channels(channels: tuple[int, ...], blocks: int, groups: int, place: _Place) -> int:
    """Check the channels of the levels, and return their number."""
    if not 1 <= len(channels) <= LEVELS or not all(1 <= each <= WIDEST for each in channels):
        expected = f"a list of 1 to {LEVELS} whole numbers from 1 to {WIDEST:,}"
        raise (place / "channels").error(list(channels), expected)
    if not 1 <= blocks <= LEVELS:
        raise (place / "blocks_per_level").error(blocks, f"a whole number from 1 to {LEVELS}")
    if not groups or any(each % groups for each in channels):
        expected = f"a number that divides all channels ({', '.join(map(str, channels))})"
        raise (place / "norm_groups").error(groups, expected)
    return len(channels)


def _check_schedule(schedule: ScheduleConfig, place: _Place) -> None:
    if not 1 <= schedule.steps <= 100_000:
        raise (place / "steps").error(schedule.steps, "a whole number from 1 to 100,000")
    if not 0 < schedule.beta_start <= schedule.beta_end < 1:
        betas = (schedule.beta_start, schedule.beta_end)
        raise (place / "beta_start").error(betas, "0 < beta_start <= beta_end < 1")
