"""Trainings in the middle of a user's own torch settings, and what they leave behind."""

import contextlib
import random
import threading
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from few_pictures import COLORS, Few

from sdwidgets import training
from sdwidgets.configs import TINY, AutoencoderConfig
from sdwidgets.errors import InputError
from sdwidgets.models.autoencoder import Autoencoder
from sdwidgets.training.frechet import frechet_distance, scene_features
from sdwidgets.training.latents import cached_latents
from sdwidgets.training.loop import Plan, train
from sdwidgets.training.recognizer import Recognizer, RecognizerTask, recognize
from sdwidgets.training.surroundings import drawn_from, settled

KL = AutoencoderConfig(channels=(8, 8), blocks_per_level=1, latent_channels=2, norm_groups=2)
PLAN = Plan(steps=2, batch_size=4, warmup=1)
KINDS = ("KL", "VQ", "joint", "classes", "text", "recognizer")


@contextlib.contextmanager
def device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_type(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def many():
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), device("meta"), deterministic():
        yield


@pytest.fixture(scope="module")
def first_stage():
    with drawn_from(0):
        return Autoencoder(TINY.autoencoder)


@pytest.fixture
def make(first_stage, glyphs):
    few = Few()
    arrays = training.Arrays([few.picture(number) for number in range(len(few))])

    def make(kind):
        if kind in ("KL", "VQ"):
            small = {"adversary_from": 1, "adversary_layers": 1, "adversary_width": 4}
            config = KL if kind == "KL" else replace(KL, codes=16)
            return training.autoencoder(arrays, config, device="cpu", head_start=1, **small)
        if kind == "text":
            return training.text(few, width=16, layers=1, heads=2, device="cpu")
        if kind == "recognizer":
            with drawn_from(0):
                return RecognizerTask(Recognizer(), glyphs)
        told = {"text": None, "classes": tuple(COLORS)} if kind == "classes" else {}
        return training.diffusion(few, first_stage, width=8, device="cpu", **told)

    return make


def outcome(task):
    """The losses, and all that a task makes of its training."""
    made = [step.loss for step in train(task, PLAN)]
    if hasattr(task, "samples"):
        task.steps = 2
        made += [*task.samples(2).ravel().tolist(), *task.result().preview.ravel().tolist()]
    elif hasattr(task, "reconstructions"):
        made += [*task.reconstructions(2).ravel().tolist(), task.result().config.scaling_factor]
    elif isinstance(task, RecognizerTask):
        image = torch.zeros(2, 3, 128, 128, device="cpu")
        made += [seen.color for seen in recognize(task.model, image)]
        made += scene_features(task.model, image).ravel().tolist()
    else:
        states = task.result().model.state_dict()
        assert {value.dtype for value in states.values()} <= {torch.float32, torch.int64}
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_the_same_whatever_a_thread_has_set(make, kind):
    usual = outcome(make(kind))
    for state in (many, torch.inference_mode):
        if kind != "recognizer":  # its network is the user's own
            with state():
                task = make(kind)
            assert outcome(task) == usual
        task = make(kind)
        with state():
            assert outcome(task) == usual


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_another_default_type_is_named_and_left_as_it_is(make, kind, dtype):
    task = make(kind)
    with default_type(dtype):
        with pytest.raises(InputError, match=f"default type is {dtype}, and training needs"):
            next(train(task, PLAN))
        if kind != "recognizer":
            with pytest.raises(InputError, match="default type"):
                make(kind)
            with pytest.raises(InputError, match="default type"):
                task.result()
        assert torch.get_default_dtype() == dtype
    assert len(list(train(task, PLAN))) == 2


def test_the_consumer_of_steps_keeps_its_own_settings(make):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), device("meta"):
        for _ in train(make("KL"), PLAN):
            assert not torch.is_grad_enabled()
            assert torch.is_autocast_enabled("cpu")
            assert torch.empty(0).is_meta
    with torch.inference_mode():
        for _ in train(make("KL"), PLAN):
            assert torch.is_inference_mode_enabled()
    next(train(make("KL"), PLAN))
    assert torch.is_grad_enabled()


