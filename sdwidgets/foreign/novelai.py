"""NovelAI's settings: the JSON in "Comment", with the prompt in "Description"."""

from __future__ import annotations

from collections.abc import Mapping

from .data import inside, json_object, text
from .found import Found
from .names import take_sampler, whole


def read(texts: Mapping[str, str]) -> Found | None:
    """What the text says; None if there is none."""
    if "stealth" in texts:  # all texts in one JSON object
        hidden = json_object(texts["stealth"]) or {}
        texts = {name: value for name, value in hidden.items() if isinstance(value, str)}
    said = json_object(texts.get("Comment"))
    if said is None or not ("uc" in said or "NovelAI" in texts.get("Software", "")):
        return None
    found = Found("NovelAI", model=texts.get("Source", ""))
    caption = text(inside(said, "v4_prompt", "caption", "base_caption"))
    prompt = text(said.pop("prompt", "")) or texts.get("Description", "") or caption
    found.values = {
        "prompt": prompt,
        "negative_prompt": text(said.pop("uc", "")),
        "steps": whole(said.pop("steps", None)),
        "seed": whole(said.pop("seed", None)),
        "guidance_scale": said.pop("scale", None),
        "guidance_rescale": said.pop("cfg_rescale", None),
        "width": whole(said.pop("width", None)),
        "height": whole(said.pop("height", None)),
    }
    take_sampler(found, said.pop("sampler", None), said.pop("noise_schedule", None))
    if said.get("request_type") == "Img2ImgRequest":
        found.task, found.values["strength"] = "image to image", said.pop("strength", None)
    found.values = {name: value for name, value in found.values.items() if value is not None}
    if any(bracket in prompt for bracket in "{}"):
        found.others["weights"] = "{word} and [word] are NovelAI's, by 1.05 each"
    found.others |= {name: value for name, value in said.items() if value not in (False, None)}
    return found
