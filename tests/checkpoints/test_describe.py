"""What `inspect` says of files and folders."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    SMALL,
    compvis_tensors,
    edit_json,
    networks,
    one_tensor,
    raw_safetensors,
    write_folder,
    write_header,
    write_tokenizer,
)
from kinds_of_files import FILES
from published import layouts_of, shapes_of

import sdwidgets
from sdwidgets import cli, inspect
from sdwidgets.checkpoints import hub
from sdwidgets.checkpoints.describe import Description
from sdwidgets.checkpoints.families import FAMILIES, Family
from sdwidgets.configs import SD1, SDXL, LabelMapConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sd1(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "tokenizer")
    return write_header(tmp_path / "whole.safetensors", shapes_of(SD1, "compvis"))


def held(description: Description) -> dict[str, int]:
    return {each.part: each.tensors for each in description.holds}


# --------------------------------------------------------------------------------------- a table


@pytest.mark.parametrize("title", FILES)
def test_every_kind_of_file_is_described(title: str, tmp_path: Path) -> None:
    shapes, key, family = FILES[title]
    found = inspect(write_header(tmp_path / "a file.safetensors", shapes))
    assert (found.kind, found.family) == (key, family)
    said = str(found)
    assert 1 < len(said.splitlines()) <= 6 and said.isprintable() is False  # several lines
    assert family in said and found.what in said
    assert sum(held(found).values()) <= len(shapes)
    json.dumps(found.as_dict())


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("kohya SD1", "LoRA, rank 4, for Stable Diffusion 1, kohya names"),
        ("LoHa", "LoRA, LoHa, rank 4, for Stable Diffusion 1, kohya names"),
        ("cloneofsimo", "LoRA, rank 4, with new words of its own, for Stable Diffusion 1"),
        ("diffusers 2022", "diffusers (2022) names"),
        ("PEFT", "PEFT names"),
        ("OFT", "OFT cannot be applied by this kit"),
        ("kohya word", "Textual inversion, 8 vectors, for Stable Diffusion 1, kohya names"),
        ("diffusers word", "Textual inversion, 1 vector, for Stable Diffusion 1"),
        ("A1111 word", "Textual inversion, 2 vectors, for Stable Diffusion 2, A1111 names"),
        ("Flux", "Flux model"),
        ("unknown", "the first named 'another'"),
        ("CLIP-L", "Text encoder alone (CLIP): CLIP-L"),
    ],
)
def test_the_words_say_what_matters(title: str, words: str, tmp_path: Path) -> None:
    assert words in str(inspect(write_header(tmp_path / "x.safetensors", FILES[title][0])))


# ----------------------------------------------------------------------------------- whole models


def test_a_whole_model_is_described_as_it_would_load(sd1: Path) -> None:
    found = inspect(sd1)
    assert (found.kind, found.family, found.layout) == ("model", "Stable Diffusion 1", "CompVis")
    assert held(found) == {"UNet": 686, "autoencoder": 248, "text encoder": 196}
    assert (found.prediction, found.resolution, found.dtype) == ("eps", 512, "float16")
    assert found.loads == f"sdw.load({str(sd1)!r})" and not found.refused
    assert found.bytes == sd1.stat().st_size and found.parameters == 1_066_235_307
    assert not found.missing and found.ignored == ("1 tensor for positions",)
    assert str(found) == (
        "Stable Diffusion 1, CompVis names.\n"
        "  2.13 GB of float16: UNet (686 tensors), autoencoder (248 tensors), text encoder "
        "(196 tensors).\n"
        "  It predicts eps (as is usual in its family); made for 512 x 512 pixels.\n"
        "  Left out: 1 tensor for positions.\n"
        f"  Load it with {found.loads}"
    )


WHOLE = [family for family in FAMILIES if family.key != "rdm"]  # its file lacks CLIP


@pytest.mark.parametrize("family", WHOLE, ids=[family.key for family in WHOLE])
def test_every_family_is_told_in_every_layout(family: Family, tmp_path: Path) -> None:
    titles = {"compvis": "CompVis", "sgm": "Stability (sgm)", "diffusers": "diffusers"}
    for layout in layouts_of(family.preset):
        path = write_header(tmp_path / f"{layout}.safetensors", shapes_of(family.preset, layout))
        found = inspect(path)
        assert (found.what, found.family, found.layout) == (
            family.title, family.title, titles[layout]
        )  # fmt: skip
        assert found.prediction is not None and found.resolution in (256, 512, 768, 1024)
        assert found.loads == f"sdw.load({str(path)!r})" and not found.refused
        assert {"UNet", "autoencoder"} <= set(held(found))
        has_more = family.preset.context_width > 0 or family.preset.has(LabelMapConfig)
        assert (len(held(found)) > 2) == has_more
        assert not any("no known part" in said for said in found.ignored)


def test_marks_and_leftovers_are_told_apart(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    more: dict[str, tuple[int, ...]] = {
        "betas": (1000,), "alphas_cumprod": (1000,), "model_ema.decay": (),
        "model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3), "v_pred": (0,),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 77),
        "first_stage_model.loss.logvar": (1,), "stray": (3, 4),
    }  # fmt: skip
    found = inspect(write_header(tmp_path / "x.safetensors", shapes_of(SD1, "compvis") | more))
    assert held(found) == {"UNet": 686, "autoencoder": 248, "text encoder": 196, "EMA copy": 1}
    assert (found.prediction, found.decided) == ("v", "its mark 'v_pred' says so")
    said = str(found)
    assert "3 tensors of the noise schedule of its training" in said and "stray" in said
    assert "1 tensor of its training's losses" in said and "v_pred" not in " ".join(found.ignored)


def test_what_a_file_lacks_is_said(tmp_path: Path) -> None:
    shapes = {
        n: s for n, s in shapes_of(SD1, "compvis").items() if n.startswith("model.diffusion_model.")
    }
    found = inspect(write_header(tmp_path / "unet only.safetensors", shapes))
    assert found.kind == "model" and found.missing == ("an autoencoder", "a text encoder")
    assert found.loads == f"sdw.load({str(found.path)!r}, vae=VAE, text=TEXT)"
    assert "It lacks an autoencoder and a text encoder" in str(found) and not found.refused
    shapes |= FILES["VAE of a whole model"][0]


def test_a_doubt_is_no_error(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    path = write_header(
        tmp_path / "x.safetensors", {**shapes_of(SD1, "compvis"), "v_pred": (0,)},
        **{"modelspec.prediction_type": "epsilon"},
    )  # fmt: skip
    found = inspect(path)
    assert found.family == "Stable Diffusion 1" and found.prediction is None and not found.loads
    assert "in doubt" in found.refused and "in doubt" in str(found)


def test_a_folder_is_described(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "small")
    found = inspect(folder)
    assert (found.kind, found.layout, found.prediction) == ("model", "diffusers", "eps")
    assert "config says so" in found.decided and found.loads == f"sdw.load({str(folder)!r})"
    assert set(held(found)) == {"UNet", "autoencoder", "text encoder"}
    edit_json(folder / "model_index.json", _class_name="FluxPipeline")
    other = inspect(folder)
    assert "FluxPipeline" in other.what and other.refused and not other.loads
    assert held(other) == held(found)


def test_the_folder_of_a_part_is_described(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "small")
    vae = inspect(folder / "vae")
    assert vae.kind == "autoencoder" and "vae=" in vae.loads and "KL-f2" in vae.what
    assert inspect(folder / "unet").kind == "unet"
    assert inspect(folder / "text_encoder").kind == "text_encoder"
    peft = tmp_path / "peft"
    write_header(peft / "adapter_model.safetensors", FILES["PEFT"][0])
    (peft / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "lora_alpha": 16, "r": 8})
    )
    found = inspect(peft)
    assert found.kind == "lora" and found.family == "Stable Diffusion 2"
    assert ("alpha", "16") in found.notes and ("kind", "LORA") in found.notes
    one = tmp_path / "one"
    write_header(one / "pytorch_lora_weights.safetensors", FILES["diffusers"][0])
    assert inspect(one).kind == "lora"
    write_header(one / "b.safetensors", FILES["diffusers"][0])
    with pytest.raises(CheckpointError, match="2 files"):
        inspect(one)


def test_models_by_name_are_found_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inspect("emoji").loads == "sdw.load('emoji')"
    commit = "a" * 40
    repository = tmp_path / "models--ana--small"
    write_folder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(hub, "_cache", lambda: tmp_path)
    assert inspect("ana/small").loads == "sdw.load('ana/small')"
    with pytest.raises(CheckpointNotFound, match=r"sdw\.load\('ana/other'\) fetches it"):
        inspect("ana/other")
    with pytest.raises(CheckpointNotFound, match="no file or folder"):
        inspect("nothing here")
    with pytest.raises(InputError):
        inspect(5)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------- notes


def test_a_file_speaks_of_itself_in_plain_clipped_text(tmp_path: Path) -> None:
    notes = {
        "modelspec.title": "A <b>puppet</b>\n\x1b[31m\u202e" + "x" * 10_000,
        "modelspec.author": "Ana",
        "modelspec.trigger_phrase": "a sks puppet",
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": json.dumps({"1_set": {"puppet": 9, "hat": 20}, "2_set": {"hat": 1}}),
    }
    path = write_header(tmp_path / "x.safetensors", FILES["kohya SD1"][0], **notes)
    found = dict(inspect(path).notes)
    assert found["trigger words"] == "a sks puppet" and found["author"] == "Ana"
    assert found["trained on"] == "sd_v1" and found["tags of its images"] == "hat, puppet"
    assert found["title"].startswith("A <b>puppet</b> [31m x") and len(found["title"]) == 100
    assert all(line.isprintable() for line in str(inspect(path)).splitlines())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"b": "c"}}', "9" * 5000])
def test_notes_that_are_wrong_are_no_error(tmp_path: Path, text: str) -> None:
    shapes = FILES["kohya SD1"][0]
    path = write_header(tmp_path / "x.safetensors", shapes, ss_tag_frequency=text)
    assert "tags of its images" not in dict(inspect(path).notes)


# ------------------------------------------------------------------------------- how it is found


class Counted(io.FileIO):
    """A file that counts the bytes that are read."""

    read_bytes = 0

    def read(self, size: int | None = -1) -> Any:
        found = super().read(size)
        Counted.read_bytes += len(found or b"")
        return found

    def readinto(self, buffer: Any) -> Any:
        count = super().readinto(buffer)
        Counted.read_bytes += count or 0
        return count


def test_only_the_header_of_a_large_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdwidgets.checkpoints import weights

    write_tokenizer(tmp_path / "tokenizer")
    path = write_header(tmp_path / "large.safetensors", shapes_of(SD1, "compvis"), "F32")
    assert path.stat().st_size > 4e9
    with path.open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    monkeypatch.setattr(weights, "open_regular", lambda path: Counted(path))
    assert inspect(path).family == "Stable Diffusion 1"
    assert header <= Counted.read_bytes < 3 * (header + 4096)


def test_neither_files_nor_folders_need_torch(sd1: Path) -> None:
    code = (
        "import sys, sdwidgets\n"
        f"for path in ({str(sd1)!r}, 'emoji'):\n"
        "    assert sdwidgets.inspect(path).loads\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 20, one_tensor()[:-1], one_tensor() + b"x", b"<!doctype html>",
     b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4265380512\n",
     raw_safetensors(b"[" * 1000), b"GGUF" + bytes(100)],
)  # fmt: skip
def test_what_is_no_file_of_weights_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        inspect(path)
    assert len(str(caught.value).splitlines()) <= 3


# --------------------------------------------------------------------------------------- the shell


def test_the_command_prints_the_words(
    sd1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(sd1)]) == 0
    assert capsys.readouterr().out == f"{inspect(sd1)}\n"
    (tmp_path / "cut.safetensors").write_bytes(one_tensor()[:-1])
    paths = [str(sd1), str(tmp_path / "cut.safetensors"), str(tmp_path / "nothing")]
    assert cli.main(["inspect", *paths]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{sd1}: {inspect(sd1)}\n"
    assert "is cut" in printed.err and "no file or folder" in printed.err
    assert cli.main(["inspect", "--json", *paths]) == 1
    first, *others = json.loads(capsys.readouterr().out)
    assert first == json.loads(json.dumps(inspect(sd1).as_dict()))
    assert ["error" in other for other in others] == [True, True]


def test_it_is_public() -> None:
    assert {"inspect", "Description"} <= set(sdwidgets.__all__)
    with pytest.raises(AttributeError):
        inspect("emoji").kind = "x"  # type: ignore[misc]


# ---------------------------------------------------------------------------------------- pickles


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_pickle_is_described_and_nothing_of_it_runs(tmp_path: Path) -> None:
    zeros = {name: torch.zeros(shape) for name, shape in FILES["kohya SD1"][0].items()}
    found = inspect(saved(tmp_path / "a.pt", zeros))
    assert (found.kind, found.family) == ("lora", "Stable Diffusion 1")
    assert (
        found.loads == f"model.with_lora({str(found.path)!r})"
        and "nothing of it was run" in str(found)
    )

    word = {"string_to_token": {"*": 265}, "name": "x", "step": 5,
            "string_to_param": {"*": torch.zeros(3, 768)}}  # fmt: skip
    found = inspect(saved(tmp_path / "word.pt", word))
    assert (found.kind, found.layout) == ("embedding", "A1111") and "3 vectors" in found.what

    pairs = [torch.zeros(320, 4), torch.zeros(4, 768)]
    assert inspect(saved(tmp_path / "list.pt", pairs)).layout == "cloneofsimo"

    vae = {name: torch.zeros(shape) for name, shape in FILES["VAE, CompVis"][0].items()}
    found = inspect(saved(tmp_path / "vae.ckpt", {"state_dict": vae}))
    assert found.kind == "autoencoder" and f"vae={str(found.path)!r}" in found.loads
    assert found.loads.startswith("sdwidgets convert 'vae.ckpt' --out 'vae.safetensors'")


def test_a_model_in_a_pickle_names_the_command(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    wide = {"channels": (32, 64), "norm_groups": 32}
    config = replace(
        SMALL,
        unet=replace(SMALL.unet, context_dim=768, **wide),
        autoencoder=replace(SMALL.autoencoder, **wide),
        embedders=(replace(SMALL.text[0], width=768, heads=12),),
    )
    weights = compvis_tensors(networks(config), config)
    path = saved(tmp_path / "m.ckpt", {"state_dict": weights, "optimizer_states": [{}]})
    (tmp_path / "m.yaml").write_text("model:\n  params:\n    parameterization: v\n")
    found = inspect(path)
    assert found.kind == "model" and held(found)["UNet"] > 100
    assert found.what == "Stable Diffusion 1, of other sizes" and not found.refused
    assert (found.prediction, found.decided) == ("v", "'m.yaml' beside it says so")
    assert found.loads == "sdwidgets convert 'm.ckpt' --out 'm.safetensors'"
    assert "state_dict" in str(found) and "optimizer_states" in str(found)
    assert "Convert it with sdwidgets convert" in str(found)


def test_a_hostile_pickle_is_refused_by_name(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    with pytest.raises(CheckpointError, match="print"):
        inspect(saved(tmp_path / "x.pt", {"a": torch.zeros(1), "b": Hostile()}))


# ------------------------------------------------------------------------------ the documentation

DOCUMENT = ROOT / "docs" / "models.md"


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the documentation is not installed")
def test_the_documentation_shows_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DOCUMENT.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    write_header(Path("dreams.safetensors"), shapes_of(SDXL, "sgm"))
    assert f"```\n{inspect('dreams.safetensors')}\n```" in text
    write_header(Path("flux.safetensors"), FILES["Flux"][0])
    with pytest.raises(CheckpointError) as refused:
        sdwidgets.load("flux.safetensors")
    assert f"```\n{refused.value}\n```" in text
    for family in FAMILIES:
        name, *_ = family.title.removeprefix("Segmind ").partition(" (")
        assert all(word in text for word in name.replace(",", "").split()), family.title
    fields = {name for name in Description.__dataclass_fields__ if name not in ("path", "what")}
    assert all(f"`{name}`" in text for name in fields - {"notices"})
