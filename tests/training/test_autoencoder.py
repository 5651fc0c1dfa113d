"""Autoencoder training: KL and VQ, with all terms of the loss, on images of 16 pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from few_pictures import Few

from sdwidgets import load_autoencoder, save_autoencoder
from sdwidgets.configs import FIRST_STAGES, SCENE_STAGES, AutoencoderConfig
from sdwidgets.errors import CheckpointError, InputError, NumericsError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.models.perceptual import FeatureDistance
from sdwidgets.training import Arrays, Plan, autoencoder, train
from sdwidgets.training.loop import Draw, seeded
from sdwidgets.training.scaling import absorb_shift, quieten, standardize

pytestmark = pytest.mark.slow

KL = AutoencoderConfig(channels=(8, 8), blocks_per_level=1, latent_channels=2, norm_groups=2)
VQ = replace(KL, codes=16)
PLAN = Plan(steps=6, batch_size=4, warmup=2, matrix_lr=0.01)


@pytest.fixture(scope="module")
def pictures():
    few = Few()
    return Arrays([few.picture(number) for number in range(12)])


@pytest.fixture
def make(pictures):
    def make(config=KL, **rest):
        small = {"adversary_layers": 1, "adversary_width": 4, "adversary_from": 2, "head_start": 0}
        rest = {"device": "cpu", **rest}
        return autoencoder(pictures, config, **{**small, **rest})

    return make


def run(task, plan=PLAN, checkpoint=None):
    return [step.loss for step in train(task, plan, checkpoint)]


def metrics(task, plan=PLAN):
    return [step.metrics for step in train(task, plan)]


def terms(task, step=0, size=4):
    return {name: v.item() for name, v in task.loss(Draw(step, size, seeded(0, step))).items()}


# ------------------------------------------------------------------------- learning


@pytest.mark.parametrize("config", [KL, VQ], ids=["KL", "VQ"])
@pytest.mark.parametrize("adversary", [0.0, 0.5])
def test_the_loss_falls_and_the_pictures_get_better(make, config, adversary):
    task = make(config, adversary=adversary, adversary_from=10)
    steps = list(train(task, Plan(steps=40, batch_size=8, warmup=3)))
    psnr, loss = ([one.metrics["psnr"] for one in steps], [one.loss for one in steps])
    assert np.mean(psnr[-5:]) > np.mean(psnr[:5]) + 1
    assert np.mean(loss[-5:]) < 0.8 * np.mean(loss[:5]) or adversary  # whose term comes on top
    assert ("found_out" in steps[-1].metrics) == bool(adversary)


def test_the_loss_is_the_sum_of_its_terms(make):
    task = make(l1=2.0, l2=3.0, perceptual_weight=0.5, kl=1e-3, adversary=0)
    told = terms(task)
    numbers, pixels = 2 * 8 * 8, 3 * 16 * 16
    whole = told["error"] + 0.5 * told["look"] + 1e-3 * told["kl"] * numbers / pixels
    assert told["loss"] == pytest.approx(whole, rel=1e-5)
    l1, l2 = (terms(make(l1=a, l2=b, adversary=0))["error"] for a, b in ((1, 0), (0, 1)))
    assert told["error"] == pytest.approx(2 * l1 + 3 * l2, rel=1e-5)
    assert told["psnr"] == pytest.approx(10 * np.log10(4 / l2), rel=1e-5)


def test_without_a_perceptual_distance_there_is_no_such_term(make):
    assert "look" not in terms(make(perceptual=None))


def test_a_distance_of_ones_own_is_taken(make):
    class Nothing(torch.nn.Module):
        def forward(self, image):
            return [image * 0 + 1]

    assert terms(make(perceptual=FeatureDistance(Nothing())))["look"] == 0


def test_codes_are_counted(make):
    told = terms(make(VQ))
    assert 1 / 16 <= told["codes"] <= 1
    assert 1 <= told["perplexity"] <= 16
    assert "kl" not in told


# ------------------------------------------------------------------------- the adversary


def test_the_adversary_begins_at_its_step_and_learns_nothing_before(make):
    task = make(adversary_from=3)
    adversary = task.model.adversary
    before = {name: value.clone() for name, value in adversary.state_dict().items()}
    for step in train(task, replace(PLAN, weight_decay=0.1)):
        changed = any(not torch.equal(v, before[k]) for k, v in adversary.state_dict().items())
        assert changed == ("found_out" in step.metrics) == (step.index >= 3)


def test_with_a_head_start_it_learns_before_it_counts(make):
    plain, ahead = make(adversary_from=4), make(adversary_from=4, head_start=2)
    before = ahead.model.adversary.body[0].weight.clone()
    for one, other in zip(train(plain, PLAN), train(ahead, PLAN), strict=True):
        learns = not torch.equal(ahead.model.adversary.body[0].weight, before)
        assert learns == ("told_apart" in other.metrics) == (other.index >= 2)
        assert ("found_out" in other.metrics) == (other.index >= 4)
        if other.index < 4:
            assert other.metrics["error"] == one.metrics["error"]


def test_until_then_training_is_as_without_it(make):
    assert run(make(adversary_from=3))[:3] == run(make(adversary=0))[:3]


def gradients(task, part):
    task.model.zero_grad()
    task.loss(Draw(2, 4, seeded(0, 2)))["loss"].backward()
    return [w.grad.clone() for w in part(task.model).parameters() if w.grad is not None]


def test_what_the_adversary_learns_does_not_reach_the_autoencoder(make):
    """The autoencoder's gradients come from the error and the adversary's verdict alone."""
    task = make(perceptual=None, kl=0.0)
    whole = gradients(task, lambda model: model.autoencoder)
    task.model.zero_grad()
    draw = Draw(2, 4, seeded(0, 2))
    told = task.loss(draw)
    (told["loss"] - told["told_apart"]).backward()
    alone = [w.grad for w in task.model.autoencoder.parameters() if w.grad is not None]
    assert all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(whole, alone, strict=True)
    )
    assert all(w.grad.abs().max() < 1e-6 for w in task.model.adversary.parameters())


def test_the_adversarys_gradients_do_not_depend_on_its_weight(make):
    light, heavy = (gradients(make(adversary=w), lambda m: m.adversary) for w in (0.1, 10.0))
    assert any(gradient.abs().sum() > 0 for gradient in light)
    assert all(torch.equal(a, b) for a, b in zip(light, heavy, strict=True))


def test_its_weight_counts_as_much_as_the_error_does(make):
    """With a weight of 1, both gradients at the last layer are equally large: equation 7."""
    without, with_it = make(perceptual=None, kl=0.0), make(perceptual=None, kl=0.0, adversary=1.0)
    without.adversary_from = 1000

    def last(model):
        return model.autoencoder.decoder.conv_out

    (by_error, _), (by_both, _) = (gradients(task, last) for task in (without, with_it))
    ratio = (by_both - by_error).norm() / by_error.norm()
    assert ratio.item() == pytest.approx(1, rel=0.02)


# ------------------------------------------------------------------------- codes


def test_a_code_that_lay_idle_is_set_to_a_latent_of_the_batch(make):
    task = make(VQ, adversary=0)
    codes = task.model.autoencoder.quantize.embedding.weight
    with torch.no_grad():
        codes[5:] = 1e3  # never the nearest
    task.model.idle.fill_(0)
    task.model.idle[5] = 100
    task.loss(Draw(0, 4, seeded(0, 0)))
    assert codes[5].abs().max() < 100
    assert (codes[6:] == 1e3).all()
    assert task.model.idle[5] == 0
    assert (task.model.idle[6:] == 1).all()


def test_most_codes_come_into_use(make):
    task = make(VQ, adversary=0)
    with torch.no_grad():
        task.model.autoencoder.quantize.embedding.weight[1:] = 1e3
    first, *_, last = metrics(task, Plan(steps=30, batch_size=8, warmup=3))
    assert first["codes"] == 1 / 16
    assert last["codes"] > 0.3


def test_codes_of_a_decoder_alone_stay(make):
    task = make(VQ, adversary=0, decoder_only=True)
    with torch.no_grad():
        task.model.autoencoder.quantize.embedding.weight[5:] = 1e3
    task.loss(Draw(0, 4, seeded(0, 0)))
    assert (task.model.autoencoder.quantize.embedding.weight[5:] == 1e3).all()


# ------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("config", [KL, VQ], ids=["KL", "VQ"])
def test_resuming_is_exact(make, config, tmp_path):
    """Weights, average, adversary, idle counts, both optimisers and the next images are resumed."""
    whole, file = make(config), tmp_path / "mine.pt"
    losses = run(whole, checkpoint=tmp_path / "whole.pt")
    begun = []
    for step in train(make(config), PLAN, file):
        begun.append(step.loss)
        if step.index == 3:
            break
    again = make(config)
    assert begun + run(again, checkpoint=file) == losses
    expected, found = (torch.load(f, weights_only=True) for f in (tmp_path / "whole.pt", file))
    assert found["step"] == expected["step"] == 6
    for part in ("model", "ema"):
        assert found[part].keys() == expected[part].keys()
        assert all(torch.equal(found[part][k], v) for k, v in expected[part].items())
    for one, other in zip(found["optimizers"], expected["optimizers"], strict=True):
        assert one["state"].keys() == other["state"].keys()
        for number, state in other["state"].items():
            assert all(torch.equal(one["state"][number][k], v) for k, v in state.items())
    assert "idle" in found["model"] or config is KL


def test_a_checkpoint_of_another_autoencoder_is_refused_and_nothing_loaded(make, tmp_path):
    run(make(), checkpoint=tmp_path / "mine.pt")
    other = make(replace(KL, channels=(8, 16)))
    before = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(CheckpointError, match="belongs to another model: autoencoder") as caught:
        run(other, checkpoint=tmp_path / "mine.pt")
    assert len(str(caught.value).splitlines()) <= 3
    assert all(torch.equal(v, before[k]) for k, v in other.model.state_dict().items())


def test_codes_do_not_go_on_from_a_kl_checkpoint(make, tmp_path):
    run(make(), checkpoint=tmp_path / "mine.pt")
    with pytest.raises(CheckpointError, match="to another model"):
        run(make(VQ), checkpoint=tmp_path / "mine.pt")


def test_the_term_that_was_not_finite_first_is_named(make):
    task = make()
    distance = task.distance.distance
    task.distance.distance = lambda a, b: distance(a, b) * float("nan")
    with pytest.raises(NumericsError, match="became nan at step 0, first in 'look'"):
        run(task)


# ---------------------------------------------------------------------------------- results


def test_reconstructions_stand_beside_their_originals(make, pictures):
    task = make()
    shown = task.reconstructions(5)
    assert shown.shape == (5, 16, 32, 3)
    assert shown.dtype == np.uint8
    assert all(np.array_equal(shown[i, :, :16], pictures.picture(i)) for i in range(5))
    run(task)
    assert not np.array_equal(task.reconstructions(5), shown)


def test_reconstructions_are_of_the_averaged_weights_and_disturb_nothing(make):
    task, watched = make(VQ), make(VQ)
    losses, seen = run(task), []
    for step in train(watched, PLAN):
        watched.reconstructions(2)
        seen.append(step.loss)
    assert seen == losses
    averaged = task.reconstructions(2)
    task.average = None
    assert not np.array_equal(task.reconstructions(2), averaged)


@pytest.mark.parametrize("config", [KL, VQ], ids=["KL", "VQ"])
def test_the_result_has_latents_of_unit_variance_and_the_same_pictures(make, pictures, config):
    task = make(config)
    run(task)
    model = task.result()
    images = torch.stack([torch.tensor(pictures.picture(i)) for i in range(12)])
    images = images.permute(0, 3, 1, 2) / 127.5 - 1
    latents = model.encode(images).mode()
    assert latents.mean().item() == pytest.approx(0, abs=1e-3)
    assert latents.std().item() == pytest.approx(1, abs=1e-3)
    assert model.config.shift_factor == 0
    assert not any(weight.requires_grad for weight in model.parameters())
    rebuilt = ((model(images) + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    shown = task.reconstructions(12)[:, :, 16:]
    assert np.abs(rebuilt.numpy().astype(int) - shown.astype(int)).max() <= 1


def test_the_result_of_a_file_is_saved_and_loaded_like_any_other(make, tmp_path):
    task = make()
    run(task, checkpoint=tmp_path / "mine.pt")
    model = make().result(tmp_path / "mine.pt")
    again = load_autoencoder(save_autoencoder(model, tmp_path / "mine"), device="cpu")
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.allclose(again(image), model(image), atol=1e-5)
    assert torch.equal(model(image), task.result()(image))


def test_an_autoencoder_is_gone_on_with_and_stays_as_it_was(make):
    model = make().result()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = make(model)
    assert torch.equal(task.model.autoencoder.quant_conv.weight, model.quant_conv.weight)
    run(task)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not torch.equal(task.model.autoencoder.quant_conv.weight, model.quant_conv.weight)


def test_training_the_decoder_alone_leaves_the_latents_as_they_are(make):
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    model = make().result()
    task = make(model, decoder_only=True)
    run(task)
    assert torch.equal(task.result().encode(image).mode(), model.encode(image).mode())
    assert not torch.equal(task.result()(image), model(image))


# ------------------------------------------------------------------------- the builder


def test_the_same_arguments_make_the_same_weights(make):
    one, same, other = make(VQ), make(VQ), make(VQ, seed=1)
    for name, value in one.model.state_dict().items():
        assert torch.equal(same.model.state_dict()[name], value)
    assert not torch.equal(
        one.model.autoencoder.quant_conv.weight, other.model.autoencoder.quant_conv.weight
    )


def test_making_a_task_leaves_the_random_state_as_it_is(make):
    before = torch.random.get_rng_state()
    make()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_names_are_those_of_the_presets(make):
    assert make("KL-f8").model.autoencoder.config == SCENE_STAGES["KL-f8"]
    with torch.device("meta"):
        assert Autoencoder(FIRST_STAGES["VQ-f8-n256"]).config.codes == 256


def test_crops_are_first_small_and_then_large(make):
    task = make(crop=8, large_from=2, adversary_layers=1, adversary=0)
    asked = []
    crops = task.pictures.crops
    task.pictures = Few()
    task.pictures.crops = lambda numbers, size: (
        asked.append((len(numbers), size)) or crops(numbers, size)
    )
    run(task, replace(PLAN, steps=3, batch_size=8))
    assert asked == [(8, 8), (8, 8), (2, 16)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"config": "KL-f9"}, "model must be one of 'KL-f16'"),
        ({"config": 8}, "model must be a config, name or Autoencoder, got 8"),
        ({"l1": 0}, "nothing ties a reconstruction"),
        ({"l1": float("nan")}, "l1 must be a number"),
        ({"kl": -1}, "kl must be a number"),
        ({"perceptual": "vgg"}, "perceptual must be one of 'bundled'"),
        ({"crop": 7}, "Crops of 7 pixels do not fit: images have 16, and f is 2"),
        ({"crop": 16, "large_from": 9}, "Crops of 32 pixels do not fit"),
        ({"config": "KL-f32"}, "f is 32"),
        ({"adversary_layers": 3}, "too small for an adversary with 3 layers: it needs 24"),
        ({"adversary_from": -1}, "adversary_from must be a whole number"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_what_does_not_go_together_is_said(make, wrong, says):
    with pytest.raises(InputError, match=says) as caught:
        make(**wrong)
    assert len(str(caught.value).splitlines()) <= 3


# ------------------------------------------------------------------------- the latents' scale


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(20, 3, 16, 16) * 2 - 1


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Autoencoder(replace(KL, scaling_factor=1.0)).requires_grad_(False)


def test_a_quiet_posterior_has_little_noise(network, images):
    quieten(network)
    assert network.encode(images).std.mean().item() == pytest.approx(0.05, rel=0.2)


def test_standardised_latents_have_zero_mean_and_unit_variance(network, images):
    network.config = standardize(network, images)
    latents = network.encode(images).mode()
    assert latents.mean().item() == pytest.approx(0, abs=1e-3)
    assert latents.std().item() == pytest.approx(1, abs=1e-3)


def test_absorbing_the_shift_changes_neither_latents_nor_pictures(network, images):
    network.double()  # in single precision, the order of sums matters
    network.config = replace(network.config, shift_factor=0.3, scaling_factor=0.5)
    latents = network.encode(images.double()).mode()
    pictures = network.decode(latents)
    absorb_shift(network)
    assert network.config.shift_factor == 0
    assert torch.allclose(network.encode(images.double()).mode(), latents, atol=1e-5)
    assert torch.allclose(network.decode(latents), pictures, atol=1e-5)