def test_a_default_type_set_in_mid_training_ends_it_with_the_checkpoint_written(make, tmp_path):
    steps = train(make("KL"), PLAN, tmp_path / "kl.pt")
    next(steps)
    with default_type(torch.float64), pytest.raises(InputError, match="float64"):
        next(steps)
    assert torch.load(tmp_path / "kl.pt", weights_only=True)["step"] == 1


def test_another_threads_settings_stay(make):
    seen = []

    def other():
        with torch.no_grad():
            inside.set()
            trained.wait(60)
            seen.append(torch.is_grad_enabled())

    inside, trained = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(60)
    deque(train(make("KL"), PLAN), maxlen=0)
    trained.set()
    thread.join()
    assert seen == [False]


@pytest.mark.parametrize(
    "words",
    [
        "upsample_backward does not have a deterministic implementation, but you set 'torch.use_",
        "Deterministic behavior was enabled ... set CUBLAS_WORKSPACE_CONFIG=:4096:8",
    ],
)
def test_an_operation_that_deterministic_algorithms_forbid_is_said_in_words(words):
    with (
        pytest.raises(InputError, match=r"use_deterministic_algorithms\(True\)") as caught,
        settled(),
    ):
        raise RuntimeError(words)
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(RuntimeError, match="another"), settled():
        raise RuntimeError("another")


def test_models_that_cannot_learn_are_refused(make, glyphs):
    with torch.inference_mode():
        inference = Recognizer()
    with torch.device("meta"):
        meta = Recognizer()
    frozen, half = Recognizer().requires_grad_(False), Recognizer().half()
    says = {"inference_mode": inference, "meta": meta, "no weight": frozen, "float16": half}
    for words, model in says.items():
        with pytest.raises(InputError, match=words):
            train(RecognizerTask(model, glyphs), PLAN)


# ------------------------------------------------------------------------- global random state


def states():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # it is that one
    gpu = [torch.cuda.get_rng_state().tolist()] if torch.cuda.is_available() else []
    return torch.get_rng_state().tolist(), gpu, (kind, keys.tolist(), *rest), random.getstate()


def entries(make, first_stage, glyphs, folder):
    """Every way into the training, by name."""
    few, tasks = Few(), {kind: make(kind) for kind in KINDS}
    yield from ((f"make {kind}", lambda kind=kind: make(kind)) for kind in KINDS)
    for kind, task in tasks.items():
        yield f"train {kind}", lambda task=task: list(train(task, PLAN, folder / "one.pt"))
        yield f"remove {kind}", (folder / "one.pt").unlink
        for name in ("samples", "reconstructions", "result"):
            if hasattr(task, name):
                yield f"{name} of {kind}", getattr(task, name)
    yield "scenes", lambda: training.Scenes(glyphs=glyphs, size=16).crops(range(3), 8)
    yield "arrays", lambda: training.Arrays([few.picture(0)]).crops(range(3), 8)
    yield "latents", lambda: cached_latents(first_stage, few, 4, folder / "latents.pt")
    yield "features", training.bundled_features
    features = torch.linspace(0, 1, 40).view(10, 4) ** 2
    yield "distance", lambda: frechet_distance(features, features)


@pytest.mark.slow
def test_no_part_of_training_touches_global_random_state(make, first_stage, glyphs, tmp_path):
    for name, call in entries(make, first_stage, glyphs, tmp_path):
        before = states()
        call()
        assert states() == before, name


def test_new_weights_are_drawn_without_seeding_gpus(monkeypatch):
    def never(*_):
        raise AssertionError("a GPU's generator was seeded")

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(manual_seed_all=never, manual_seed=never))
    with drawn_from(3):
        first = torch.randn(3)
    with drawn_from(3):
        assert torch.equal(torch.randn(3), first)
