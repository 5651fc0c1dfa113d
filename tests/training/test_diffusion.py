"""Diffusion training on any images, with captions, classes or neither."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from few_pictures import COLORS, Few

from sdwidgets import Trace, load, save
from sdwidgets.configs import EMOJI, TINY
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.conditioning import Given, condition
from sdwidgets.models.text import TextEncoder
from sdwidgets.models.unet import UNet
from sdwidgets.scenes import make_scene, render
from sdwidgets.training.autoencoder import quieten
from sdwidgets.training.diffusion import diffusion, small_unet
from sdwidgets.training.latents import cached_latents
from sdwidgets.training.loop import Draw, Plan, seeded, train
from sdwidgets.training.naming import NamingTask, WithCells, layout
from sdwidgets.training.recognizer import NOTHING, NOUNS
from sdwidgets.training.text import new_text

pytestmark = pytest.mark.slow

PLAN = Plan(steps=6, batch_size=6, warmup=2)


@pytest.fixture(scope="module")
def autoencoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Autoencoder(TINY.autoencoder)
    quieten(model)  # or its latents would be noise
    return model


@pytest.fixture(scope="module")
def encoder():
    return new_text(Few())


@pytest.fixture
def make(autoencoder, encoder):
    """Return a task on twelve images of 16 pixels; "joint", "frozen", "classes" or "nothing"."""

    def make(mode="nothing", **rest):
        told = {
            "joint": {},
            "frozen": {"text": "frozen", "encoder": encoder},
            "classes": {"text": None, "classes": tuple(COLORS)},
            "nothing": {"text": None},
        }[mode]
        return diffusion(Few(), autoencoder, **{"width": 16, "device": "cpu", **told, **rest})

    return make


MODES = ("joint", "frozen", "classes", "nothing")
SAY = {"joint": "a red picture", "frozen": "a red picture", "classes": "red", "nothing": ""}


def run(task, plan=PLAN, checkpoint=None):
    return [step.loss for step in train(task, plan, checkpoint)]


# ------------------------------------------------------------------------- learning


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_falls_whatever_the_network_is_told(make, mode):
    losses = run(make(mode), Plan(steps=20, batch_size=12, warmup=3))
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:4])


@pytest.mark.parametrize("prediction", ["eps", "x0"])
@pytest.mark.parametrize("min_snr", [None, 5.0])
def test_the_loss_falls_whatever_is_predicted(make, prediction, min_snr):
    task = make(prediction=prediction, min_snr=min_snr)
    losses = run(task, Plan(steps=20, batch_size=12, warmup=3))
    assert np.mean(losses[-6:]) < 0.9 * np.mean(losses[:4])


def test_a_network_that_says_nothing_is_off_by_the_target(make):
    """An untrained network returns 0, so the loss is the target's mean square, about 1 for eps."""
    task = make(prediction="eps")
    loss = task.loss(Draw(0, 12, seeded(0, 0)))["loss"]
    assert loss.item() == pytest.approx(1, abs=0.15)


def test_weights_count_into_the_loss_and_not_into_what_is_reported(make):
    draw = Draw(0, 12, seeded(0, 0))
    plain = make(prediction="x0").loss(draw)
    weighted = make(prediction="x0", min_snr=0.01).loss(Draw(0, 12, seeded(0, 0)))
    assert weighted["loss"] < 0.02 * plain["loss"]
    assert weighted["little_noise"] == plain["little_noise"]


def test_joint_training_changes_the_text_encoder_and_no_other(make, encoder):
    joint, frozen = make("joint", encoder=encoder, text="joint"), make("frozen")
    before = encoder.encode(["all red"])
    run(joint)
    run(frozen)
    assert torch.equal(encoder.encode(["all red"]), before)
    assert torch.equal(frozen.result().text.encode(["all red"]), before)
    assert not torch.equal(joint.result().text.encode(["all red"]), before)


def test_training_changes_the_classes_tokens(make):
    task = make("classes")
    batch = [Given("red", (16, 16)), Given(None, (16, 16))]
    before = condition(task.embedders, batch).context.clone()
    run(task)
    assert (condition(task.embedders, batch).context != before).any(-1).all()


def test_the_autoencoder_stays_as_it_was_given(make, autoencoder):
    config = autoencoder.config
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    run(make())
    assert autoencoder.config == config
    assert all(torch.equal(v, before[k]) for k, v in autoencoder.state_dict().items())
    assert all(weight.requires_grad for weight in autoencoder.parameters())


