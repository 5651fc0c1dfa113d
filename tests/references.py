"""diffusers' networks with our configs and weights, for comparison."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sdwidgets.configs import AutoencoderConfig, ScheduleConfig, UNetConfig


def unet_of(config: UNetConfig, *, linear: bool = True) -> Any:
    """Return diffusers' UNet of ``config``; ``linear=False`` keeps SD1's 1x1 convolutions."""
    from diffusers import UNet2DConditionModel

    levels = range(len(config.channels))
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.depths]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(config.depths)]
    depths = [max(depth, 1) for depth in config.depths]
    if config.middle_depth:
        depths[-1] = config.middle_depth  # as the refiner's last level, without attention, says
    vector: dict[str, Any] = {}
    if config.vector_dim:
        # Six numbers of 8 features each, and the pooled text state.
        features = 256 if config.vector_dim > 1536 else 8
        vector = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": features,
            "projection_class_embeddings_input_dim": config.vector_dim,
        }
    if config.up_depths:
        uneven = [[max(depth, 1) for depth in blocks] for blocks in reversed(config.up_depths)]
        vector["reverse_transformer_layers_per_block"] = uneven
    return UNet2DConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        down_block_types=tuple(down),
        mid_block_type=(None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn")[config.middle],
        up_block_types=tuple(up),
        only_cross_attention=[config.cross_only_at(level) for level in levels],
        layers_per_block=config.blocks_per_level,
        transformer_layers_per_block=depths,
        attention_head_dim=config.heads,  # diffusers' name for the number of heads
        cross_attention_dim=config.context_dim,
        norm_num_groups=config.norm_groups,
        use_linear_projection=linear,
        num_class_embeds=config.classes or None,
        time_cond_proj_dim=config.guidance_dim or None,
        **vector,
    ).eval()


def autoencoder_of(config: AutoencoderConfig) -> Any:
    """Return diffusers' ``AutoencoderKL`` of ``config``, or its ``VQModel``, which has no shift."""
    from diffusers import AutoencoderKL, VQModel

    attention = [level in config.attention_levels for level in range(len(config.channels))]
    both = {
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "block_out_channels": config.channels,
        "down_block_types": tuple("Attn" * has + "DownEncoderBlock2D" for has in attention),
        "up_block_types": tuple("Attn" * has + "UpDecoderBlock2D" for has in attention[::-1]),
        "layers_per_block": config.blocks_per_level,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_groups,
        "scaling_factor": config.scaling_factor,
        "mid_block_add_attention": config.mid_attention,
    }
    if config.codes:
        return VQModel(num_vq_embeddings=config.codes, **both).eval()
    return AutoencoderKL(shift_factor=config.shift_factor, **both).eval()


SCHEDULERS = {
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": False, "clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}
"""diffusers' scheduler of each of our samplers, with what sets it to do the same."""


def scheduler_of(config: ScheduleConfig, sampler: str, **more: Any) -> Any:
    """Return diffusers' scheduler for a sampler; ``more`` changes its config."""
    import diffusers

    name, options = SCHEDULERS[sampler]
    if config.zero_snr:
        options = {**options, "rescale_betas_zero_snr": True}
    return getattr(diffusers, name)(
        num_train_timesteps=config.steps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule=config.kind,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[config.prediction],
        **{"steps_offset": config.offset, "timestep_spacing": config.spacing, **options, **more},
    )


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy weights by name; our linear layers may be their 1x1 convolutions."""
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    state = {name: tensor.reshape(shapes[name]) for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of all weights, attention's 1x1 convolutions as linear layers."""
    return {
        name: tuple(t.shape[:2] if "attentions" in name and t.ndim == 4 else t.shape)
        for name, t in model.state_dict().items()
    }


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a fraction of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
