"""Models derived from others: shared weights, fingerprints, sources in records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdwidgets.checkpoints import load_autoencoder, load_model, save_autoencoder, save_model
from sdwidgets.configs import TINY, AutoencoderConfig, ModelConfig
from sdwidgets.errors import InputError
from sdwidgets.manager import ModelManager, Request
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.patched import patched
from sdwidgets.models.unet import UNet
from sdwidgets.pipeline import LatentDiffusion, fingerprint_of
from sdwidgets.run import Run
from sdwidgets.settings import Settings
from sdwidgets.sources import Source, hashed
from sdwidgets.trace import Trace

SETTINGS: dict[str, Any] = {"steps": 2, "seed": 1, "sampler": "euler"}


def an_autoencoder(config: AutoencoderConfig = TINY.autoencoder, seed: int = 5) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(config).eval().requires_grad_(False)


# ------------------------------------------------------------------------------ another autoencoder


def test_another_autoencoder_decodes_what_the_same_unet_makes(tiny_model: LatentDiffusion) -> None:
    autoencoder = an_autoencoder()
    model = tiny_model.with_autoencoder(autoencoder, name="finer")
    assert model.unet is tiny_model.unet and model.text is tiny_model.text
    assert model.name == "finer" and tiny_model.name != "finer"
    ours, theirs = model.generate("a cat", **SETTINGS), tiny_model.generate("a cat", **SETTINGS)
    last = ours.steps[-1].denoised
    assert (last == theirs.steps[-1].denoised).all()
    assert ours.image.tobytes() != theirs.image.tobytes()
    assert ours.image.tobytes() == model.decode(last)[0].tobytes()


def test_each_autoencoder_has_its_own_scale(tiny_model: LatentDiffusion) -> None:
    autoencoder = an_autoencoder()
    scale = 2 * TINY.autoencoder.scaling_factor
    other = an_autoencoder(replace(TINY.autoencoder, scaling_factor=scale))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    one = tiny_model.with_autoencoder(autoencoder).decode(latents)[0]
    two = tiny_model.with_autoencoder(other)
    assert two.config.autoencoder.scaling_factor == scale
    assert two.decode(2 * latents)[0].tobytes() == one.tobytes()


def test_an_autoencoder_of_another_size_inside_is_no_hindrance(tiny_model: LatentDiffusion) -> None:
    wide = an_autoencoder(replace(TINY.autoencoder, channels=(12, 20)))
    trace = tiny_model.with_autoencoder(wide).generate("a cat", **SETTINGS)
    assert trace.image.size == (16, 16)


@pytest.mark.parametrize("other", [{"latent_channels": 3}, {"channels": (8, 16, 16)}])
def test_an_autoencoder_for_other_latents_is_refused(
    tiny_model: LatentDiffusion, other: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="same latents") as caught:
        tiny_model.with_autoencoder(an_autoencoder(replace(TINY.autoencoder, **other)))
    assert caught.value.parameter == "autoencoder"


def test_what_is_no_autoencoder_is_refused(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="load_autoencoder"):
        tiny_model.with_autoencoder("vae.safetensors")  # type: ignore[arg-type]


def test_a_record_names_the_autoencoders_file(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    folder = save_autoencoder(an_autoencoder(), tmp_path / "finer")
    autoencoder = load_autoencoder(folder, device="cpu")
    model = tiny_model.with_autoencoder(autoencoder)
    (source,) = model.sources
    assert source.kind == "autoencoder" and source.name.endswith(".safetensors")
    trace = model.generate("a cat", **SETTINGS)
    assert trace.sources == model.sources and trace.fingerprint == model.fingerprint
    trace.save(tmp_path / "run.sdtrace")
    (kept,) = Trace.load(tmp_path / "run.sdtrace").sources
    assert kept.sha256 == hashed([source])[0].sha256 != ""
    assert tiny_model.sources == ()


# ------------------------------------------------------------------------------------- fingerprints


def unseen(model: LatentDiffusion) -> dict[str, torch.Tensor]:
    """Return a patch of a single number that the fingerprint of the weights does not read."""
    name, weight = max(model.unet.named_parameters(), key=lambda item: item[1].numel())
    weight = weight.clone()
    weight.view(-1)[1] += 1
    return {name: weight}


def test_a_patch_that_the_sampled_values_miss_has_its_own_fingerprint(
    tiny_model: LatentDiffusion,
) -> None:
    unet = patched(tiny_model.unet, unseen(tiny_model))
    assert fingerprint_of(unet) == fingerprint_of(tiny_model.unet)
    before = tiny_model.fingerprint
    model = tiny_model.derived(Source("mine", kind="lora", strength=0.5), unet=unet)
    assert model.fingerprint != before and len(model.fingerprint) == 64
    assert tiny_model.fingerprint == before
    assert model.name == f"{tiny_model.name}+mine"


def test_a_fingerprint_depends_on_patch_source_and_strength(tiny_model: LatentDiffusion) -> None:
    unet = patched(tiny_model.unet, unseen(tiny_model))
    twice = {name: weight + 1e-3 for name, weight in unseen(tiny_model).items()}
    other = patched(tiny_model.unet, twice)
    named = Source("a", "1" * 64, kind="lora", strength=0.5)
    models = [
        tiny_model,
        tiny_model.derived(named, unet=unet),
        tiny_model.derived(replace(named, sha256="2" * 64), unet=unet),
        tiny_model.derived(replace(named, strength=0.7), unet=unet),
        tiny_model.derived(Source("a", kind="lora"), unet=unet),
        tiny_model.derived(Source("a", kind="lora"), unet=other),
        tiny_model.derived(named, unet=unet).derived(named, unet=patched(unet, {})),
    ]
    assert len({model.fingerprint for model in models}) == len(models)
    again = tiny_model.derived(named, unet=patched(tiny_model.unet, unseen(tiny_model)))
    assert again.fingerprint == models[1].fingerprint


def test_sources_add_up(tiny_model: LatentDiffusion) -> None:
    unet = patched(tiny_model.unet, unseen(tiny_model))
    one = tiny_model.derived(Source("one", kind="lora"), unet=unet)
    two = one.with_autoencoder(an_autoencoder())
    assert [source.name for source in two.sources] == ["one", "autoencoder"]
    assert two.unet is unet


def test_a_derived_model_needs_a_change_and_a_source(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="source"):
        tiny_model.derived(unet=tiny_model.unet)
    with pytest.raises(InputError, match="part"):
        tiny_model.derived(Source("nothing"))


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"unet": 3}, "unet"),
        ({"unet": UNet(replace(TINY.unet, context_dim=48))}, "unet"),
        ({"unet": UNet(replace(TINY.unet, in_channels=9))}, "unet"),
        ({"autoencoder": "vae.safetensors"}, "autoencoder"),
        ({"embedders": ()}, "embedders"),
        ({"embedders": [CLIPText(TINY.text[0])]}, "embedders"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tiny_model: LatentDiffusion, change: dict[str, Any], parameter: str
) -> None:
    with pytest.raises(InputError) as caught:
        tiny_model.derived(Source("a"), **change)
    assert caught.value.parameter == parameter


def test_a_text_encoder_of_another_width_is_refused(
    make_model: Callable[[ModelConfig], LatentDiffusion], tiny_model: LatentDiffusion
) -> None:
    text = replace(TINY.text[0], width=32)
    unet = replace(TINY.unet, context_dim=32)
    wide = make_model(replace(TINY, unet=unet, embedders=(text,)))
    with pytest.raises(InputError, match="32"):
        tiny_model.derived(Source("a"), embedders=wide.embedders)


def test_the_models_own_part_is_no_change(tiny_model: LatentDiffusion) -> None:
    with pytest.raises(InputError, match="a new part"):
        tiny_model.derived(Source("a"), unet=tiny_model.unet)
    with pytest.raises(InputError, match="a source"):
        tiny_model.derived("a lora", unet=UNet(TINY.unet))  # type: ignore[arg-type]


def test_another_network_is_in_the_config(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    wide = UNet(replace(TINY.unet, channels=(24, 40))).eval()
    model = tiny_model.derived(Source("wide"), unet=wide)
    assert model.config.unet == wide.config
    loaded = load_model(save_model(model, tmp_path / "model"), device="cpu")
    assert loaded.config.unet == wide.config


# ------------------------------------------------------------------------------------ in a manager


def test_a_manager_offers_parent_and_child(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path: Path
) -> None:
    parent = make_model(TINY)
    child = parent.with_autoencoder(an_autoencoder(), name="child")
    with ModelManager(budget=1) as manager:  # less than either model, but both belong to the test
        assert [manager.add(parent, "parent"), manager.add(child)] == ["parent", "child"]
        jobs = [
            manager.submit(Request(name, Settings("a cat", **SETTINGS)))
            for name in ("parent", "child")
        ]
        traces = [job.result(60) for job in jobs]
    assert [trace.sources for trace in traces] == [(), child.sources]
    assert traces[0].image.tobytes() != traces[1].image.tobytes()


def test_a_request_says_what_the_model_should_be_made_of(tiny_model: LatentDiffusion) -> None:
    """A run with other sources than those expected says so, in the run and in its record."""
    child = tiny_model.derived(Source("mine", kind="lora"), unet=UNet(TINY.unet).eval())
    seen: list[Run] = []
    with ModelManager() as manager:
        manager.add(child, "child")
        request = Request("child", Settings("a cat", **SETTINGS), sources=child.sources)
        assert manager.submit(request).result(60).notices == ()
        other = replace(request, sources=(Source("yours", kind="lora"),))
        trace = manager.submit(other, on_run=seen.append).result(60)
        with pytest.raises(InputError, match="sources") as caught:
            manager.submit(replace(request, sources=("mine",)))  # type: ignore[arg-type]
    assert trace.notices == ("Made with other files; used: mine, expected: yours.",)
    assert seen[0].notices == trace.notices == tuple(trace.record()["notices"])
    assert caught.value.parameter == "sources"
