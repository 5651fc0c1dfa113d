"""What a record brings back to the Studio, and what is said of what it does not. No widgets."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..checks import shortened
from ..errors import InputError
from ..loras import Lora
from ..settings import Settings
from ..sources import recorded
from .loras import shown
from .results import name_of
from .setting import SETTINGS

_KINDS = {
    "depth": "a depth map",
    "latents": "latents",
    "control": "images to follow (ControlNets)",
}
"""What a run may have been given that the Studio does not take, in words."""

_APART = {"label_map": "a label map, which is", "neighbours": "neighbours, which are"}
"""What comes with a recorded run, and not with an image."""


def said_of(
    record: dict[str, Any],
    settings: Settings,
    given: Collection[str],
    came: Collection[str],
    *,
    is_known: bool,
    missing: Collection[str],
    unguided: str = "",
) -> str:
    """What to say about a record whose ``settings`` are loaded, in sentences.

    ``given``: what its run was given beside settings. ``came``: which of these came with it.
    ``is_known``: whether its model can be loaded here. ``missing``: its LoRAs that cannot be, in
    words. ``unguided``: see `guide_in`.
    """
    program, made_by = record.get("program"), str(record.get("model"))
    of = f", as {program} wrote them" if isinstance(program, str) else ""
    said = [f"The settings of the file are loaded{of}."]
    if made_by and not is_known:
        said.append(f"Another model made the image: {shortened(name_of(made_by), 60)}.")
    if missing:
        said.append(f"It also had {', '.join(missing)}: add the file, if you have it.")
    if "image" in given and "image" not in came:
        said.append("It was made from an image that is not in the file.")
    elif "mask" in given and "mask" not in came:
        said.append("It was painted inside a mask that is not in the file.")
    for name in given:
        if name in _KINDS:
            said.append(f"It was also given {_KINDS[name]}, which the Studio does not take.")
        elif name in _APART and name not in came:
            said.append(f"It was also given {_APART[name]} not in the file.")
    if unguided:
        said.append(unguided)
    parent = record.get("parent")
    if isinstance(parent, dict) and parent.get("how") != "hires":
        said.append("It came from another run, so the settings alone make another image.")
    own = _not_shown(settings)
    left_out = record.get("left_out")
    left_out = {**own, **left_out} if isinstance(left_out, dict) else own
    if left_out:
        listed = ", ".join(f"{name}: {value}" for name, value in left_out.items())
        said.append(f"Left out: {shortened(listed, 400)}.")
    return " ".join(said)


def guide_in(record: dict[str, Any]) -> tuple[Any, str]:
    """(The guide that steered a record's run, or None; why it is none, in a sentence)."""
    data = record.get("guide")
    if not data:
        return None, ""
    if isinstance(data, dict) and data.get("name") == "function":
        name = shortened(str(data.get("function")), 60)
        return None, f"A function steered it, {name}: give it again, as studio.guide."
    from ..guides import made  # needs torch, as the run that it is for does

    try:
        return made(data), ""
    except InputError:
        return None, "A guide steered it that this version does not know."


def loras_known(sources: Any, used: Iterable[Lora]) -> tuple[list[Lora], list[str]]:
    """(The LoRAs of a record whose files were ``used`` here, the others in words)."""
    known = {lora.path.name: lora.path for lora in used}
    found, missing = list[Lora](), list[str]()
    for source in recorded(sources):
        if source.kind == "lora":
            path = known.get(source.name) or known.get(source.name.split("/")[0])
            strength = 1.0 if source.strength is None else source.strength
            lora = Lora(path or Path(source.name), strength, source.text_strength)
            if path:
                found.append(lora)
            else:
                missing.append(f"the LoRA {shown(lora)}")
    return found, missing


def _not_shown(settings: Settings) -> dict[str, Any]:
    """The settings that the Studio has no control for, where they are not at their defaults."""
    usual = Settings()
    names = [field.name for field in fields(Settings) if field.name not in SETTINGS]
    values = {name: getattr(settings, name) for name in names}
    return {
        name.replace("_", " "): value
        for name, value in values.items()
        if value != getattr(usual, name)
    }
