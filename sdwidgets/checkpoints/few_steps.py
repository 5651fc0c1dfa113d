"""Models that were distilled to a few steps, and the settings for which they were made: one table.

Hardly anything in their weights tells that they need few steps and no guidance. It is told by the
scheduler of a model's folder, by a folder's noise grid and size, by the network's inputs or the
text encoder's names, by a file's metadata, or by its name alone, in this order. Only defaults
follow from it, which `sample` takes where nothing else is asked for; how weights are read never
does.

Sources: the model cards of LCM (arXiv 2310.04378) and LCM-LoRA (2311.05556), SD-Turbo and XL Turbo
(2311.17042), SDXL-Lightning (2402.13929), Hyper-SD (2404.13686), TCD (2402.19159) and DMD2
(2405.14867).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..configs import SDXL_TURBO, GuidanceConfig, ModelConfig, UNetConfig
from .families import family_of, is_exactly

SUFFIXES = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt")
MOST = 50
"""The most steps that a name is believed to tell."""


@dataclass(frozen=True)
class FewSteps:
    """The settings for which a distilled model was made.

    ``title``: the method. ``decided``: how it was recognised, in words; ``is_certain``: unless that
    is a guess, such as a name.
    """

    title: str
    steps: int
    sampler: str
    schedule: str = "trailing"
    guidance_scale: float = 1.0
    size: int | None = None  # of its images, if that is not its family's
    decided: str = ""
    is_certain: bool = False

    def __str__(self) -> str:
        settings = f"{self.steps}, {self.sampler}, guidance {self.guidance_scale:g}"
        return f"{settings} ({self.decided})"

    def notice(self, name: str) -> str:
        """What is the default of a model or a LoRA of that name, and why."""
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        guided = f"guidance {self.guidance_scale:g}" if self.guidance_scale > 1 else "no guidance"
        return (
            f"{name} is made for few steps ({self.title}: {self.decided}), so {steps} of "
            f"{self.sampler} and {guided} are the default."
        )

    def defaults_of(self, config: ModelConfig) -> ModelConfig:
        """The config of a model with these defaults. A network that is told the guidance scale
        keeps its own."""
        guidance = config.guidance_scale if config.has(GuidanceConfig) else self.guidance_scale
        return replace(
            config,
            steps=self.steps,
            sampler=self.sampler,
            schedule_name=self.schedule,
            guidance_scale=guidance,
            size=self.size or config.size,
        )


@dataclass(frozen=True)
class _Kind:
    """A row of the table, with patterns of names in lower case and with single spaces: of whole
    models, and of LoRAs, which have to say more. A LoRA may be of a car or of the weather."""

    few: FewSteps
    model: str
    addition: str


_HYPER = r"\bhyper ?(sd|xl)|\bhyper \d+ ?steps?\b"
_KINDS = (
    _Kind(FewSteps("Hyper-SD", 8, "ddim"), _HYPER, _HYPER),
    _Kind(
        FewSteps("Lightning", 4, "euler"),
        r"\blightning\b",
        r"\bsd ?xl lightning\b|\blightning \d+ ?steps?\b",
    ),
    _Kind(FewSteps("DMD2", 4, "lcm"), r"\bdmd ?2\b", r"\bdmd ?2\b"),
    _Kind(FewSteps("TCD", 4, "tcd"), r"\btcd\b", r"\btcd\b"),
    _Kind(FewSteps("LCM", 4, "lcm"), r"\blcm\b", r"\blcm\b"),
    _Kind(FewSteps("Turbo", 4, "euler"), r"\bturbo\b|\bsd ?(xl ?)?turbo", r"\bsd ?(xl ?)?turbo\b"),
)
_BY_TITLE = {each.few.title: each.few for each in _KINDS}
_BY_SCHEDULER = {"LCMScheduler": "LCM", "TCDScheduler": "TCD"}
_SCHEDULERS = {
    "lcm": "LCMScheduler",
    "tcd": "TCDScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
}
"""Diffusers' class of a distilled model's sampler, if it has to be another than the usual one."""

LIKE_TURBO = "its text encoder has the names of SD-Turbo's"
_TITLES = ("modelspec.title", "ss_output_name", "modelspec.architecture")
_PLAIN_NAMES = re.compile(
    r"(pytorch lora weights|adapter model|diffusion pytorch model|model|unet)( (fp16|bf16|fp32))?"
)


def scheduler_of(config: ModelConfig) -> str:
    """Return diffusers' class of the scheduler with which a model is saved."""
    if config.schedule.spacing == "lcm" and config.sampler != "tcd":
        return "LCMScheduler"
    return _SCHEDULERS.get(config.sampler, "DDIMScheduler")


