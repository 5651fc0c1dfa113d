"""LoRAs against diffusers' ``load_lora_weights`` and ``fuse_lora``: weights and whole runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_files import drawn, kohya, layers_of, named, write
from references import autoencoder_of, copy_weights, relative_error, unet_of
from torch import Tensor, nn

from sdwidgets.checkpoints import lora_names
from sdwidgets.checkpoints.names import compvis_unet_names
from sdwidgets.configs import SD1, SD2, SDXL, AutoencoderConfig, ModelConfig, TextConfig
from sdwidgets.pipeline import LatentDiffusion

pytestmark = pytest.mark.parity
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

FAMILIES = ("sd1", "sd2", "sdxl")
STEPS = 4
STRENGTH = 0.6


def small(family: str) -> ModelConfig:
    """Return a small model with the published topology and widths of the text states."""
    config = {"sd1": SD1, "sd2": SD2, "sdxl": SDXL}[family]
    texts = [replace(text, layers=2, heads=2, hidden=32) for text in config.text]
    if family == "sdxl":
        texts[1] = replace(texts[1], projection_dim=20)
    rest = [replace(each, width=8) for each in config.embedders[len(texts) :]]
    autoencoder = AutoencoderConfig((8, 8, 16, 16), blocks_per_level=1, norm_groups=4)
    config = replace(config, autoencoder=autoencoder, embedders=(*texts, *rest), size=64)
    unet = replace(
        config.unet,
        channels=(16, 32, 48) if family == "sdxl" else (16, 32, 48, 48),
        heads=(2, 4, 6) if family == "sdxl" else (2, 4, 4, 4),
        depths=(0, 1, 2) if family == "sdxl" else config.unet.depths,
        context_dim=config.context_width,
        vector_dim=config.vector_width,
        norm_groups=8,
    )
    return replace(config, unet=unet)


def text_of(config: TextConfig, ours: nn.Module) -> Any:
    kind = (
        transformers.CLIPTextModelWithProjection
        if config.projection_dim
        else transformers.CLIPTextModel
    )
    theirs = kind(
        transformers.CLIPTextConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            hidden_act=config.activation,
            projection_dim=config.projection_dim or config.width,
        )
    )
    state = ours.state_dict()
    if not any(name.startswith("text_model.") for name in theirs.state_dict()):
        state = {name.removeprefix("text_model."): value for name, value in state.items()}
    theirs.load_state_dict(state, strict=True)
    return theirs.eval()


@pytest.fixture(scope="module")
def model_of(make_model: Callable[[ModelConfig], LatentDiffusion]) -> Any:
    @cache
    def made(family: str) -> LatentDiffusion:
        model = make_model(small(family))
        model.unet.conv_out.weight.mul_(5)  # so that the network matters for the result
        return model

    return made


def pipeline_of(family: str, model: LatentDiffusion) -> Any:
    """Return diffusers' pipeline with the model's weights."""
    unet = unet_of(model.config.unet, linear=family != "sd1")
    vae = autoencoder_of(model.config.autoencoder)
    copy_weights(model.unet, unet)
    copy_weights(model.autoencoder, vae)
    schedule = model.config.schedule
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=schedule.steps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.kind,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[schedule.prediction],
        steps_offset=1,
        timestep_spacing="leading",
        set_alpha_to_one=False,
        clip_sample=False,
    )
    texts = [
        text_of(text, each.model)
        for text, each in zip(model.config.text, model.embedders, strict=False)
    ]
    rest: dict[str, Any] = {"text_encoder": texts[0], "tokenizer": None, "feature_extractor": None}
    if family == "sdxl":
        kind = diffusers.StableDiffusionXLPipeline
        rest |= {"text_encoder_2": texts[1], "tokenizer_2": None, "add_watermarker": False}
    else:
        kind = diffusers.StableDiffusionPipeline
        rest |= {"safety_checker": None, "requires_safety_checker": False}
    pipeline = kind(unet=unet, vae=vae, scheduler=scheduler, **rest)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _processor(path: str) -> str:
    attention, _, rest = path.rpartition(".to_")
    return f"{attention}.processor.to_{rest.removesuffix('.0')}_lora"


def _old(path: str) -> tuple[str, str]:
    return f"unet.{_processor(path)}.down.weight", f"unet.{_processor(path)}.up.weight"


def _attention(unet: nn.Module) -> list[str]:
    return layers_of(unet, ".attn1.", ".attn2.")


def _linear(unet: nn.Module) -> list[str]:
    """The layers that every generation may change, but for SD1's, which are convolutions there."""
    return layers_of(unet, ".attn1.", ".attn2.", ".ff.")


