"""Our own folder layout: any model, whole, strictly, and sharing what a bundled model has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import SMALL, edit_json, write_folder

from sdwidgets import configs
from sdwidgets.checkpoints import convert, inspect, load_model, plain_config, save_model, zoo
from sdwidgets.checkpoints.listing import examine, find
from sdwidgets.checkpoints.save_system import save_system
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import TINY, ClassConfig, MaskedImageConfig, ModelConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError, SDWidgetsError
from sdwidgets.pipeline import LatentDiffusion

Make = Callable[[ModelConfig], LatentDiffusion]

CLASSES = replace(TINY, name="classes", embedders=(ClassConfig(("cat", "dog"), 24),))
NOTHING = replace(
    TINY, name="nothing", embedders=(), unet=replace(TINY.unet, context_dim=0, depths=(0, 0))
)
PRESETS = [each for each in vars(configs).values() if isinstance(each, ModelConfig)]


def state(model: LatentDiffusion) -> dict[str, torch.Tensor]:
    parts = {"unet": model.unet, "autoencoder": model.autoencoder}
    parts |= {f"embedders.{n}": each.model for n, each in enumerate(model.embedders)}
    return {f"{p}.{n}": t for p, each in parts.items() for n, t in each.state_dict().items()}


def same(ours: LatentDiffusion, theirs: LatentDiffusion) -> bool:
    a, b = state(ours), state(theirs)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("config", PRESETS, ids=lambda config: config.name)
def test_every_preset_is_plain_data_and_back(config: ModelConfig) -> None:
    plain = json.loads(json.dumps(plain_config.config_to_plain(config)))
    assert plain_config.config_from_plain(plain, "here") == config


def test_a_model_that_diffusers_cannot_describe(make_model: Make, tmp_path: Path) -> None:
    model = make_model(CLASSES)
    path = save_model(model, tmp_path / "classes")
    assert {each.name for each in path.iterdir()} == {"model.json", "weights.safetensors"}
    again = load_model(path, device="cpu")
    assert again.config == model.config and same(again, model)
    assert again.fingerprint == model.fingerprint and not again.notices
    images = [m.generate("dog", steps=2, seed=1).image.tobytes() for m in (model, again)]
    assert images[0] == images[1]


def test_an_unconditional_model(make_model: Make, tmp_path: Path) -> None:
    model = make_model(NOTHING)
    again = load_model(save_model(model, tmp_path / "nothing"), device="cpu")
    assert again.config == NOTHING and same(again, model)


def test_text_encoders_keep_their_tokenizers(tmp_path: Path) -> None:
    model = load_model(write_folder(tmp_path / "small"), device="cpu")
    words = {"nouns": ("cat", "dog")}
    path = save_system(replace(model, vocabulary=words), tmp_path / "system", dtype=None)
    again = load_model(path, device="cpu")
    assert again.config == SMALL and same(again, model) and again.vocabulary == words
    prompts = ["a cat, <|endoftext|> dog"]
    assert model.text is not None and again.text is not None
    assert torch.equal(again.text.tokenize(prompts).ids, model.text.tokenize(prompts).ids)


def test_a_folder_changes_its_layout_at_once(make_model: Make, tmp_path: Path) -> None:
    model = load_model(write_folder(tmp_path / "model"), device="cpu")
    (tmp_path / "model" / "README.md").write_text("mine")
    save_model(make_model(CLASSES), tmp_path / "model")
    files = {each.name for each in (tmp_path / "model").iterdir()}
    assert files == {"model.json", "weights.safetensors", "README.md"}
    save_model(model, tmp_path / "model")
    files = {each.name for each in (tmp_path / "model").iterdir()}
    assert "model_index.json" in files and "README.md" in files
    assert not {"model.json", "weights.safetensors"} & files


# ---------------------------------------------------------------------------------------- sharing


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatentDiffusion:
    """SMALL as the only bundled model, "emoji"."""
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    return load_model(write_folder(tmp_path / "weights" / "emoji"), device="cpu", dtype="float32")


def changed(model: LatentDiffusion, *names: str) -> LatentDiffusion:
    """A copy of a model in which these parameters of the UNet are others."""
    from sdwidgets.models.patched import patched

    new = {name: 2 * model.unet.state_dict()[name] for name in names}
    return replace(model, unet=patched(model.unet, new))


SHARES = {"unet": "emoji", "autoencoder": "emoji", "embedders.0": "emoji"}


def test_what_a_bundled_model_has_is_left_out(bundled: LatentDiffusion, tmp_path: Path) -> None:
    model = changed(bundled, "conv_in.weight", "conv_out.bias")
    path = save_system(model, tmp_path / "mine", dtype=None, shares=SHARES)
    assert {each.name for each in path.iterdir()} == {"model.json", "weights.safetensors"}
    with WeightFile(path / "weights.safetensors") as file:
        assert set(file.entries) == {"unet.conv_in.weight", "unet.conv_out.bias"}
    again = load_model(path, device="cpu")
    assert again.config == model.config and same(again, model)
    assert again.text is not None and len(again.text.tokenizer) == 521
    assert [source.name for source in again.sources] == ["weights.safetensors"]


def test_a_part_of_another_shape_is_not_shared(bundled: LatentDiffusion, tmp_path: Path) -> None:
    from sdwidgets.models.unet import UNet

    config = replace(
        SMALL,
        unet=replace(SMALL.unet, in_channels=9),
        embedders=(*SMALL.embedders, MaskedImageConfig()),
    )
    from sdwidgets.models.images import MaskedImage

    unet = UNet(config.unet)
    own = {n: t for n, t in bundled.unet.state_dict().items() if n != "conv_in.weight"}
    unet.load_state_dict(own, strict=False)
    sees = MaskedImage(MaskedImageConfig(), bundled.autoencoder)
    model = replace(bundled, config=config, unet=unet, embedders=(*bundled.embedders, sees))
    path = save_system(model, tmp_path / "mine", dtype=None, shares=SHARES)
    with WeightFile(path / "weights.safetensors") as file:
        assert set(file.entries) == {"unet.conv_in.weight"}
    assert same(load_model(path, device="cpu"), model)
    # The bundled tensor has another shape, so the file may not lack it.
    edit_json(path / "model.json", shares={**SHARES, "unet": "emoji"})
    (path / "weights.safetensors").unlink()
    save_system(bundled, tmp_path / "empty", dtype=None, shares=SHARES)
    (tmp_path / "empty" / "weights.safetensors").rename(path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"conv_in\.weight"):
        load_model(path, device="cpu")


def test_half_precision_shares_what_it_stores(bundled: LatentDiffusion, tmp_path: Path) -> None:
    path = save_system(bundled, tmp_path / "mine", shares={"unet": "emoji"})
    with WeightFile(path / "weights.safetensors") as file:
        assert not any(name.startswith("unet.") for name in file.entries)
        assert {entry.dtype for entry in file.entries.values()} == {"F16"}
    assert json.loads((path / "model.json").read_text())["shares"] == {"unet": "emoji"}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"unet": "other"}, "Bundled here: emoji"),
        ({"decoder": "emoji"}, "no part"),
        ({"embedders.1": "emoji"}, "no part"),
        ({"autoencoder": "KL-f3"}, "Bundled here"),
        ({"unet": None}, "Bundled here"),
    ],
)
def test_shares_that_no_bundled_model_has(
    bundled: LatentDiffusion, tmp_path: Path, shares: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        save_system(bundled, tmp_path / "mine", shares=shares)
    assert not (tmp_path / "mine").exists()
    path = save_system(bundled, tmp_path / "mine")
    edit_json(path / "model.json", shares=shares)
    with pytest.raises(CheckpointError, match=said):
        load_model(path)


# ------------------------------------------------------------------------------ damaged and hostile


@pytest.fixture(scope="module")
def saved(make_model: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(make_model(CLASSES), tmp_path_factory.mktemp("system") / "classes")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(saved, tmp_path / "folder"))


def refused(folder: Path, *, by_header: bool = True) -> str:
    """Return why a folder is refused; a list says the same, if headers and configs tell."""
    with pytest.raises(SDWidgetsError) as caught:
        load_model(folder, device="cpu")
    text = str(caught.value)
    assert text.isascii() and len(text) < 1000 and len(text.splitlines()) <= 3
    one = examine(next(one for one in find([str(folder)]) if one.place == "folder"))
    assert one.why == (text if by_header else "")
    return text


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("unet.channels", [16, 33], "norm_groups"),
        ("unet.channels", [], "list of 1 to 8"),
        ("unet.channels", [2**40, 16], "channels.0"),
        ("unet.channels", "16", "a list"),
        ("unet.heads", [2], "2 whole numbers"),
        ("unet.depths", [1, 10_000], "depths"),
        ("unet.middle", 3, "middle"),
        ("unet.colour", 1, "'colour', which this version"),
        ("autoencoder.scaling_factor", 0, "scaling_factor"),
        ("autoencoder.codes", -1, "codes"),
        ("autoencoder.mid_attention", 1, "true or false"),
        ("embedders", [{"class": "Boom", "names": []}], "embedders.0.class"),
        ("embedders", [{"class": "ClassConfig", "names": ["a"]}], "has no width"),
        ("embedders", [{"class": "ClassConfig", "names": [1], "width": 24}], "names.0"),
        ("embedders", [{"class": "ClassConfig", "names": ["a"], "width": 25}], "width 25"),
        ("embedders", ["cat"], "embedders.0.class"),
        ("schedule.prediction", "w", "'eps' or 'v'"),
        ("schedule.beta_end", 1.5, "beta"),
        ("sampler", "magic", "one of"),
        ("schedule_name", "magic", "one of"),
        ("size", 0, "pixels"),
        ("join", None, "join"),
        ("name", 5, "a text"),
        ("unet", None, "an object"),
    ],
)
def test_configs_that_describe_no_model(folder: Path, path: str, value: Any, said: str) -> None:
    whole = json.loads((folder / "model.json").read_text())
    place = whole["config"]
    *above, last = path.split(".")
    for name in above:
        place = place[name]
    place[last] = value
    (folder / "model.json").write_text(json.dumps(whole))
    assert said in refused(folder)


def test_files_that_are_damaged(folder: Path) -> None:
    whole = (folder / "model.json").read_text()
    edit_json(folder / "model.json", sdwidgets=2)
    assert "newer version" in refused(folder)
    edit_json(folder / "model.json", sdwidgets=1, config=None)
    assert "an object was expected" in refused(folder)
    (folder / "model.json").write_text(whole)
    data = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[:-8])
    assert "weights.safetensors" in refused(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(CheckpointNotFound):
        load_model(folder)


def test_a_tensor_too_many_or_too_few(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = load_file(folder / "weights.safetensors")
    save_file({**whole, "unet.more": torch.zeros(1)}, folder / "weights.safetensors")
    assert "no place for 1" in refused(folder, by_header=False)
    name = "embedders.0.embedding.weight"
    save_file({n: t for n, t in whole.items() if n != name}, folder / "weights.safetensors")
    said = refused(folder, by_header=False)
    assert name in said and "table of classes" in said


def test_a_config_of_a_far_larger_network_than_its_file(folder: Path) -> None:
    whole = json.loads((folder / "model.json").read_text())
    whole["config"]["unet"]["depths"] = [64, 64]
    (folder / "model.json").write_text(json.dumps(whole))
    assert "do not belong together" in refused(folder, by_header=False)


def test_other_files_of_that_name_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"layers": []}')
    with pytest.raises(CheckpointError, match="not a model folder"):
        load_model(tmp_path)


# ------------------------------------------------------------------ listed, described and converted


def test_it_is_listed_and_described(folder: Path) -> None:
    one = examine(next(one for one in find([str(folder)]) if one.place == "folder"))
    assert one.state == "found" and "16 x 16 pixels" in one.what
    found = inspect(folder)
    assert (found.kind, found.layout, found.resolution) == ("model", "sdwidgets", 16)
    assert found.loads == f"sdw.load({str(folder)!r})"
    assert {each.part for each in found.holds} >= {"UNet", "autoencoder"}


def test_converting_keeps_the_layout(folder: Path, tmp_path: Path, make_model: Make) -> None:
    done = convert(folder, tmp_path / "half", dtype="float16")
    again = load_model(done.path, device="cpu")
    assert again.config == CLASSES
    assert torch.equal(
        again.unet.conv_in.weight, make_model(CLASSES).unet.conv_in.weight.half().float()
    )


def test_bundled_models_load_by_name(
    bundled: LatentDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = changed(bundled, "conv_in.weight")
    save_system(model, tmp_path / "weights" / "emoji-class", dtype=None, shares=SHARES)
    assert same(load_model("emoji-class", device="cpu"), model)
    assert [one.name for one in find() if one.place == "bundled"] == ["emoji", "emoji-class"]
    assert inspect("emoji-class").loads == "sdw.load('emoji-class')"
    with pytest.raises(CheckpointNotFound, match="not in this installation"):
        load_model("emoji-map")


OTHERS: dict[str, dict[str, Any]] = {
    "plain attention": {
        "unet": replace(TINY.unet, transformers=False, context_dim=0),
        "embedders": (),
    },
    "scale and shift": {"unet": replace(TINY.unet, scale_shift=True, resample_blocks=True)},
    "pixels": {
        "unet": replace(TINY.unet, in_channels=3, out_channels=3),
        "autoencoder": configs.PIXELS,
    },
    "neighbours": {
        "embedders": (
            configs.NeighboursConfig(
                width=24,
                vision=configs.VisionConfig(
                    size=8, patch=4, width=16, layers=1, heads=2, hidden=16, projection_dim=24
                ),
                text=replace(TINY.text[0], width=16, heads=2, projection_dim=24),
            ),
        )
    },
    "boxes": {"embedders": (configs.BoxesConfig(("cat", "dog"), 24, 1, 2, 8, 3, 70, 11),)},
    "label map": {
        "unet": replace(TINY.unet, in_channels=7, context_dim=0, transformers=False),
        "embedders": (configs.LabelMapConfig(("sky", "cat", "dog"), stages=1),),
    },
    "own mask": {
        "unet": replace(TINY.unet, in_channels=9),
        "embedders": (*TINY.embedders, MaskedImageConfig(mask_last=True, signed=True, fill=-1)),
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_kind_of_model_comes_back(name: str, make_model: Make, tmp_path: Path) -> None:
    model = make_model(replace(TINY, name=name, **OTHERS[name]))
    path = save_model(model, tmp_path / "model")
    assert (path / "model.json").is_file()
    again = load_model(path, device="cpu")
    assert again.config == model.config and same(again, model)


def test_numbers_of_which_no_embedder_can_be_made(make_model: Make, tmp_path: Path) -> None:
    boxes = OTHERS["boxes"]["embedders"][0]
    path = save_model(make_model(replace(TINY, embedders=(boxes,))), tmp_path / "model")
    plain = json.loads((path / "model.json").read_text())
    plain["config"]["embedders"][0]["vocab_size"] = 64
    (path / "model.json").write_text(json.dumps(plain))
    assert "too small for" in refused(path, by_header=False)
