"""Textual inversions: every form of their files, and what a model does with their words."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

import sdwidgets as sdw
from sdwidgets.configs import EMOJI, TINY, ModelConfig
from sdwidgets.errors import CheckpointError, CheckpointNotFound, InputError
from sdwidgets.models.conditioning import Given
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.prompts import Reading
from sdwidgets.trace import Trace

SETTINGS: dict[str, Any] = {"steps": 2, "seed": 1}
WIDTH = TINY.text[0].width
VECTORS = torch.arange(3 * WIDTH, dtype=torch.float32).view(3, WIDTH) / 50


def pickled(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def stored(**tensors: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: save_file(tensors, path)


def pictured(path: Path) -> None:
    info = PngInfo()
    values = {"string_to_param": {"*": {"TORCHTENSOR": VECTORS.tolist()}}, "name": "other"}
    info.add_text("sd-ti-embedding", base64.b64encode(json.dumps(values).encode()).decode())
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


A1111 = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": torch.nn.Parameter(VECTORS)},
    "name": "an-older-name",
    "step": 500,
    "sd_checkpoint": None,
    "sd_checkpoint_name": None,
}
FORMS: dict[str, tuple[str, Callable[[Path], None], int]] = {
    "a1111": (".pt", pickled(A1111), 3),
    "kohya": (".safetensors", stored(emb_params=VECTORS), 3),
    "kohya, pickled": (".pt", pickled({"emb_params": VECTORS}), 3),
    "diffusers": (".safetensors", stored(**{"<cat-toy>": VECTORS[:1].clone()}), 1),
    "diffusers, a lone vector": (".bin", pickled({"<cat-toy>": VECTORS[0].clone()}), 1),
    "comfy": (".safetensors", stored(emb=VECTORS), 3),
    "half precision": (".safetensors", stored(clip_l=VECTORS.bfloat16()), 3),
    "an image": (".png", pictured, 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_files_is_read(
    tiny_model: LatentDiffusion, tmp_path: Path, form: str
) -> None:
    ending, write, count = FORMS[form]
    path = tmp_path / f"my-cat{ending}"
    write(path)
    model = tiny_model.with_embeddings([path])
    tokens = model.tokenize(["a my-cat dog"])
    # n vectors are n tokens; the word is the file's name, whatever it is called inside
    assert tokens.learnt[0] == ("", *["my-cat"] * count, "")
    assert tokens.pieces[0] == ("a", "my-cat", *[""] * (count - 1), "dog")
    assert tokens.words[0][1 : count + 1] == ((2, 8),) * count
    text = model.text
    assert text is not None
    found = text.model.text_model.embeddings(tokens.ids)[0, 2 : count + 2]
    positions = text.model.text_model.embeddings.position_embedding.weight[2 : count + 2]
    torch.testing.assert_close(found - positions, VECTORS[:count], atol=0.02, rtol=0.01)


@pytest.mark.parametrize(
    "names", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"), ("emb", "emb2")]
)
def test_two_text_encoders_have_vectors_each(
    make_model: Callable[[ModelConfig], LatentDiffusion], tmp_path: Path, names: tuple[str, str]
) -> None:
    first = TINY.embedders[0]
    second = replace(first, width=16, heads=2, pad=0)
    config = replace(
        TINY, embedders=(first, second), join="width",
        unet=replace(TINY.unet, context_dim=WIDTH + 16),
    )  # fmt: skip
    path = tmp_path / "toy.safetensors"
    save_file({names[0]: torch.ones(2, WIDTH), names[1]: torch.full((2, 16), 2.0)}, path)
    plain = make_model(config)
    model = plain.with_embeddings([path])
    tokens = model.tokenize(["toy"])
    assert tokens.learnt == (("toy", "toy"),) and tokens.others[0].learnt == tokens.learnt
    assert tokens.ids[0, -1] != tokens.others[0].ids[0, -1] == 0  # each pads in its own way
    trace = model.generate("a toy", attention=True, **SETTINGS)
    assert len(trace.tokens[0].padding) == 2
    assert trace.heat_map("toy").shape == (16, 16)
    with pytest.raises(CheckpointError, match=r"needs 2, of width 24 and 16"):
        plain.with_embeddings({"x": write(tmp_path, torch.ones(1, WIDTH))})


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo evil",)


def write(folder: Path, vectors: torch.Tensor, name: str = "x") -> Path:
    save_file({"emb_params": vectors}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


@pytest.mark.parametrize(
    ("shape", "family"),
    [((2, 768), "Diffusion 1"), ((1024,), "Diffusion 2"), ((1, 1280), "refiner"), ((4096,), "T5")],
)
def test_vectors_of_another_family_are_refused_by_its_name(
    tiny_model: LatentDiffusion, tmp_path: Path, shape: tuple[int, ...], family: str
) -> None:
    with pytest.raises(CheckpointError, match=family) as caught:
        tiny_model.with_embeddings([write(tmp_path, torch.ones(shape))])
    assert len(str(caught.value).splitlines()) <= 3


def test_what_is_no_learnt_word_is_refused(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        tiny_model.with_embeddings([tmp_path / "none.pt"])
    with pytest.raises(CheckpointError, match="NaN"):
        tiny_model.with_embeddings([write(tmp_path, torch.full((1, WIDTH), torch.nan))])
    with pytest.raises(CheckpointError, match="is no learnt word"):
        tiny_model.with_embeddings([write(tmp_path, torch.ones(2, 3, WIDTH))])
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(CheckpointError, match="hidden in pixels"):
        tiny_model.with_embeddings([tmp_path / "plain.png"])
    torch.save({"string_to_param": {"*": VECTORS}, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="system"):
        tiny_model.with_embeddings([tmp_path / "evil.pt"])


@pytest.mark.parametrize(
    "embeddings",
    ["x.pt", 5, [5], {"": "x.pt"}, {5: "x.pt"}, {"a" * 101: "x"}, ["a/x.pt", "b/X.bin"]],
)
def test_what_cannot_be_learnt_is_refused_at_once(
    tiny_model: LatentDiffusion, embeddings: Any
) -> None:
    with pytest.raises(InputError) as caught:
        tiny_model.with_embeddings(embeddings)
    assert caught.value.parameter == "embeddings"
    with pytest.raises(InputError):
        sdw.load(embeddings=embeddings)


def test_a_derived_model_shares_all_weights(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    model = tiny_model.with_embeddings([write(tmp_path, VECTORS, "toy")])
    text, before = model.text, tiny_model.text
    assert text is not None and before is not None
    for name, weight in before.model.state_dict(keep_vars=True).items():
        assert text.model.state_dict(keep_vars=True)[name] is weight
    assert list(text.model.state_dict()) == list(before.model.state_dict())
    assert before.model.text_model.embeddings.token_embedding.learnt is None
    (source,) = model.sources[len(tiny_model.sources) :]
    assert (source.name, source.kind) == ("toy.safetensors", "embedding")
    assert model.fingerprint != tiny_model.fingerprint and model.name == tiny_model.name
    other = tiny_model.with_embeddings([write(tmp_path, VECTORS + 1, "toy")])
    assert other.fingerprint != model.fingerprint
    # without the word, both make the same image
    one, two = (each.generate("a cat", **SETTINGS) for each in (model, tiny_model))
    assert (one.steps[-1].x_next == two.steps[-1].x_next).all()
    two = tiny_model.generate("a toy", **SETTINGS)
    assert not (model.generate("a toy", **SETTINGS).steps[-1].x_next == two.steps[-1].x_next).all()


def test_words_are_added_to_those_that_are_there(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    model = tiny_model.with_embeddings([write(tmp_path, VECTORS, "toy")])
    model = model.with_embeddings({"toy box": write(tmp_path, VECTORS[:2] + 1, "b")})
    tokens = model.tokenize(["a TOY, (toy  box:1.2) toybox"])
    assert [name for name in tokens.learnt[0] if name] == ["toy"] * 3 + ["toy box"] * 2
    weights = [w for w, name in zip(tokens.weights[0], tokens.learnt[0], strict=True) if name]
    assert weights == [1, 1, 1, 1.2, 1.2]
    with pytest.raises(InputError, match="already"):
        model.with_embeddings({"Toy": tmp_path / "b.safetensors"})


def test_a_word_stays_in_one_chunk(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    many = torch.ones(40, WIDTH)
    model = tiny_model.with_embeddings({"toy": write(tmp_path, many)})
    tokens = model.tokenize(["toy toy cat"])
    assert tokens.places[0] == (0, *range(1, 41), *range(78, 78 + 42))
    text = model.text
    assert text is not None
    assert text.tokenize(["toy toy cat"]).cut == ("toy cat",)
    huge = tiny_model.with_embeddings({"toy": write(tmp_path, torch.ones(80, WIDTH), "y")})
    assert huge.tokenize(["toy"]).chunks == (2,)  # it cannot fit into one


def test_heat_maps_find_words_in_all_of_these_together(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    """A learnt word, weights, chunks, other Unicode forms, scripts without spaces."""
    model = tiny_model.with_embeddings({"bad-e\u0301lan": write(tmp_path, VECTORS)})
    prompt = "(bad-\u00e9lan:1.3), un(believ)able BREAK [\u732b\u304c\u597d\u304d] " + "the " * 80
    prompt += "(CAFE\u0301:0.7) \\(dog\\)"
    trace = model.generate(prompt, attention=True, **SETTINGS)
    (tokens,) = trace.tokens
    assert max(tokens.places) > 2 * 77
    for word in ("bad-\u00e9lan", "BAD-E\u0301LAN", "unbelievable", "believ", "\u597d\u304d",
                 "caf\u00e9", "dog", "(dog)"):  # fmt: skip
        found = tokens.find(word)
        pieces = [tokens.pieces[column - 1] for column in found]
        assert found and "".join(pieces), word
        assert trace.heat_map(word).max() > 0
    assert len(tokens.find("bad-\u00e9lan")) == 3
    words = [word.text for word in tokens.words]
    assert words[:2] == ["bad-\u00e9lan", ","] and "1.3" not in words and "BREAK" not in words
    for syntax in ("1.3", "BREAK", "0.7"):
        with pytest.raises(InputError, match="not a word"):
            trace.heat_map(syntax)
    kept = Trace.load(trace.save(tmp_path / "run.sdtrace"))
    assert kept.tokens == trace.tokens and [w.text for w in kept.tokens[0].words] == words


def test_weights_and_learnt_words_together_are_what_they_are_apart(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    model = tiny_model.with_embeddings({"toy": write(tmp_path, VECTORS)})
    told = [Given(prompt, (16, 16), reading=Reading("plain")) for prompt in ("toy", "(toy:2)")]
    plain, weighted = model.condition(told).context
    torch.testing.assert_close(weighted[1:4], 2 * plain[1:4])
    torch.testing.assert_close(weighted[4:], plain[4:])


def test_models_are_loaded_with_their_words(tmp_path: Path) -> None:
    path = write(tmp_path, torch.randn(2, EMOJI.text[0].width), "sparkle")
    model = sdw.load(embeddings=[path])
    run = model.sample("a sparkle cat", seed=1, steps=2)
    assert not any("never taught" in notice for notice in run.notices)
    assert run.prompt_tokens()[0].learnt.count("sparkle") == 2


def test_words_inside_files_of_loras_are_read(tiny_model: LatentDiffusion, tmp_path: Path) -> None:
    """OneTrainer's, and cloneofsimo's, by their own names."""
    path = tmp_path / "style.safetensors"
    lora = {f"lora_unet_x{i}.lora_down.weight": torch.ones(1, 1) for i in range(9)}
    words = {
        "bundle_emb.my cat.string_to_param.*": VECTORS,
        "bundle_emb.dog-1.emb_params": VECTORS[:2].clone(),
        "<s1>": VECTORS[0].clone(),
    }
    save_file({**lora, **words}, path)
    tokens = tiny_model.with_embeddings([path]).tokenize(["a my cat <s1>, dog-1"])
    assert [name for name in tokens.learnt[0] if name] == ["my cat"] * 3 + ["<s1>"] + ["dog-1"] * 2
    save_file(lora, path)
    with pytest.raises(CheckpointError, match="9 tensors and 0 learnt words"):
        tiny_model.with_embeddings([path])


def test_a_saved_model_says_that_its_words_are_left_out(
    tiny_model: LatentDiffusion, tmp_path: Path
) -> None:
    model = tiny_model.with_embeddings([write(tmp_path, VECTORS, "toy")])
    with pytest.warns(UserWarning, match=r"learnt words \(toy\)"):
        folder = sdw.save(model, tmp_path / "model")
    assert sdw.load(folder, device="cpu").text.learnt == {}
