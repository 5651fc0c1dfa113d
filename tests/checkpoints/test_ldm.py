"""Files of latent diffusion's own systems: told, read strictly, and written by their names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_names import digest
from published import shapes_of, without_memory
from safetensors.torch import save_file
from torch import Tensor

from sdwidgets import configs
from sdwidgets.checkpoints import convert, infer, inspect, load_model, names
from sdwidgets.checkpoints.contents import Contents, tensors_of
from sdwidgets.checkpoints.families import family_of, is_exactly
from sdwidgets.checkpoints.recognise import kind_of
from sdwidgets.checkpoints.save_file import in_one_file
from sdwidgets.checkpoints.stages import is_trained, read_as, stage_of
from sdwidgets.configs import (
    BertConfig,
    BoxesConfig,
    ClassConfig,
    ModelConfig,
    NeighboursConfig,
    TextConfig,
    VisionConfig,
)
from sdwidgets.errors import CheckpointError, InputError
from sdwidgets.pipeline import LatentDiffusion


def narrow(channels: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(32 * width // channels[0] for width in channels)


def small(config: ModelConfig) -> ModelConfig:
    """Return a system of the same kind with few channels; contexts are as wide as published."""
    unet = config.unet
    channels = narrow(unet.channels)
    alike = len(set(unet.heads)) == 1
    heads = unet.heads if alike else tuple(width // 32 for width in channels)
    changes: dict[type, dict[str, Any]] = {
        BertConfig: {"layers": 1, "vocab_size": 300},
        BoxesConfig: {"layers": 1, "vocab_size": 700},
        NeighboursConfig: {
            "vision": VisionConfig(
                size=8, patch=4, width=64, layers=1, heads=1, hidden=16, projection_dim=768
            ),
            "text": TextConfig(
                vocab_size=521, bos=519, eos=520, pad=520, layers=1, hidden=16, projection_dim=768
            ),
        },
    }
    return replace(
        config,
        unet=replace(unet, channels=channels, heads=heads),
        autoencoder=replace(config.autoencoder, channels=narrow(config.autoencoder.channels)),
        embedders=tuple(replace(e, **changes.get(type(e), {})) for e in config.embedders),
    )


GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "ldm_names.json").read_text())
Make = Callable[[ModelConfig], LatentDiffusion]
SYSTEMS = (
    "LDM_CELEBAHQ", "LDM_CHURCHES", "LDM_IMAGENET_VQ8", "LDM_IMAGENET", "LDM_TEXT_256",
    "LDM_TEXT", "LDM_LAYOUT", "LDM_LANDSCAPES_256", "LDM_BSR", "LDM_INPAINTING", "RDM_768",
)  # fmt: skip
SMALL = {name: small(getattr(configs, name)) for name in SYSTEMS}


@pytest.mark.parametrize("name", GOLDEN)
def test_names_and_shapes_are_those_of_the_published_code(name: str) -> None:
    prefixes = {"unet": names.UNET, "vae": names.AUTOENCODER, "stage": names.STAGE}
    shapes = shapes_of(getattr(configs, name), "compvis")
    for part, known in GOLDEN[name].items():
        start = prefixes[part]
        found = [(n.removeprefix(start), s) for n, s in shapes.items() if n.startswith(start)]
        assert {"tensors": len(found), "sha256": digest(found)} == known
    assert {start for start in prefixes.values() if any(n.startswith(start) for n in shapes)} == {
        prefixes[part] for part in GOLDEN[name]
    }


@pytest.mark.parametrize("name", SYSTEMS)
def test_they_are_written_so(name: str) -> None:
    config: ModelConfig = getattr(configs, name)
    told = tuple(filter(is_trained, config.embedders))
    parts = {part: tensors_of(network) for part, network in without_memory(config).items()}
    stages = tuple(parts["stage"] for _ in told)
    contents = Contents(replace(config, embedders=told), parts["unet"], parts["vae"], stages, ())
    found = {n: t.shape for n, t in in_one_file(contents, "compvis").items()}
    known = shapes_of(config, "compvis")
    assert found == {n: shape for n, shape in known.items() if ".to_logits." not in n}


@pytest.mark.parametrize("name", GOLDEN)
def test_shapes_tell_the_system(name: str) -> None:
    config: ModelConfig = getattr(configs, name)
    shapes = shapes_of(getattr(configs, name), "compvis")
    place = infer.unet_place(shapes)
    assert place is not None and kind_of(shapes) is None
    unet = infer.infer_unet(shapes, place)
    assert unet == config.unet
    family = family_of(unet, stage_of(shapes))
    assert family is not None and is_exactly(family, unet)
    told = tuple(read_as(each, shapes, config.autoencoder) for each in family.preset.embedders)
    assert told == config.embedders
    coder = infer.infer_autoencoder(shapes, names.AUTOENCODER)
    assert replace(coder, scaling_factor=config.autoencoder.scaling_factor) == config.autoencoder


@pytest.mark.parametrize("name", SYSTEMS)
def test_weights_are_those_of_the_published_code(name: str, tmp_path: Path) -> None:
    """Its tensors, found by an independent table, are in the places that ours names."""
    import compvis

    from sdwidgets.checkpoints.fill import Part, fill, plan
    from sdwidgets.checkpoints.layout import Weights
    from sdwidgets.checkpoints.weights import WeightFile
    from sdwidgets.models.unet import UNet

    config = SMALL[name].unet
    with torch.device("meta"):
        unet = UNet(config)
    lookup = names.compvis_unet_names(config, "")
    theirs: dict[str, Tensor] = {}
    for own, tensor in unet.state_dict().items():
        (source,) = lookup(own)
        shape = (source.parts * tensor.shape[0], *tensor.shape[1:])
        theirs[source.name] = compvis.weight(source.name, shape)
    save_file(theirs, tmp_path / "unet.safetensors")
    with WeightFile(tmp_path / "unet.safetensors") as file:
        part = Part("UNet", unet, Weights([file], lookup))
        fill(plan(part), torch.float32, torch.device("cpu"))
    known = compvis.filled(UNet(config), compvis.unet_names(config)).state_dict()
    assert all(torch.equal(tensor, known[key]) for key, tensor in unet.state_dict().items())


def test_every_published_system_is_in_the_list() -> None:
    assert [getattr(configs, name) for name in GOLDEN] == list(configs.ZOO)


# --------------------------------------------------------------------------------- whole models


@pytest.fixture(autouse=True)
def _few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """BERT's vocabulary has 30,522 tokens; 300 are enough here."""
    from sdwidgets.models import embedders
    from sdwidgets.models.wordpiece import SPECIAL, WordPiece

    words = [*SPECIAL, "a", "cat", "dog", ",", *(f"##{n}" for n in range(200))]
    made = {word: number for number, word in enumerate(words)}
    monkeypatch.setattr(embedders, "bert_tokenizer", lambda: WordPiece(made))


