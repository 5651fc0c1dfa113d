"""The small systems of latent diffusion: what is told, a step of training, resuming, packing."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from sdwidgets import load
from sdwidgets.configs import EMOJI, SCENE_STAGES
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, condition, read
from sdwidgets.models.unet import UNet
from sdwidgets.prompts import PLAIN
from sdwidgets.scenes import CLASSES, COLORS, OBJECTS, SIZE, boxes, find_font
from sdwidgets.training.autoencoder import quieten
from sdwidgets.training.checkpoint import read_checkpoint, save_atomically
from sdwidgets.training.data import scene_at
from sdwidgets.training.loop import Draw, Plan, seeded, train
from sdwidgets.training.zoo import glyphs as zoo_glyphs
from sdwidgets.training.zoo import packing, systems, task, telling
from sdwidgets.training.zoo.tower import TowerWithDecoder

pytestmark = pytest.mark.slow

PLAN = Plan(steps=2, batch_size=2, warmup=1, checkpoint_every=1)
FONT = pytest.mark.skipif(find_font() is None, reason="needs the emoji font")
NAMES = [
    pytest.param(name, marks=FONT) if system.kind == "glyph" else name
    for name, system in systems.SYSTEMS.items()
]
LEVELS = {"channels": (8, 16), "depths": (0, 1), "heads": (1, 2)}


def tiny(config):
    """Return the config of a system, or of the bundled model, with a network of two levels."""
    coder = config.autoencoder
    if coder.channels:
        coder = replace(coder, channels=(4,) * len(coder.channels), norm_groups=2)
    return replace(config, unet=replace(config.unet, **LEVELS), autoencoder=coder)


def little(coder):
    """Return an autoencoder with hardly any weights."""
    model = Autoencoder(tiny(replace(EMOJI, autoencoder=coder)).autoencoder)
    quieten(model)
    return model.eval()


@pytest.fixture(scope="module")
def base():
    """Return the bundled model with a tiny network and a tiny autoencoder."""
    whole, config = load("emoji", device="cpu"), tiny(EMOJI)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        coder, unet = little(EMOJI.autoencoder), UNet(config.unet)
    return replace(whole, config=config, unet=unet, autoencoder=coder)


@pytest.fixture
def make(glyphs, base, tmp_path, monkeypatch):
    """Return a function of a system's name: its task on four scenes, all of it tiny."""
    monkeypatch.setattr(task, "load_model", lambda *args, **rest: base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        small = little(SCENE_STAGES["KL-f4"])
    monkeypatch.setattr(task, "load_autoencoder", lambda *args, **rest: copy.deepcopy(small))
    if find_font() is not None:
        few = dict(glyphs)
        monkeypatch.setattr(task, "every_glyph", lambda: few)
        monkeypatch.setattr(task, "shown_glyphs", lambda: tuple(few))

    def make(name, further=None):
        system = systems.SYSTEMS[name]
        system = replace(system, scenes=4, config=tiny(system.config))
        tower = tmp_path / task.TOWER
        if system.kind == "glyph" and not tower.exists():
            weights = task.tower_task(system).model.state_dict()
            save_atomically({"model": weights, "ema": weights, "step": 0}, tower)
        return task.zoo_task(system, tmp_path, glyphs, further=further)

    return make


def sample(glyphs, seed=0, kind=None, dropped=False):
    scene = scene_at(5, seed, kind=kind)
    return telling.Sample(scene, glyphs, random.Random(seed), dropped)


# ------------------------------------------------------------------------- what is told


def test_a_box_is_told_for_each_thing_and_mostly_one_for_the_background(glyphs):
    with_background = 0
    for seed in range(50):
        one = sample(glyphs, seed)
        told = telling.told_boxes(one).boxes
        things = [box for box in told if box[0] in OBJECTS]
        assert sorted(things) == sorted(boxes(one.scene, glyphs))
        others = [box for box in told if box[0] in COLORS]
        assert others in ([], [(one.scene.background, (0.0, 0.0, 1.0, 1.0))])
        with_background += len(others)
    assert 30 < with_background < 50


def test_the_small_image_has_the_mean_of_every_four_by_four_pixels(glyphs):
    one = sample(glyphs)
    small = telling.told_small(one).image.values
    mean = one.picture.image.reshape(32, 4, 32, 4, 3).mean((1, 3)) / 127.5 - 1
    assert small.shape == (3, 32, 32)
    assert np.abs(small.permute(1, 2, 0).numpy() - mean).max() < 1.1 / 127.5


def test_a_map_names_every_pixel(glyphs):
    one = sample(glyphs)
    labels = telling.told_map(one).label_map.values[0].numpy()
    for word, mask in one.picture.masks.items():
        assert (labels[mask] == CLASSES.index(word)).all()


def test_a_scene_always_has_the_same_hole_and_most_hide_something(glyphs):
    shares = []
    for seed in range(40):
        first, again = (telling.told_hole(sample(glyphs, seed, dropped=d)) for d in (False, True))
        assert torch.equal(first.mask.values, again.mask.values)
        assert first.prompt and again.prompt is None
        shares.append(float(first.mask.values.mean()))
    assert all(0.01 < share < 0.95 for share in shares)


@pytest.mark.parametrize("tell", [telling.told_class, telling.told_boxes, telling.told_map])
def test_what_is_dropped_says_nothing(glyphs, tell):
    told = tell(sample(glyphs, kind="one", dropped=True))
    assert (told.prompt, told.boxes, told.label_map, told.image) == (None, None, None, None)


@FONT
def test_held_out_glyphs_are_not_shown():
    shown, unseen = zoo_glyphs.shown_glyphs(), zoo_glyphs.unseen_glyphs()
    assert len(shown) > 500 and len(unseen) > 30
    assert not set(shown) & {*unseen, *zoo_glyphs.HELD_OUT}
    assert not set(unseen) & set(OBJECTS)
    scenes = zoo_glyphs.GlyphScenes(0, glyphs=zoo_glyphs.every_glyph(), names=shown, count=50)
    drawn = {scenes.scene(number).objects[0].noun for number in range(50)}
    assert drawn <= set(shown) and len(drawn) > 30


@FONT
def test_neighbours_are_other_images_of_the_same_glyph():
    every = zoo_glyphs.every_glyph()
    scene = zoo_glyphs.one_glyph(random.Random(0), "cat")
    told = telling.told_neighbours(telling.Sample(scene, every, random.Random(1)))
    own = {number: telling.neighbour("cat", number, every) for number in range(telling.VARIANTS)}
    assert 1 <= len(told.neighbours) <= telling.MOST_NEIGHBOURS
    assert all(any(each is one for one in own.values()) for each in told.neighbours)
    first, second, *_ = own.values()
    assert not torch.equal(first.values, second.values)


# ------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", NAMES)
def test_a_system_trains_and_resumes_as_if_it_had_not_stopped(make, name, tmp_path):
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    first = make(name)
    before = {k: v.clone() for k, v in first.model.state_dict().items()}
    losses = [step.loss for step in train(first, PLAN, whole)]
    assert np.isfinite(losses).all()
    after = first.model.state_dict()
    frozen = {k for k, v in first.model.named_parameters() if not v.requires_grad}
    assert all(torch.equal(before[k], after[k]) for k in frozen)
    assert sum(not torch.equal(before[k], after[k]) for k in after) > 10

    steps = train(make(name), PLAN, parts)
    next(steps)
    steps.close()
    again = make(name)
    assert [step.loss for step in train(again, PLAN, parts)] == pytest.approx(losses[1:], rel=1e-4)
    one, other = read_checkpoint(whole)["ema"], read_checkpoint(parts)["ema"]
    for key, weight in one.items():
        assert torch.allclose(weight, other[key], rtol=1e-3, atol=1e-4), key


@pytest.mark.parametrize("name", ["emoji-layout", "emoji-map", "emoji-upscale"])
def test_a_system_is_trained_further_from_where_a_model_of_it_is(make, name, tmp_path):
    first = make(name)
    for _ in train(first, PLAN, tmp_path / "first.pt"):
        pass
    trained = packing.trained_system(first, tmp_path / "first.pt")
    own = make(name, trained).model.state_dict()
    kept = read_checkpoint(tmp_path / "first.pt")["ema"]
    of_cells = {key for key in own if key.startswith("cells.")}  # which no packed model has
    assert all(torch.equal(own[key], kept[key].float()) for key in own.keys() - of_cells)
    assert any(not torch.equal(own[key], first.model.state_dict()[key]) for key in kept)


@pytest.mark.parametrize("name", ["emoji-layout", "emoji-inpaint", "emoji-upscale", "emoji-pixels"])
def test_only_what_learns_is_packed_and_the_rest_is_the_bundled_models(glyphs, name, tmp_path):
    made = task.zoo_task(replace(systems.SYSTEMS[name], scenes=1), tmp_path, glyphs)
    weights = made.model.state_dict()
    save_atomically({"model": weights, "ema": weights, "step": 0}, tmp_path / f"{name}.pt")
    folder = packing.pack(made, tmp_path / f"{name}.pt", tmp_path / name)
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 3.4e6
    packed, loaded = packing.trained_system(made, tmp_path / f"{name}.pt"), load(folder)
    assert replace(loaded.config, guidance_scale=1.0) == replace(packed.config, guidance_scale=1.0)
    given = made.given(Draw(0, 1, seeded(0, 0)))
    read(loaded.embedders, given)
    told, wanted = (condition(model.embedders, given) for model in (loaded, packed))
    for route in ("context", "concat"):
        one, other = getattr(told, route), getattr(wanted, route)
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).abs().max() < 0.02 * max(1, other.abs().max())
    for key, weight in loaded.unet.state_dict().items():
        assert (weight.float() - packed.unet.state_dict()[key]).abs().max() < 2e-3, key