def test_latents_have_unit_variance_whatever_the_autoencoders_scale(make, autoencoder):
    task = make()
    assert task.latents.deviation == pytest.approx(1, abs=0.01)
    again = cached_latents(task.autoencoder, task.pictures, 12)
    assert torch.allclose(again.mean.float(), task.latents.mean.float(), atol=0.01)


# ------------------------------------------------------------------------- prompts


def told(task, batches):
    draws = [Draw(i, 12, seeded(0, i)) for i in range(batches)]
    return [each.prompt for draw in draws for each in task.given(draw)]


def test_the_share_of_prompts_left_out_is_the_one_asked_for(make):
    left_out = [not prompt for prompt in told(make("classes", dropout=0.3), 100)]
    assert np.mean(left_out) == pytest.approx(0.3, abs=0.05)
    assert all(told(make("classes", dropout=0.0), 10))
    assert not any(told(make("classes", dropout=1.0), 10))


def test_prompts_are_those_of_the_batchs_pictures(make):
    task = make("joint", dropout=0.0)
    draw = Draw(3, 12, seeded(0, 3))
    for row, given in zip(task.rows(draw), task.given(draw), strict=True):
        assert list(COLORS)[task.pictures.label(row)] in given.prompt


def test_processes_share_out_prompts_and_noise_of_one_batch(make):
    task = make("joint")
    whole = task.loss(Draw(1, 6, seeded(0, 1)))
    parts = [task.loss(Draw(1, 6, seeded(0, 1), rank, 2)) for rank in range(2)]
    for name, value in whole.items():
        assert sum(part[name] for part in parts).item() / 2 == pytest.approx(value.item(), rel=1e-4)


def test_a_label_without_a_class_is_named(make):
    with pytest.raises(InputError, match="has the label 2; there are 2 classes"):
        make("classes", classes=("red", "green"))


# ------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("mode", MODES)
def test_resuming_is_exact(make, mode, tmp_path):
    whole = make(mode)
    losses = run(whole)
    steps = train(make(mode), PLAN, tmp_path / "mine.pt")
    begun = [next(steps).loss for _ in range(3)]
    steps.close()
    again = make(mode)
    assert begun + run(again, checkpoint=tmp_path / "mine.pt") == losses
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def test_latents_in_a_file_are_taken_from_there(make, tmp_path, monkeypatch):
    first = make(latents=tmp_path / "latents.pt")
    monkeypatch.setattr(Autoencoder, "encode", None)
    assert torch.equal(make(latents=tmp_path / "latents.pt").latents.mean, first.latents.mean)


# ---------------------------------------------------------------------------------- results


