"""The parts' training tasks and the evaluation, on tiny sizes and without the font."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from vocabulary import write_vocabulary

from sdwidgets.configs import EMOJI, TINY
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.text import TextEncoder, build_text, load_tokenizer
from sdwidgets.models.unet import UNet
from sdwidgets.scenes import OBJECTS, article, make_scene, plural, render
from sdwidgets.training import evaluate, parts, recognizer
from sdwidgets.training.autoencoder import (
    AutoencoderTask,
    Trained,
    absorb_shift,
    quieten,
    standardize,
)
from sdwidgets.training.data import SceneCrops, draw, scene_at
from sdwidgets.training.diffusion import DiffusionTask, WithCells, cached_latents, layout
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.text import (
    Contrast,
    TextTask,
    caption_vocabulary,
    kept_weights,
    twin,
)


@pytest.fixture(scope="module")
def glyphs():
    made = {}
    for i, noun in enumerate(OBJECTS):
        made[noun] = Image.new("RGBA", (60, 50), (0, 0, 0, 0))
        ImageDraw.Draw(made[noun]).ellipse((0, 0, 59, 49), fill=(6 * i, 255 - 6 * i, 128, 255))
    return made


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    return folder, caption_vocabulary(folder, scenes=3000)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    config = replace(EMOJI.autoencoder, channels=(8, 8, 8, 16), norm_groups=2, scaling_factor=1.0)
    return Autoencoder(config)


def falls(task, steps=30, **plan):
    losses = [s.loss for s in train(task, Plan(steps=steps, warmup=3, **plan))]
    return np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_autoencoders_loss_falls(autoencoder, glyphs):
    quieten(autoencoder)
    task = AutoencoderTask(Trained(autoencoder), SceneCrops(0, glyphs), l2=4.0, large_from=20)
    assert falls(task, batch_size=8)


def test_training_the_decoder_alone_leaves_the_latents_as_they_are(autoencoder, glyphs):
    images = draw([scene_at(0, 0)], glyphs)
    before = autoencoder.encode(images).mode()
    task = AutoencoderTask(Trained(autoencoder), SceneCrops(0, glyphs), decoder_only=True)
    for _ in train(task, Plan(steps=3, batch_size=4)):
        pass
    assert torch.equal(autoencoder.encode(images).mode(), before)


def test_crops_show_their_object(glyphs):
    images = SceneCrops(0, glyphs).crops(range(6), 32)
    assert images.shape == (6, 3, 32, 32)
    assert (images.flatten(2).std(2).amax(1) > 0.02).all()


def test_standardised_latents_have_zero_mean_and_unit_variance(autoencoder, glyphs):
    autoencoder.config = standardize(autoencoder, glyphs, scenes=32)
    latents = autoencoder.encode(draw([scene_at(1, i) for i in range(32)], glyphs)).mode()
    assert latents.mean().item() == pytest.approx(0, abs=1e-3)
    assert latents.std().item() == pytest.approx(1, abs=1e-3)


def test_absorbing_the_shift_changes_neither_latents_nor_pictures(autoencoder, glyphs):
    autoencoder.double()  # in single precision the order of the sums shows
    autoencoder.config = replace(autoencoder.config, shift_factor=0.3, scaling_factor=0.5)
    images = draw([scene_at(0, 0)], glyphs).double()
    latents = autoencoder.encode(images).mode()
    pictures = autoencoder.decode(latents)
    absorb_shift(autoencoder)
    assert autoencoder.config.shift_factor == 0
    assert torch.allclose(autoencoder.encode(images).mode(), latents, atol=1e-5)
    assert torch.allclose(autoencoder.decode(latents), pictures, atol=1e-5)


def test_the_captions_words_are_one_token_each(vocabulary):
    folder, config = vocabulary
    encoder = TextEncoder(
        replace(TINY.text[0], **_ids(config)), torch.nn.Linear(1, 1), load_tokenizer(folder)
    )
    words = [word for noun in OBJECTS for word in (noun, plural(noun))]
    tokens = encoder.tokenize([" ".join(words[i : i + 10]) for i in range(0, len(words), 10)])
    assert [piece for pieces in tokens.pieces for piece in pieces] == words


def test_the_bundled_vocabulary_is_that_of_the_captions(tmp_path):
    found = caption_vocabulary(tmp_path)
    assert _ids(found) == _ids(EMOJI.text[0])


def test_any_text_can_be_tokenised(vocabulary):
    folder, config = vocabulary
    encoder = TextEncoder(
        replace(TINY.text[0], **_ids(config)), torch.nn.Linear(1, 1), load_tokenizer(folder)
    )
    tokens = encoder.tokenize(["Ein Zebra, café № 5 🐉"])
    assert "".join(tokens.pieces[0]).replace("\ufffd", "") == "einzebra,café№5🐉"


def _ids(config):
    return {name: getattr(config, name) for name in ("vocab_size", "bos", "eos", "pad")}


def test_a_twin_has_the_same_things_in_another_arrangement():
    for i in range(40):
        scene = make_scene(random.Random(i), kind="two")
        other = twin(random.Random(i), scene)
        assert other.counts == scene.counts
        assert other.relations != scene.relations
        assert other.background == scene.background


def test_the_text_encoders_loss_falls_and_its_kept_part_loads(vocabulary, glyphs):
    folder, found = vocabulary
    config = replace(EMOJI.text[0], width=32, heads=2, hidden=64, **_ids(found))
    torch.manual_seed(0)
    task = TextTask(Contrast(config), folder, config, glyphs, scenes=24)
    assert falls(task, steps=20, batch_size=16)
    kept = build_text(config)
    kept.load_state_dict(kept_weights(task.model.state_dict(), config), strict=True)
    ids = task.reader.tokenize(["a cat left of a car"]).ids
    states, _ = task.model.eval()(ids)
    inner = getattr(kept, "text_model", kept)
    assert torch.allclose(inner(input_ids=ids).last_hidden_state, states, atol=1e-5)


def test_the_denoisers_loss_falls(vocabulary, autoencoder, glyphs, tmp_path):
    folder, found = vocabulary
    text = replace(EMOJI.text[0], width=24, heads=2, hidden=48, **_ids(found))
    encoder = TextEncoder(text, build_text(text), load_tokenizer(folder))
    autoencoder.config = standardize(autoencoder.eval(), glyphs, scenes=16)
    mean, std = cached_latents(autoencoder, glyphs, 16, 0, tmp_path / "latents.pt")
    torch.manual_seed(0)
    unet = UNet(replace(TINY.unet, context_dim=24))
    task = DiffusionTask(WithCells(unet), encoder, EMOJI.schedule, mean, std)
    assert falls(task, steps=40, batch_size=8)
    again = cached_latents(autoencoder, {}, 16, 0, tmp_path / "latents.pt")  # read, not drawn
    assert torch.equal(again[0], mean)
    more, _ = cached_latents(autoencoder, glyphs, 24, 0, tmp_path / "latents.pt")
    assert len(more) == 24
    assert torch.equal(more[:16], mean)


def test_the_layout_says_what_the_masks_say(glyphs):
    for i in range(20):
        scene = make_scene(random.Random(i))
        masks, labels = render(scene, glyphs).masks, layout(scene, 16)
        assert {recognizer.NOUNS[n] for n in np.unique(labels) if n != recognizer.NOTHING} == set(
            scene.counts
        )
        for noun in scene.counts:
            inside = masks[noun][4::8, 4::8][labels == recognizer.NOUNS.index(noun)]
            assert inside.mean() > 0.7  # round glyphs leave a box's corners empty


# ------------------------------------------------------------------------- from a model folder


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    write_vocabulary(folder)
    return folder


def test_an_unpacked_model_is_what_training_goes_on_from(tiny_model, tokenizer, tmp_path):
    runs = tmp_path / "runs"
    parts.unpack(tiny_model, tokenizer, runs)
    unet = UNet(tiny_model.config.unet)
    model = WithCells(unet)
    task = SimpleNamespace(
        model=model, loss=lambda *_: {"loss": sum(p.square().sum() for p in model.parameters())}
    )
    plan = Plan(steps=1, lr=0.0, matrix_lr=0.0)
    assert [step.index for step in train(task, plan, runs / "diffusion.pt")] == [0]
    for name, value in tiny_model.unet.state_dict().items():
        assert torch.equal(unet.state_dict()[name], value)
    reader = parts.trained_text(tiny_model.config, runs)
    assert torch.equal(reader.encode(["a cat"]), tiny_model.text.encode(["a cat"]))


def test_unpacking_overwrites_no_training(tiny_model, tokenizer, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "text.pt").write_bytes(b"hours of work")
    with pytest.raises(InputError, match=r"text\.pt is there already"):
        parts.unpack(tiny_model, tokenizer, tmp_path / "runs")
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["text.pt"]


# ------------------------------------------------------------------------- the judge


def test_the_recognisers_loss_falls(glyphs):
    torch.manual_seed(0)
    task = recognizer.RecognizerTask(recognizer.Recognizer(), glyphs)
    assert falls(task, steps=15, batch_size=4)


def test_the_cells_of_a_scene_carry_its_nouns(glyphs):
    scene = make_scene(random.Random(1), kind="two")
    labels = recognizer.cell_labels(scene, render(scene, glyphs).masks)
    named = {recognizer.NOUNS[i] for i in np.unique(labels) if 0 <= i < recognizer.NOTHING}
    assert labels.shape == (16, 16)
    assert named == set(scene.counts)


class Knowing(torch.nn.Module):
    """A recogniser that has been told the answers."""

    def __init__(self, labels, colors):
        super().__init__()
        self.labels, self.colors = labels, colors

    def forward(self, image):
        cells = torch.nn.functional.one_hot(self.labels, recognizer.NOTHING + 1)
        return cells.permute(0, 3, 1, 2).float(), torch.eye(10)[self.colors]


def test_a_scene_that_is_seen_as_it_is_scores_full_marks(glyphs):
    scenes = [make_scene(random.Random(i)) for i in range(40)]
    labels = np.stack([recognizer.cell_labels(s, render(s, glyphs).masks) for s in scenes])
    labels[labels < 0] = recognizer.NOTHING
    colors = [recognizer.COLOR_NAMES.index(s.background) for s in scenes]
    seen = recognizer.recognize(Knowing(torch.tensor(labels), colors), torch.zeros(40, 3, 128, 128))
    score = evaluate.score(scenes, seen)
    assert score.color == 1.0
    assert score.relation == 1.0
    assert score.objects > 0.9  # two of a kind that touch count as one


def test_a_wrong_order_is_seen_as_wrong():
    seen = recognizer.Seen({"cat": [(90.0, 60.0)], "car": [(30.0, 64.0)]}, "blue")
    assert recognizer.holds(seen, "car", "left of", "cat")
    assert not recognizer.holds(seen, "cat", "left of", "car")
    assert not recognizer.holds(seen, "cat", "above", "car")
    assert not recognizer.holds(seen, "dog", "above", "car")


def test_the_area_under_the_curve_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    values, mask = rng.integers(0, 6, 60).astype(float), rng.random(60) > 0.5
    inside, outside = values[mask], values[~mask]
    pairs = (inside[:, None] > outside).mean() + 0.5 * (inside[:, None] == outside).mean()
    assert evaluate.area_under_curve(values, mask) == pytest.approx(pairs)


def test_test_scenes_are_worded_plainly_and_kept_apart():
    seen = evaluate.prompt_scenes(30, "seen")
    held_out = evaluate.prompt_scenes(30, "held_out")
    assert not {s.caption for s in seen} & {s.caption for s in held_out}
    assert all(s.caption.endswith(f" on {article(s.background)} background") for s in seen)
