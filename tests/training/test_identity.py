"""A checkpoint goes on only in the training that it belongs to."""

from dataclasses import replace

import pytest
import torch
from few_pictures import COLORS, Few

from sdwidgets import training
from sdwidgets.configs import TINY, AutoencoderConfig
from sdwidgets.errors import CheckpointError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.recognizer import Recognizer, RecognizerTask
from sdwidgets.training.surroundings import drawn_from
from sdwidgets.training.text import new_text

pytestmark = pytest.mark.slow

KL = AutoencoderConfig(channels=(8, 8), blocks_per_level=1, latent_channels=2, norm_groups=2)
PLAN = Plan(steps=2, batch_size=4, warmup=1)


class Other(Few):
    """The same images in other words."""

    def caption(self, number, rng):
        return super().caption(number, rng).replace("picture", "drawing")


def first_stage(seed=0):
    with drawn_from(seed):
        return Autoencoder(TINY.autoencoder)


@pytest.fixture(scope="module")
def encoder():
    return new_text(Few())


@pytest.fixture(scope="module")
def diffuse():
    def diffuse(few=None, network=None, **options):
        few, network = few or Few(), network or first_stage()
        return training.diffusion(few, network, **{"width": 8, "device": "cpu", **options})

    return diffuse


def is_refused(tmp_path, mine, other, says, plan=PLAN):
    """The checkpoint of ``mine`` is refused by ``other`` with these words; nothing changes."""
    file = tmp_path / "mine.pt"
    for _ in train(mine, PLAN, file):
        pass
    content = file.read_bytes()
    weights = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(CheckpointError, match=says) as caught:
        next(train(other, plan, file))
    assert len(str(caught.value).splitlines()) <= 3
    assert file.read_bytes() == content
    assert all(torch.equal(v, weights[k]) for k, v in other.model.state_dict().items())


def test_another_prediction(tmp_path, diffuse):
    says = "another training: prediction is v there and eps here"
    is_refused(tmp_path, diffuse(text=None), diffuse(text=None, prediction="eps"), says)


def test_another_schedule(tmp_path, diffuse):
    other = diffuse(text=None, schedule=replace(TINY.schedule, beta_end=0.03))
    is_refused(tmp_path, diffuse(text=None), other, "schedule is .* to 0.0195 there and .* to 0.03")


def test_another_autoencoder(tmp_path, diffuse):
    other = diffuse(text=None, network=first_stage(1))
    is_refused(
        tmp_path, diffuse(text=None), other, "autoencoder is [0-9a-f]{12} there and [0-9a-f]{12}"
    )


def test_a_better_decoder_is_no_other_autoencoder(tmp_path, diffuse):
    better = first_stage()
    torch.nn.init.zeros_(better.decoder.conv_out.weight)
    indices = [
        [step.index for step in train(task, replace(PLAN, steps=steps), tmp_path / "mine.pt")]
        for steps, task in ((1, diffuse(text=None)), (3, diffuse(text=None, network=better)))
    ]
    assert indices == [[0], [1, 2]]


@pytest.mark.parametrize(
    ("few", "says"),
    [(Few(shade=60), "its images are different"), (Few(count=9), "number of images is 12")],
)
def test_other_images(tmp_path, diffuse, few, says):
    is_refused(tmp_path, diffuse(text=None), diffuse(few, text=None), says)
    images, others = (
        training.Arrays([one.picture(number) for number in range(len(one))]) for one in (Few(), few)
    )
    made = [training.autoencoder(some, KL, device="cpu") for some in (images, others)]
    is_refused(tmp_path / "kl", *made, says)


def test_other_captions_classes_and_text_encoders(tmp_path, diffuse, encoder):
    is_refused(tmp_path / "joint", diffuse(), diffuse(Other()), "tokenizer is|captions is")
    mine, other = diffuse(text="frozen", encoder=encoder), new_text(Few(), seed=1)
    is_refused(tmp_path / "frozen", mine, diffuse(text="frozen", encoder=other), "text encoder is")
    names = tuple(COLORS)
    mine, other = (diffuse(text=None, classes=some) for some in (names, names[::-1]))
    is_refused(
        tmp_path / "classes", mine, other, "classes is red, green, blue there and blue, green"
    )


def test_other_captions_of_a_text_training(tmp_path):
    mine, other = (
        training.text(few, width=16, layers=1, heads=2, device="cpu") for few in (Few(), Other())
    )
    is_refused(tmp_path, mine, other, "tokenizer is|captions is|another model")


def test_another_seed(tmp_path, diffuse, glyphs):
    mine, other = diffuse(text=None), diffuse(text=None)
    is_refused(
        tmp_path, mine, other, "seed of the plan is 0 there and 5 here", replace(PLAN, seed=5)
    )
    is_refused(
        tmp_path / "task", diffuse(text=None), diffuse(text=None, seed=3), "seed of the task"
    )
    mine, other = (RecognizerTask(Recognizer(), glyphs, seed) for seed in (2, 3))
    is_refused(tmp_path / "judge", mine, other, "seed of the task is 2 there and 3 here")


def test_a_plan_that_has_ended_before(tmp_path, diffuse):
    says = "has 2 steps already, and the plan has 1"
    is_refused(tmp_path, diffuse(text=None), diffuse(text=None), says, replace(PLAN, steps=1))


def test_rates_batches_and_more_steps_may_change(tmp_path, diffuse):
    file = tmp_path / "mine.pt"
    for _ in train(diffuse(text=None), PLAN, file):
        pass
    slower = replace(
        PLAN, steps=3, batch_size=2, lr=1e-4, matrix_lr=1e-3, ema=0.5, clip=2, warmup=0
    )
    assert [step.index for step in train(diffuse(text=None), slower, file)] == [2]


def test_a_checkpoint_that_does_not_say_is_taken(tmp_path, diffuse):
    """As those of earlier versions."""
    file = tmp_path / "mine.pt"
    for _ in train(diffuse(text=None), PLAN, file):
        pass
    state = torch.load(file, weights_only=True)
    for kept in ({}, {"identity": None}, {"identity": {"prediction": "v"}}):
        rest = {name: value for name, value in state.items() if name != "identity"}
        torch.save(rest | kept, file)
        task = diffuse(text=None)
        assert [step.index for step in train(task, replace(PLAN, steps=3), file)] == [2]
        task.result(file)


def test_images_decoded_a_little_differently_are_the_same(tmp_path, diffuse):
    file = tmp_path / "mine.pt"
    indices = [
        [step.index for step in train(task, replace(PLAN, steps=steps), file)]
        for steps, task in ((1, diffuse(text=None)), (3, diffuse(Few(shade=2), text=None)))
    ]
    assert indices == [[0], [1, 2]]