def of_folder(config: ModelConfig, scheduler: object, label: str) -> FewSteps | None:
    """Return what a folder is made for. ``scheduler``: the class in its scheduler's config, which
    may be anything; ``label``: the folder's name, or the hub's."""
    if isinstance(scheduler, str) and scheduler in _BY_SCHEDULER:
        found = _BY_TITLE[_BY_SCHEDULER[scheduler]]
        told = f"its scheduler is {scheduler.removesuffix('Scheduler')}"
        return _certain(replace(found, schedule="default"), config, told)
    if is_turbo(config):
        sampler = next((own for own, each in _SCHEDULERS.items() if each == scheduler), "euler")
        told = "it has the noise grid and the size of SD-Turbo and XL Turbo"
        return replace(_BY_TITLE["Turbo"], sampler=sampler, decided=told)
    return _by_network(config) or of_name(label.rpartition("/")[2], config.unet)


def of_file(
    path: Path, metadata: Mapping[str, str], config: ModelConfig, *, like_turbo: bool
) -> FewSteps | None:
    """Return what the model in a single file is made for. ``like_turbo``: its text encoder has the
    names of SD-Turbo's, which a Stable Diffusion 2 may have, too."""
    found = _by_network(config) or _by_titles(path, metadata, config.unet, addition=False)
    if found is None and like_turbo:
        return replace(_BY_TITLE["Turbo"], decided=LIKE_TURBO)
    return found


def of_addition(path: Path, metadata: Mapping[str, str], unet: UNetConfig) -> FewSteps | None:
    """Return what a LoRA makes of a model with that network."""
    return _by_titles(path, metadata, unet, addition=True)


def of_config(config: ModelConfig) -> FewSteps | None:
    """Return what a folder of ours is made for, by its own notes; None if that is not few steps."""
    if config.sampler not in {each.few.sampler for each in _KINDS} | {*_SCHEDULERS}:
        return None
    return FewSteps(
        "distilled",
        config.steps,
        config.sampler,
        config.schedule_name,
        config.guidance_scale,
        decided="its model_index.json says so",
        is_certain=True,
    )


def of_name(name: str, unet: UNetConfig, *, addition: bool = False) -> FewSteps | None:
    """Return what a name says: the method, and perhaps the number of steps."""
    text = _spaced(name)
    for kind in _KINDS:
        if re.search(kind.addition if addition else kind.model, text):
            return _with_numbers(kind.few, text, is_xl=unet.vector_dim > 0)
    return None


def is_turbo(config: ModelConfig) -> bool:
    """Whether a folder is one of the two models that were distilled for a few steps and differ from
    others only in what their scheduler and size say."""
    family, noise = family_of(config.unet), config.schedule
    if family is None or family.key not in ("sd2", "sdxl") or not is_exactly(family, config.unet):
        return False
    few = noise.spacing == "trailing" and noise.prediction == "eps" and not noise.zero_snr
    return few and config.size == 512


def _by_network(config: ModelConfig) -> FewSteps | None:
    if not config.has(GuidanceConfig):
        return None
    found = _BY_TITLE["LCM"]
    if config.schedule.spacing == "lcm":
        found = replace(found, schedule="default")
    return _certain(found, config, "its network is told the guidance scale")


def _certain(found: FewSteps, config: ModelConfig, told: str) -> FewSteps:
    guidance = config.guidance_scale if config.has(GuidanceConfig) else found.guidance_scale
    return replace(found, guidance_scale=guidance, decided=told, is_certain=True)


def _by_titles(
    path: Path, metadata: Mapping[str, str], unet: UNetConfig, *, addition: bool
) -> FewSteps | None:
    titles = [(metadata[key], f"its {key} says so") for key in _TITLES if key in metadata]
    titles += [(name, "its name says so") for name in _names(path)]
    for title, told in titles:
        if found := of_name(title[:500], unet, addition=addition):
            return replace(found, decided=told)
    return None


def _names(path: Path) -> Iterator[str]:
    """Yield the names of a file that may tell something: if its own is every file's, its folder's,
    or in the hub's cache the repository's."""
    stem = path.stem if path.suffix in SUFFIXES else path.name
    yield stem
    if _PLAIN_NAMES.fullmatch(_spaced(stem)):
        yield path.parent.name
        if path.parent.parent.name == "snapshots":
            yield path.parent.parent.parent.name.rpartition("--")[2]


def _spaced(name: str) -> str:
    """The words of a name: "SDXL-Lightning_4step" -> "sdxl lightning 4step"."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", " ", name)
    return " ".join(parts.lower().split())


def _with_numbers(few: FewSteps, text: str, *, is_xl: bool) -> FewSteps:
    """The settings with what a name says of them, and what the method does for that many steps."""
    said = re.search(r"\b(\d{1,2}) ?steps?\b", text)
    if said and 1 <= int(said[1]) <= MOST:
        few = replace(few, steps=int(said[1]))
    if few.title == "Turbo" and is_xl:
        size = SDXL_TURBO.size if re.search(r"\bsd ?xl turbo\b", text) else None
        few = replace(few, sampler=SDXL_TURBO.sampler, size=size)
    if few.title == "Hyper-SD":
        if re.search(r"\bcfg\b", text):  # keeps guidance, of 5 to 8
            few = replace(few, guidance_scale=5.0)
        if few.steps == 1:
            few = replace(few, sampler="tcd")
    return replace(few, decided="its name says so")
