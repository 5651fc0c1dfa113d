"""The controls of a run: checked against its model, their images at its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from .configs import ControlNetConfig, ModelConfig
from .errors import InputError
from .models.controlled import ControlPart
from .models.controlnet import ControlNet
from .pictures import fitted
from .pixels import to_tensor
from .settings import Settings
from .sources import Source
from .trace.record import GivenControl, Reference

if TYPE_CHECKING:
    from .control import Control
    from .pipeline import LatentDiffusion


@dataclass(frozen=True, eq=False)
class Controls:
    """The controls of a run. ``given`` is what its record keeps of them."""

    nets: tuple[ControlNet, ...] = ()
    images: tuple[Image.Image, ...] = ()
    given: tuple[GivenControl, ...] = ()
    sources: tuple[Source, ...] = ()
    notices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        controls: Sequence[Control],
        model: LatentDiffusion,
        settings: Settings,
        steps: int,
        nets: Sequence[ControlNet] = (),
    ) -> Controls:
        """The controls of a run of ``steps`` steps with these checked settings.

        Networks are loaded here where a control names a file; ``nets`` are those that are loaded
        already. Raises InputError for a network of
        another family than the model's, and what `load_control` raises.
        """
        images, given = list[Image.Image](), list[GivenControl]()
        sources, notices = list[Source](), list[str]()
        nets = nets or [control.network(model.device, model.dtype) for control in controls]
        for number, (control, net) in enumerate(zip(controls, nets, strict=True), 1):
            name = control.name
            _check_fits(net.config, model.config, name)
            image, _, changes = fitted(control.image, None, *settings.size, settings.fit)
            which = f"control {number}" if len(controls) > 1 else "the control"
            notices += [
                said.replace("The image", f"The image of {which}", 1)
                for said in (*control.notices, *changes)
            ]
            images.append(image)
            given.append(
                GivenControl(
                    name, image, control.strength, control.start, control.end, _made_by(control)
                )
            )
            own = net.sources or (Source(name, kind="controlnet"),)
            sources += [replace(one, strength=control.strength) for one in own]
            if control.strength == 0 or not any(
                given[-1].acts(step, steps) for step in range(steps)
            ):
                notices.append(_idle(which, given[-1], steps))
        return cls(tuple(nets), tuple(images), tuple(given), tuple(sources), tuple(notices))

    @torch.no_grad()
    def parts(self) -> list[ControlPart]:
        """The networks, each with its embedded image."""
        parts = []
        for net, image, one in zip(self.nets, self.images, self.given, strict=True):
            weight = net.conv_in.weight
            pixels = (to_tensor(image) + 1) / 2  # from -1 .. 1 to 0 .. 1
            hint = net.embed(pixels.to(weight.device, weight.dtype))
            parts.append(ControlPart(net, hint, one.strength, one.acts))
        return parts


@dataclass(frozen=True, eq=False)
class _Again:
    """A control as it was given to a run that has ended; see `control.Control`."""

    name: str
    net: ControlNet
    image: Image.Image
    strength: float
    start: float
    end: float
    notices: tuple[str, ...] = ()

    def network(self, device: torch.device, dtype: torch.dtype) -> ControlNet:
        return self.net.on(device, dtype)


def controls_again(given: Sequence[GivenControl]) -> tuple[Any, ...]:
    """The controls that a run followed. Raises InputError if a network is no longer there."""
    controls: list[Any] = []
    for one in given:
        if isinstance(one.made_by, Reference):
            net = one.made_by()
            if net is not None and one.image is not None:
                controls.append(_Again(one.name, net, one.image, one.strength, one.start, one.end))
                continue
        elif one.made_by is not None:
            controls.append(one.made_by)
            continue
        raise InputError(
            f"The run followed a control by {one.name!r}, which is no longer there.\n"
            "Give it again: control=sdwidgets.Control(net, picture), or control=() for none.",
            parameter="control",
        )
    return tuple(controls)


def are_same(some: Sequence[GivenControl], others: Sequence[GivenControl]) -> bool:
    """Whether runs that follow them follow the same images in the same way."""
    return len(some) == len(others) and all(
        one.as_dict() == other.as_dict()
        and one.image is not None
        and other.image is not None
        and one.image.tobytes() == other.image.tobytes()
        for one, other in zip(some, others, strict=True)
    )


def _made_by(control: Control) -> Any:
    """What a record keeps of a control: no network, which may be large."""
    net = getattr(control, "net", None)
    return Reference(net) if isinstance(net, ControlNet) else control


def _check_fits(net: ControlNetConfig, model: ModelConfig, name: str) -> None:
    """Raise InputError unless what the network adds fits the skips of the model's UNet."""
    theirs, ours = net.unet, model.unet
    pairs = [
        ("text states of width", theirs.context_dim, ours.context_dim, net.reads_context),
        ("a vector of width", theirs.vector_dim, ours.vector_dim, theirs.vector_dim > 0),
        ("latents of channels", theirs.in_channels, model.autoencoder.latent_channels, True),
        ("images that are reduced by", net.factor, model.autoencoder.factor, True),
        ("levels of channels", _listed(theirs.channels), _listed(ours.channels), True),
        ("blocks per level:", theirs.blocks_per_level, ours.blocks_per_level, True),
    ]
    for what, needed, there, counts in pairs:
        if counts and needed != there:
            raise InputError(
                f"The ControlNet {name} is for another family of models than {model.name!r}:\n"
                f"it needs {what} {needed}; the model has {there}.\n"
                "Use a ControlNet that was made for this family.",
                parameter="control",
            )


def _listed(channels: Sequence[int]) -> str:
    return ", ".join(map(str, channels))


def _idle(which: str, given: GivenControl, steps: int) -> str:
    if given.strength == 0:
        return f"The strength of {which} is 0, so it had no effect."
    return (
        f"No whole step of {steps} is between {given.start:g} and {given.end:g} of the run, so "
        f"{which} had no effect."
    )
