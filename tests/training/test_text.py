"""The text encoder's training, on images with captions and on scenes and their twins."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from few_pictures import COLORS, Few

from sdwidgets.configs import EMOJI, TINY
from sdwidgets.errors import InputError
from sdwidgets.models.clip import CLIPText
from sdwidgets.models.text import TextEncoder
from sdwidgets.models.tokenizer import load_tokenizer
from sdwidgets.scenes import OBJECTS, make_scene, plural
from sdwidgets.training import autoencoder, diffusion
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.text import (
    Contrast,
    SceneTwins,
    TextTask,
    caption_vocabulary,
    kept_weights,
    new_text,
    text,
    twin,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    return folder, caption_vocabulary(folder, scenes=3000)


def ids_of(config):
    return {name: getattr(config, name) for name in ("vocab_size", "bos", "eos", "pad")}


def read_by(vocabulary):
    folder, config = vocabulary
    return TextEncoder(
        replace(TINY.text[0], **ids_of(config)), torch.nn.Linear(1, 1), load_tokenizer(folder)
    )


def steps_of(task, steps=20, **plan):
    return list(train(task, Plan(steps=steps, warmup=3, **plan)))


def falls(steps):
    losses = [step.loss for step in steps]
    return np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


# ------------------------------------------------------------------------- tokenizers


def test_the_captions_words_are_one_token_each(vocabulary):
    words = [word for noun in OBJECTS for word in (noun, plural(noun))]
    some = [" ".join(words[i : i + 10]) for i in range(0, len(words), 10)]
    tokens = read_by(vocabulary).tokenize(some)
    assert [piece for pieces in tokens.pieces for piece in pieces] == words


def test_the_bundled_vocabulary_is_that_of_the_captions(tmp_path):
    found = caption_vocabulary(tmp_path)
    assert ids_of(found) == ids_of(EMOJI.text[0])


def test_any_text_can_be_tokenised(vocabulary):
    tokens = read_by(vocabulary).tokenize(["Ein Zebra, café № 5 🐉"])
    assert "".join(tokens.pieces[0]).replace("\ufffd", "") == "einzebra,café№5🐉"


def test_a_new_encoder_reads_the_pictures_captions_word_by_word():
    encoder = new_text(Few())
    assert encoder.tokenize(["a green picture"]).pieces == (("a", "green", "picture"),)
    assert encoder.capacity == 6
    assert encoder.encode(["all red"]).shape == (1, 8, 64)


def test_the_same_pictures_make_the_same_encoder():
    first, again = new_text(Few(), seed=3), new_text(Few(), seed=3)
    assert torch.equal(first.encode(["all blue"]), again.encode(["all blue"]))


def test_pictures_without_captions_have_no_text():
    pictures = Few()
    pictures.caption = lambda number, rng: ""
    with pytest.raises(InputError, match="have no captions"):
        new_text(pictures)


# --------------------------------------------------------------------------- any images


def test_captions_and_pictures_find_each_other():
    pictures = Few(count=6)
    pictures.caption = lambda number, rng: f"all {list(COLORS)[pictures.label(number)]}"
    task = text(pictures, width=16, heads=2, device="cpu")
    last = steps_of(task, steps=18, batch_size=6, lr=3e-3)[-1]
    # Two images of each colour share its caption, which cannot choose between them.
    assert last.metrics["contrast"] == pytest.approx(math.log(2), abs=0.15)
    assert last.metrics["found"] == 1
    assert "told_twins" not in last.metrics


def test_pictures_with_one_caption_are_all_right_for_it():
    pictures = Few(count=6)
    pictures.caption = lambda number, rng: "a picture"
    steps = steps_of(text(pictures, width=16, heads=2, device="cpu"), steps=1, batch_size=6)
    assert steps[0].metrics["found"] == 1


def test_a_trained_encoder_says_what_the_averaged_weights_say(tmp_path):
    task = text(Few(), width=16, heads=2, device="cpu")
    for _ in train(task, Plan(steps=4, batch_size=6), tmp_path / "text.pt"):
        pass
    encoder = task.result()
    assert torch.equal(
        encoder.encode(["all red"]), task.result(tmp_path / "text.pt").encode(["all red"])
    )
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    task.average = None
    assert not torch.equal(encoder.encode(["all red"]), task.result().encode(["all red"]))


def test_resuming_the_contrast_is_exact(tmp_path):
    whole = [s.loss for s in train(text(Few(), width=16, heads=2, device="cpu"), Plan(steps=6))]
    steps = train(text(Few(), width=16, heads=2, device="cpu"), Plan(steps=6), tmp_path / "a.pt")
    begun = [next(steps).loss for _ in range(3)]
    steps.close()
    rest = train(text(Few(), width=16, heads=2, device="cpu"), Plan(steps=6), tmp_path / "a.pt")
    assert begun + [step.loss for step in rest] == whole


# ------------------------------------------------------------------------- scenes


def test_a_twin_has_the_same_things_in_another_arrangement():
    for i in range(40):
        scene = make_scene(random.Random(i), kind="two")
        other = twin(random.Random(i), scene)
        assert other.counts == scene.counts
        assert other.relations != scene.relations
        assert other.background == scene.background


def test_twins_are_in_one_batch(vocabulary, glyphs):
    folder, found = vocabulary
    config = replace(EMOJI.text[0], width=32, heads=2, hidden=64, **ids_of(found))
    torch.manual_seed(0)
    contrast = Contrast(config)
    reader = TextEncoder(config, contrast.text, load_tokenizer(folder))
    twins = SceneTwins(0, glyphs, scenes=24)
    task = TextTask(contrast, reader, twins, len(twins), group=2)
    steps = steps_of(task, batch_size=16)
    assert falls(steps)
    assert 0 <= steps[-1].metrics["told_twins"] <= 1

    kept = CLIPText(config)
    kept.load_state_dict(kept_weights(task.model.state_dict(), config), strict=True)
    ids = reader.tokenize(["a cat left of a car"]).ids
    assert torch.allclose(kept(ids).states, task.model(ids).states, atol=1e-4)


def test_captions_that_are_too_long_are_counted():
    words = " ".join(f"word{i}" for i in range(80))

    class Long(Few):
        def caption(self, number, rng):
            return words if number < 5 else "short"

    with pytest.warns(UserWarning, match="5 of 12 captions are longer than the 75 tokens"):
        text(Long(), width=8, layers=1, heads=2, device="cpu")


@pytest.mark.parametrize("pictures", [None, "folder", np.zeros((2, 8, 8, 3)), [], iter(())])
def test_other_values_are_no_source_of_images(pictures):
    with pytest.raises(InputError, match="pictures must be images to train on"):
        text(pictures)
    with pytest.raises(InputError, match="pictures must be images to train on"):
        diffusion(pictures)
    with pytest.raises(InputError, match="pictures must be images to train on"):
        autoencoder(pictures)
    with pytest.raises(InputError, match="no images to train on"):
        text(Few(count=0))