def state(model: LatentDiffusion) -> dict[str, Tensor]:
    parts = {"unet": model.unet, "vae": model.autoencoder}
    parts |= {f"embedders.{n}": each.model for n, each in enumerate(model.embedders)}
    return {f"{p}.{n}": t for p, each in parts.items() for n, t in each.state_dict().items()}


def same(ours: LatentDiffusion, theirs: LatentDiffusion) -> bool:
    a, b = state(ours), state(theirs)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def tensors(model: LatentDiffusion) -> dict[str, Tensor]:
    """Return the tensors of a model's file, with what training leaves in it."""
    own = {n: t.read() for n, t in in_one_file(Contents.of(model), "compvis").items()}
    return {**own, "betas": torch.zeros(1000), "alphas_cumprod": torch.linspace(1, 0.01, 1000)}


def averaged(own: Mapping[str, Tensor], factor: float = 1.0) -> dict[str, Tensor]:
    """Return a moving average of a network's weights, as PyTorch Lightning's buffers."""
    inner = {n.removeprefix("model."): t for n, t in own.items() if n.startswith(names.UNET)}
    found = {f"model_ema.{name.replace('.', '')}": factor * t for name, t in inner.items()}
    return {**found, "model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.ones(())}


def written(path: Path, own: Mapping[str, Tensor]) -> Path:
    save_file({n: t.contiguous().clone() for n, t in own.items()}, path)
    return path


def towers(model: LatentDiffusion, folder: Path) -> dict[str, Path]:
    """Write CLIP's towers of an encoder of neighbours as transformers does, and a tokenizer."""
    from vocabulary import write_vocabulary

    folder.mkdir()
    write_vocabulary(folder)
    inside = model.embedders[0].model.state_dict()
    own = {n.removeprefix("vision.").removeprefix("text."): t for n, t in inside.items()}
    written(folder / "model.safetensors", own)
    return {"text": folder / "model.safetensors", "tokenizer": folder}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_is_loaded_strictly(name: str, make_model: Make, tmp_path: Path) -> None:
    model = make_model(SMALL[name])
    own = tensors(model)
    path = written(tmp_path / "system.safetensors", own)
    more: dict[str, Any] = towers(model, tmp_path / "clip") if name == "RDM_768" else {}
    again = load_model(path, device="cpu", **more)
    assert again.config == replace(model.config, name="system")
    assert same(again, model) and again.prediction == "eps"
    found = inspect(path)
    assert found.kind == "model" and found.layout == "CompVis"
    assert found.family.startswith(("latent diffusion", "retrieval-augmented diffusion"))
    assert not found.refused or name == "RDM_768"


@pytest.mark.parametrize("name", ["LDM_CELEBAHQ", "LDM_LANDSCAPES_256"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tensor_too_many_or_too_few(name: str, make_model: Make, tmp_path: Path) -> None:
    """A tensor that nobody knows may change what the network computes."""
    own, path = tensors(make_model(SMALL[name])), tmp_path / "system.safetensors"
    stray = f"{names.UNET}input_blocks.1.0.more.weight"
    with pytest.raises(CheckpointError, match="no place for 1"):
        load_model(written(path, {**own, stray: torch.zeros(3)}), device="cpu")
    few = {n: t for n, t in own.items() if n != f"{names.UNET}input_blocks.1.0.in_layers.2.weight"}
    with pytest.raises(CheckpointError, match="1 of"):
        load_model(written(path, few), device="cpu")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_moving_average_is_taken_as_in_its_code(make_model: Make, tmp_path: Path) -> None:
    model = make_model(SMALL["LDM_IMAGENET"])
    own = tensors(model)
    path = written(tmp_path / "ema.safetensors", {**own, **averaged(own, 2.0)})
    with pytest.warns(UserWarning, match="moving average") as said:
        again = load_model(path, device="cpu")
    assert not any("unknown" in str(each.message) for each in said)
    assert torch.equal(again.unet.conv_in.weight, 2 * model.unet.conv_in.weight)
    ours, theirs = again.autoencoder.decoder, model.autoencoder.decoder
    assert torch.equal(ours.conv_in.weight, theirs.conv_in.weight)
    # One that is not whole is left out.
    some = {**own, **averaged(own, 2.0)}
    del some["model_ema.diffusion_modelinput_blocks00weight"]
    again = load_model(written(path, some), device="cpu")
    assert torch.equal(again.unet.conv_in.weight, model.unet.conv_in.weight)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_measured_scale_of_latents(make_model: Make, tmp_path: Path) -> None:
    model = make_model(SMALL["LDM_CHURCHES"])
    path = written(
        tmp_path / "churches.safetensors", {**tensors(model), "scale_factor": torch.tensor(0.22)}
    )
    assert load_model(path, device="cpu").config.autoencoder.scaling_factor == pytest.approx(0.22)
    done = convert(path, tmp_path / "again.safetensors", layout="compvis")
    again = load_model(done.path, device="cpu")
    assert again.config.autoencoder.scaling_factor == pytest.approx(0.22)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_classes_are_numbers(make_model: Make, tmp_path: Path) -> None:
    three = ClassConfig(("a", "b", "c"), 512, null=False)
    config = replace(SMALL["LDM_IMAGENET"], embedders=(three,))
    path = written(tmp_path / "x.safetensors", tensors(make_model(config)))
    model = load_model(path, device="cpu")
    assert model.config.embedders == (replace(three, names=("0", "1", "2")),)
    config = replace(config, name="mine", embedders=(ClassConfig(("a", "b"), 512),))
    assert load_model(path, device="cpu", config=config).config == config
    wrong = replace(config, embedders=(ClassConfig(("a", "b", "c"), 512),))
    with pytest.raises(CheckpointError, match="table of classes"):
        load_model(path, device="cpu", config=wrong)


@pytest.mark.parametrize("name", ["LDM_LAYOUT", "LDM_INPAINTING"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_converted_both_ways(name: str, make_model: Make, tmp_path: Path) -> None:
    model = make_model(SMALL[name])
    own = tensors(model)
    torch.save({"state_dict": own, "epoch": 3}, tmp_path / "model.ckpt")
    folder = convert(tmp_path / "model.ckpt", tmp_path / "folder", layout="folder").path
    assert {each.name for each in folder.iterdir()} == {"model.json", "weights.safetensors"}
    assert same(load_model(folder, device="cpu"), model)
    done = convert(folder, tmp_path / "again.safetensors", layout="compvis", dtype="float16")
    again = load_model(done.path, device="cpu")
    assert all(torch.equal(t, state(model)[n].half().float()) for n, t in state(again).items())
    with pytest.raises(InputError, match="diffusers has no names"):
        convert(folder, tmp_path / "no.safetensors", layout="diffusers")
    assert not (tmp_path / "no.safetensors").exists()


def test_retrieval_needs_clips_towers(make_model: Make, tmp_path: Path) -> None:
    path = written(tmp_path / "rdm.safetensors", tensors(make_model(SMALL["RDM_768"])))
    with pytest.raises(CheckpointError, match=r"vision encoder(.|\n)*text="):
        load_model(path)
    found = inspect(path)
    assert found.missing == ("a text encoder",) and found.loads.endswith(", text=TEXT)")
