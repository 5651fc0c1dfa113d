"""The bundled model is small, loads like any other, and draws what the prompt says.

``python -m sdwidgets.training.evaluate`` measures how often it does. These tests state facts about
a few fixed seeds, which a damaged file or a faulty loader would change.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import sdwidgets as sdw
from sdwidgets.scenes import COLORS

pytestmark = pytest.mark.slow

FOLDER = Path(sdw.__file__).parent / "weights" / "emoji"


@pytest.fixture(scope="module")
def model():
    return sdw.load()


def ground(image):
    """Return the named colour that is nearest to the image's border."""
    pixels = np.asarray(image).astype(float)
    border = np.median(np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3)]), 0)
    return min(COLORS, key=lambda name: np.abs(border - COLORS[name]).sum())


def test_all_its_files_together_are_at_most_32_megabytes():
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 32e6


def test_its_fingerprint_is_that_of_older_records(model):
    # Records only ask the model with their fingerprint.
    assert model.fingerprint.startswith("6408c26c12dedd17")


def test_a_picture_needs_no_transformers_and_nothing_else_that_takes_long_to_import():
    heavy = ["transformers", "huggingface_hub", "diffusers", "accelerate", "matplotlib", "scipy"]
    heavy += ["ipywidgets", "IPython", "pandas", "jinja2", "requests", "sympy", "torch._dynamo"]
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        "import sdwidgets as sdw\n"
        "trace = sdw.load(device='cpu').generate('a cat', steps=2, seed=0)\n"
        "assert trace.image.size == (128, 128)\n"
        f"print(sorted({set(heavy)} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_config_is_the_preset(model):
    from dataclasses import replace

    from sdwidgets.configs import EMOJI

    learnt = model.config.autoencoder
    preset = replace(EMOJI.autoencoder, scaling_factor=learnt.scaling_factor)
    assert model.config == replace(EMOJI, name=model.config.name, autoencoder=preset)


def test_the_background_has_the_colour_asked_for(model):
    colors = ["red", "green", "blue", "yellow", "purple", "pink"]
    trace = model.generate([f"a cat on a {color} background" for color in colors], seed=1)
    assert [ground(image) for image in trace.images] == colors


def test_another_seed_makes_another_picture_and_the_same_seed_the_same(model):
    one, two, again = (
        np.asarray(model.generate("a star", steps=6, seed=seed).image) for seed in (1, 3, 1)
    )
    assert np.array_equal(one, again)
    assert np.abs(one.astype(int) - two).mean() > 2


def test_a_noun_looks_at_its_object(model):
    trace = model.generate("a cat left of a car on a blue background", seed=7, attention=True)
    columns = {word: trace.heat_map(word).mean(0) for word in ("cat", "car")}
    x = np.arange(128.0)
    centre = {w: float((c * x).sum() / c.sum()) for w, c in columns.items()}
    assert centre["cat"] < centre["car"]


def test_the_preview_shows_about_what_the_decoder_does(model):
    from sdwidgets.trace import preview_rgb

    trace = model.generate("a dog on a red background", seed=3)
    preview = preview_rgb(trace.steps[-1].x_next, model.preview_factors)[0].astype(float)
    small = np.asarray(trace.image.resize((16, 16), 4), dtype=float)
    assert np.abs(preview - small).mean() < 25


@pytest.mark.parity
def test_diffusers_makes_the_same_picture_of_the_same_files(model):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        FOLDER, local_files_only=True, torch_dtype=torch.float32
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    prompt = "a cat left of a car on a blue background"
    theirs = pipe(
        prompt, num_inference_steps=10, guidance_scale=4.0, latents=noise, height=128, width=128
    ).images[0]
    ours = model.generate(
        prompt, steps=10, guidance_scale=4.0, latents=noise, sampler="ddim", schedule="ddim"
    ).image
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 2


# ------------------------------------------------------------------------- the autoencoders


@pytest.fixture(scope="module")
def rebuilt():
    """Return the PSNR in dB of every bundled autoencoder of scenes, over the sample images."""
    from sdwidgets.checkpoints.zoo import MODEL, bundled_autoencoders
    from sdwidgets.lab import to_tensor
    from sdwidgets.lab.samples import samples
    from sdwidgets.metrics import psnr
    from sdwidgets.pictures import as_picture

    pictures = torch.cat([to_tensor(as_picture(sample.path)[0]) for sample in samples()])
    found = {}
    for name in bundled_autoencoders():
        if name != MODEL:
            autoencoder = sdw.load_autoencoder(name, device="cpu")
            with torch.no_grad():
                found[name] = float(psnr(autoencoder(pictures).clamp(-1, 1), pictures).mean())
    return found


def test_the_more_an_autoencoder_squeezes_the_less_it_keeps(rebuilt):
    for kind in ("KL", "VQ"):
        kept = [rebuilt[f"{kind}-f{f}"] for f in (4, 8, 16)]
        assert kept == sorted(kept, reverse=True)


def test_codes_keep_less_than_a_posterior(rebuilt):
    assert all(rebuilt[f"KL-f{f}"] > rebuilt[f"VQ-f{f}"] for f in (4, 8, 16))


def test_they_rebuild_scenes_that_they_have_not_seen(rebuilt):
    assert min(rebuilt.values()) > 20
    assert rebuilt["KL-f4"] > 30


def test_all_weights_together_are_at_most_60_megabytes():
    files = FOLDER.parent.rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < 60e6