def tensors_of(form: str, model: LatentDiffusion) -> dict[str, Tensor]:
    """Return a LoRA's tensors as a program of that generation writes them."""
    unet, texts = model.unet, [each.model for each in model.embedders[: len(model.config.text)]]
    if form == "kohya":
        tensors = named(unet, _linear(unet), kohya("lora_unet_"), rank=4, alpha=2.0)
        for number, text in enumerate(texts):
            prefix = f"lora_te{number + 1}_" if len(texts) > 1 else "lora_te_"
            paths = layers_of(text, "self_attn", "mlp")
            tensors |= named(text, paths, kohya(prefix), rank=2, alpha=1.0)
        return tensors
    if form == "sgm":
        look_up = compvis_unet_names(model.config.unet)

        def spell(path: str) -> tuple[str, str]:
            found = look_up(f"{path}.weight")[0].name.removeprefix("model.diffusion_model.")
            return kohya("lora_unet_")(found.removesuffix(".weight"))

        return named(unet, _linear(unet), spell, rank=4, alpha=2.0)
    if form == "lcm":  # convolutions, residual blocks, samplers
        paths = [*_linear(unet), *layers_of(unet, "resnets", "samplers")]
        return named(unet, paths, kohya("lora_unet_"), rank=4, alpha=4.0)
    if form == "2022":
        return named(unet, _attention(unet), _old)
    if form == "2023":
        tensors = named(
            unet,
            _linear(unet),
            lambda path: (f"unet.{path}.lora.down.weight", f"unet.{path}.lora.up.weight"),
        )
        for number, text in enumerate(texts):
            prefix = "text_encoder_2" if number else "text_encoder"
            tensors |= named(
                text,
                layers_of(text, "self_attn"),
                lambda path, prefix=prefix: (
                    f"{prefix}.{path}.lora_linear_layer.down.weight",
                    f"{prefix}.{path}.lora_linear_layer.up.weight",
                ),
            )
        return tensors
    assert form == "peft"
    return named(
        unet,
        _linear(unet) + layers_of(unet, "resnets.0.conv1"),
        lambda path: (f"unet.{path}.lora_A.weight", f"unet.{path}.lora_B.weight"),
    )


def fused(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network of diffusers' after ``fuse_lora``, by their own names."""
    return {
        name.replace(".base_layer", ""): weight.detach()
        for name, weight in network.named_parameters()
        if "lora_" not in name
    }


def same_weights(ours: nn.Module, theirs: nn.Module, plain: nn.Module) -> int:
    """Check all weights to 1e-6 of their scale; return how many a LoRA has changed."""
    expected, before, changed = fused(theirs), dict(plain.named_parameters()), 0
    for name, weight in ours.named_parameters():
        key = name if name in expected else name.removeprefix("text_model.")
        other = expected[key].reshape(weight.shape)
        assert (weight - other).abs().max() <= 1e-6 * other.abs().max(), name
        changed += not torch.equal(weight, before[name])
    return changed


FORMS = [
    *((family, form) for family in FAMILIES for form in ("kohya", "2022", "2023", "peft", "lcm")),
    ("sdxl", "sgm"),
]


@pytest.mark.parametrize(("family", "form"), FORMS)
def test_weights_are_diffusers_own(model_of: Any, family: str, form: str, tmp_path: Path) -> None:
    model = model_of(family)
    tensors = tensors_of(form, model)
    file = write(tensors, tmp_path / "pytorch_lora_weights.safetensors")
    pipeline = pipeline_of(family, model)
    pipeline.load_lora_weights(tmp_path, weight_name=file.name)
    pipeline.fuse_lora(lora_scale=STRENGTH)
    new = model.with_lora(file, STRENGTH)
    changed = same_weights(new.unet, pipeline.unet, model.unet)
    theirs = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    for number in range(len(model.config.text)):
        ours, before = new.embedders[number].model, model.embedders[number].model
        changed += same_weights(ours, theirs[number], before)
    assert changed == sum(
        name.endswith((".up.weight", "_up.weight", "lora_B.weight")) for name in tensors
    )


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_folders_of_peft(model_of: Any, options: dict[str, Any], tmp_path: Path) -> None:
    import peft

    model = model_of("sd1")
    paths = layers_of(model.unet, "to_q", "ff.net.2", "resnets.0.conv1")
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=paths, rank_pattern={"mid_block.resnets.0.conv1": 2},
        alpha_pattern={"mid_block.resnets.0.conv1": 5}, **options,
    )  # fmt: skip
    theirs = peft.get_peft_model(copy.deepcopy(model.unet), config)
    with torch.no_grad():
        for number, (name, weight) in enumerate(theirs.named_parameters()):
            if "lora_" in name:
                weight += drawn(*weight.shape, seed=number)
    theirs.save_pretrained(tmp_path)
    new = model.with_lora(tmp_path)
    assert same_weights(new.unet, theirs.merge_and_unload(), model.unet) == len(paths)


