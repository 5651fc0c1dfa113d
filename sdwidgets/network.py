"""A model's network as a run calls it: told its inputs, with controls, guided and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .configs import ImageConfig, SizesConfig
from .controls import Controls
from .diffusion import Denoiser, Step
from .models.conditioning import Given, conditioned
from .models.controlled import Controlled
from .models.windows import Window, Windowed, windows_of
from .numerics import dtype_name, is_finite
from .settings import AttentionSettings, Settings
from .told import Told
from .trace.attention import AttentionRecorder
from .trace.control import ControlRecorder

if TYPE_CHECKING:
    from torch import Tensor

    from .pipeline import LatentDiffusion


class Network:
    """The ``denoiser`` of a model for some steps of a run, and what is recorded of each step.

    ``given``: that of ``told``, perhaps with noise on its image. ``attention``: what to record of
    it, if anything.
    """

    def __init__(
        self,
        model: LatentDiffusion,
        settings: Settings,
        told: Told,
        given: Sequence[Given],
        attention: AttentionSettings | None,
        controls: Controls,
    ):
        self.model = model
        self._conditioning = model.condition(given)
        self._controlled: Controlled | None = None
        self._added: ControlRecorder | None = None
        if controls.nets:
            self._added = ControlRecorder(model.config.unet.skip_levels, settings.batch_size)
            self._controlled = Controlled(model.unet, controls.parts(), self._added.look)
        self._recorder: AttentionRecorder | None = None
        if attention and told.has_words:
            negative = told.negative.pieces if told.negative else ()
            factor = model.config.autoencoder.factor
            width, height = settings.size
            self._recorder = AttentionRecorder(
                model.unet,
                height // factor,
                width // factor,
                lengths=[len(pieces) for pieces in told.tokens.pieces],
                uncond_lengths=[len(pieces) for pieces in negative],
                settings=attention,
                read=told.read,
            )
        seen = self._windowed(settings, given)
        network = conditioned(seen, self._conditioning.to(model.device, model.dtype))
        if self._recorder is not None:
            network = self._recorder(network)
        self.denoiser = Denoiser(
            network,
            model.schedule,
            model.config.schedule.prediction,
            dtype=model.dtype,
            guidance_scale=settings.guidance_scale if told.is_guided else None,
            guidance_rescale=settings.guidance_rescale,
            image_guidance_scale=settings.image_guidance_scale
            if model.config.has(ImageConfig)
            else None,
        )

    def _windowed(self, settings: Settings, given: Sequence[Given]) -> Callable[..., Tensor]:
        """The UNet with its controls, which looks at windows if the settings say so."""
        model, network = self.model, self._controlled or self.model.unet
        if not settings.has_windows:
            return network
        assert settings.window is not None
        factor, levels = model.config.autoencoder.factor, len(model.config.unet.channels)
        width, height = settings.size
        windows = windows_of(
            height // factor, width // factor, settings.window // factor, 2 ** (levels - 1)
        )
        watch = [self._controlled, self._added, self._recorder]
        return Windowed(
            network,
            windows,
            vectors=self._vectors(given, windows),
            watch=[each.look_at for each in watch if each is not None],
        )

    def _vectors(self, given: Sequence[Given], windows: Sequence[Window]) -> list[Tensor] | None:
        """The vector for each window, a crop of the image, where a network is told sizes."""
        model = self.model
        if not model.config.has(SizesConfig):
            return None
        factor, told = model.config.autoencoder.factor, list[Given]()
        scored = any(isinstance(e, SizesConfig) and e.score for e in model.config.embedders)
        for window in windows:
            size = window.width * factor, window.height * factor
            for each in given:
                left, top = each.crop or (0, 0)
                told.append(
                    replace(
                        each,
                        original_size=each.original_size or each.size,
                        crop=(left + window.left * factor, top + window.top * factor),
                        target_size=each.target_size or (None if scored else size),
                    )
                )
        vector = model.condition(told).vector
        assert vector is not None
        return [*vector.to(model.device, model.dtype).split(len(given))]

    def at(self, step: int, steps: int) -> None:
        """Say that the next calls are in step ``step`` of ``steps``: controls may act in some."""
        if self._controlled is not None:
            self._controlled.at(step, steps)

    def recorded(self, step: Step) -> Step:
        """The step with what was recorded since the step before."""
        cond, uncond = self.denoiser.take_halves()
        attention = self._recorder.take() if self._recorder else None
        control = self._added.take() if self._added else None
        return replace(step, cond=cond, uncond=uncond, attention=attention, control=control)

    def fault(self, where: str) -> str:
        """The message for a prediction with NaN or infinity ``where`` ("at step 3 of 20")."""
        broken = [
            name
            for name in ("context", "vector", "concat")
            if (route := getattr(self._conditioning, name)) is not None and not is_finite(route)
        ]
        component = "UNet"
        if broken:
            component = "autoencoder" if broken == ["concat"] else "text encoder"
        dtype = dtype_name(self.model.dtype)
        remedy = "The weights are broken, or the settings extreme."
        if dtype != "float32":
            remedy = "Load the model with dtype='float32'."
        return f"The {component} gave NaN or infinity {where} in {dtype}.\n{remedy}"