@FONT
def test_the_tower_learns_to_tell_glyphs_apart():
    tower = task.tower_task(systems.SYSTEMS["emoji-neighbours"])
    plan = Plan(steps=12, batch_size=8, warmup=2)
    errors = [step.metrics["error"] for step in train(tower, plan)]
    assert np.mean(errors[-3:]) < 0.9 * errors[0]
    kept = TowerWithDecoder.kept(tower.model.state_dict())
    tower.embedder.model.load_state_dict(kept, strict=True)


def test_what_is_seen_is_kept_and_is_what_the_embedder_makes(make):
    made = make("emoji-inpaint")
    draw = Draw(0, 2, seeded(0, 0))
    direct = condition(made.embedders, made.given(draw))
    told = made.told(draw)
    assert (told.concat - direct.concat).abs().max() < 5e-3 * direct.concat.abs().max()
    assert torch.equal(told.context, direct.context)


def test_networks_begin_as_the_bundled_model(make, base):
    made = make("emoji-inpaint")
    x, t = torch.randn(1, 4, 16, 16, generator=seeded(0, 0)), torch.tensor([500])
    told = made.told(Draw(0, 1, seeded(0, 0)))
    with torch.no_grad():
        own = made.model.unet(torch.cat([x, told.concat], 1), t, told.context)
        theirs = base.unet(x, t, told.context)
    assert torch.allclose(own, theirs, rtol=1e-3, atol=1e-3)


def test_names_begin_as_their_words(make, base):
    """A class's token is the state of its word, and null the mean of an empty prompt's."""
    (classes,) = make("emoji-class").embedders
    table = next(classes.model.parameters())
    given = [Given(text, (SIZE, SIZE), reading=PLAIN) for text in ("cat", "")]
    states = condition(base.embedders, given).context
    assert torch.allclose(table[list(OBJECTS).index("cat")], states[0, 1], atol=1e-4)
    assert torch.allclose(table[-1], states[1].mean(0), atol=1e-4)