def test_two_together(model_of: Any, tmp_path: Path) -> None:
    model = model_of("sd1")
    pipeline = pipeline_of("sd1", model)
    files = []
    for name, form in (("a", "kohya"), ("b", "2023")):
        files.append(write(tensors_of(form, model), tmp_path / name / "lora.safetensors"))
        pipeline.load_lora_weights(
            files[-1].parent, weight_name="lora.safetensors", adapter_name=name
        )
    pipeline.set_adapters(["a", "b"], [0.7, -0.4])
    pipeline.fuse_lora(adapter_names=["a", "b"])
    new = model.with_lora(files[1], -0.4).with_lora(files[0], 0.7)
    assert same_weights(new.unet, pipeline.unet, model.unet)


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_runs(model_of: Any, family: str, tmp_path: Path) -> None:
    plain = model_of(family)
    file = write(tensors_of("kohya", plain), tmp_path / "pytorch_lora_weights.safetensors")
    model = plain.with_lora(file)
    pipeline = pipeline_of(family, plain)
    pipeline.load_lora_weights(tmp_path, weight_name=file.name)
    told = model.condition(["a cat"])
    words: dict[str, Any] = {"prompt_embeds": told.context}
    if family == "sdxl":
        pooled = told.vector[:, : model.config.text[1].projection_dim]
        words |= {
            "negative_prompt_embeds": torch.zeros_like(told.context),
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": torch.zeros_like(pooled),
        }
    else:
        words["negative_prompt_embeds"] = model.condition([""]).context
    expected = pipeline(
        **words,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        width=64,
        height=64,
        output_type="latent",
        generator=torch.Generator().manual_seed(3),
    ).images
    run: dict[str, Any] = {"sampler": "ddim", "schedule": "ddim", "steps": STEPS, "seed": 3}

    def final(model: LatentDiffusion) -> Tensor:
        *_, last = model.sample("a cat", guidance_scale=4.0, **run)
        return last.x_next / (1 + last.sigma_next**2) ** 0.5

    assert relative_error(final(model), expected) < 1e-3
    assert relative_error(final(plain), expected) > 1e-2


@pytest.mark.parametrize(
    "classes", [("Attention", "GEGLU"), ("Attention", "GEGLU", "ResnetBlock2D"), ("FeedForward",)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_count_the_modules_of_diffusers(
    model_of: Any, family: str, classes: tuple[str, ...]
) -> None:
    """cloneofsimo's files have numbers in place of names: in the order of diffusers' modules."""
    model = model_of(family)
    order = []
    for name, module in unet_of(model.config.unet, linear=family != "sd1").named_modules():
        if type(module).__name__ in classes:
            layers = module.named_modules()
            order += [f"{name}.{n}" for n, m in layers if isinstance(m, (nn.Linear, nn.Conv2d))]
    names = [name for name, _ in model.unet.named_parameters()]
    assert len(order) > 20
    assert order in lora_names.numbered(names, classes)


def test_numbers_count_the_modules_of_transformers(model_of: Any) -> None:
    model = model_of("sd1")
    order = []
    for name, module in text_of(model.config.text[0], model.embedders[0].model).named_modules():
        if type(module).__name__ == "CLIPAttention":
            layers = [n for n, m in module.named_modules() if isinstance(m, nn.Linear)]
            order += [f"text_model.{name.removeprefix('text_model.')}.{n}" for n in layers]
    names = [name for name, _ in model.embedders[0].model.named_parameters()]
    assert order == lora_names.numbered(names, ["CLIPAttention"])[0] and len(order) == 8
