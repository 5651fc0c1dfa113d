"""The parts' training tasks and the evaluation, on tiny sizes and without the font."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from vocabulary import write_vocabulary

from sdwidgets.checkpoints import load_autoencoder
from sdwidgets.configs import EMOJI, SCENE_STAGES
from sdwidgets.errors import InputError
from sdwidgets.models.unet import UNet
from sdwidgets.scenes import article, make_scene, render
from sdwidgets.training import evaluate, parts, recognizer
from sdwidgets.training.data import draw, scene_at
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.naming import WithCells

pytestmark = pytest.mark.slow


def falls(task, steps=30, **plan):
    losses = [s.loss for s in train(task, Plan(steps=steps, warmup=3, **plan))]
    return np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


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
    with pytest.raises(InputError, match=r"text\.pt already exists"):
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
    """A recogniser that knows the answers."""

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
    assert score.objects > 0.9  # two touching objects of the same kind count as a single object


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


def test_first_stages_that_were_trained_are_packed_for_anybody_to_load(glyphs, tmp_path):
    plan = Plan(steps=1, batch_size=2)
    task = parts.task("first-stage", EMOJI, tmp_path, "cpu", glyphs, plan, name="VQ-f8")
    for _ in train(task, plan, tmp_path / "VQ-f8.pt"):
        pass
    (folder,) = parts.pack_first_stages(tmp_path, glyphs, tmp_path / "packed")
    packed = load_autoencoder(folder, device="cpu")
    assert folder.name == "vq-f8"
    assert packed.config.codes == SCENE_STAGES["VQ-f8"].codes
    latents = packed.encode(draw([scene_at(1, i) for i in range(32)], glyphs)).mode()
    assert latents.std().item() == pytest.approx(1, abs=0.1)