def test_samples_are_pictures_and_the_same_for_the_same_seed(make):
    task = make("classes")
    run(task)
    task.steps = 3
    first = task.samples(4, seed=5)
    assert first.shape == (4, 16, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(task.samples(4, seed=5), first)
    assert np.array_equal(task.samples(2, seed=5), first[:2])
    assert not np.array_equal(task.samples(4, seed=6), first)


def test_samples_are_of_the_averaged_weights(make):
    task = make()
    run(task)
    task.steps = 2
    averaged = task.samples(2)
    task.average = None
    assert not np.array_equal(task.samples(2), averaged)


def test_samples_do_not_disturb_the_training(make):
    task, watched = make("joint"), make("joint")
    losses = run(task)
    watched.steps = 2
    seen = []
    for step in train(watched, PLAN):
        watched.samples(2)
        seen.append(step.loss)
    assert seen == losses


@pytest.mark.parametrize("mode", MODES)
def test_the_result_makes_pictures_through_the_ordinary_pipeline(make, mode, tmp_path):
    task = make(mode)
    run(task, checkpoint=tmp_path / "mine.pt")
    task.steps = 2
    model = task.result()
    trace = model.generate(SAY[mode], steps=2, seed=0, attention=True)
    trace.save(tmp_path / "one.sdtrace")
    assert Trace.load(tmp_path / "one.sdtrace").image.size == (16, 16)
    if "text" in SAY[mode] or mode in ("joint", "frozen"):
        assert trace.heat_map("red").shape == (16, 16)
    task.prompts = (SAY[mode],)
    assert np.array_equal(np.asarray(trace.image), task.samples(1)[0])
    kept = make(mode).result(tmp_path / "mine.pt").generate(SAY[mode], steps=2, seed=0)
    assert np.array_equal(np.asarray(kept.image), np.asarray(trace.image))


def test_a_model_with_captions_is_saved_and_loaded_like_any_other(make, tmp_path):
    task = make("joint", name="flat colours")
    run(task)
    model = task.result()
    save(model, tmp_path / "model")
    again = load(tmp_path / "model", device="cpu")
    assert again.config.size == 16
    ours, theirs = (one.generate("all blue", steps=2, seed=1).image for one in (model, again))
    assert np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max() <= 1


# ------------------------------------------------------------------------ invalid arguments


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"text": "frozen"}, "must be trained already"),
        ({"text": "joint", "classes": ("red",)}, "captions or classes, not both"),
        ({"text": "jointly"}, "text is 'joint', 'frozen' or None"),
        ({"prediction": "epsilon"}, "'eps', 'v' or 'x0'"),
        ({"min_snr": 0}, "above 0"),
        ({"dropout": 1.5}, "from 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_said(autoencoder, wrong, says):
    with pytest.raises(InputError, match=says):
        diffusion(Few(), autoencoder, **{"device": "cpu", **wrong})


def test_pictures_that_the_autoencoder_cannot_halve_are_refused(autoencoder):
    with pytest.raises(InputError, match="15 x 15 pixels"):
        diffusion(Few(size=15), autoencoder, text=None, device="cpu")


def test_the_small_network_fits_the_latents():
    config = small_unet(EMOJI.autoencoder, 64, 32)
    assert config.channels == (48, 96)
    assert config.in_channels == config.out_channels == 4
    assert small_unet(EMOJI.autoencoder, 256, 32).depths == (0, 1, 1, 1)
    x = torch.zeros(1, 4, 8, 8)
    assert UNet(config)(x, torch.zeros(1), torch.zeros(1, 5, 32)).shape == x.shape


# ------------------------------------------------------------------------- scenes


def test_the_layout_says_what_the_masks_say(glyphs):
    for i in range(20):
        scene = make_scene(random.Random(i))
        masks, labels = render(scene, glyphs).masks, layout(scene, 16)
        assert {NOUNS[n] for n in np.unique(labels) if n != NOTHING} == set(scene.counts)
        for noun in scene.counts:
            inside = masks[noun][4::8, 4::8][labels == NOUNS.index(noun)]
            assert inside.mean() > 0.7  # round glyphs leave a box's corners empty


def test_heads_that_name_cells_learn_beside_the_denoiser_and_are_not_kept(make, encoder):
    task = make("frozen")
    unet = UNet(task.config.unet)
    naming = NamingTask(
        model=WithCells(unet),
        config=task.config,
        pictures=task.pictures,
        latents=task.latents,
        autoencoder=task.autoencoder,
        embedders=task.embedders,
        scenes=[make_scene(random.Random(i)) for i in range(12)],
    )
    named = [step.metrics["named"] for step in train(naming, Plan(steps=30, batch_size=12))]
    assert np.mean(named[-5:]) < 0.8 * np.mean(named[:3])
    model = naming.result()
    assert isinstance(model.text, TextEncoder)
    assert not any("cells" in name for name in model.unet.state_dict())
    assert replace(model.config, name="mine") == task.config


# ------------------------------------------------------------------------- older files


def as_written_before(name):
    """Return the name that a weight had in version 0.1.0, with transformers 5."""
    return name.replace("embedders.0.", "conditioner.").replace(".text_model.", ".")


@pytest.mark.parametrize("mode", ["joint", "classes"])
def test_a_checkpoint_of_the_first_version_goes_on(make, mode, tmp_path):
    file = tmp_path / "run.pt"
    run(make(mode), checkpoint=file)
    expected = make(mode).result(file)
    state = torch.load(file)
    for part in ("model", "ema"):
        state[part] = {as_written_before(name): value for name, value in state[part].items()}
    assert any(name.startswith("conditioner.e") for name in state["ema"])
    torch.save(state, file)
    assert make(mode).result(file).fingerprint == expected.fingerprint
    assert len(run(make(mode), replace(PLAN, steps=PLAN.steps + 1), file)) == 1
