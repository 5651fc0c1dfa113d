"""Two processes that share out every batch train what one process does. A real torchrun."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from few_pictures import Few

from sdwidgets.configs import AutoencoderConfig
from sdwidgets.errors import InputError
from sdwidgets.training import Arrays, Plan, autoencoder, distributed, loop, train

pytest.importorskip("accelerate")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun and gloo on Windows"),
]

KL = AutoencoderConfig(channels=(8, 8), blocks_per_level=1, latent_channels=2, norm_groups=2)
CONFIGS = {"KL": KL, "VQ": replace(KL, codes=16)}
PLAN = Plan(steps=8, batch_size=8, warmup=2, matrix_lr=0.01, checkpoint_every=3)


def make_task(name):
    """All terms of the loss, the adversary from step 4 on; unused codes come back to life."""
    few = Few()
    task = autoencoder(
        Arrays([few.picture(number) for number in range(12)]),
        CONFIGS[name],
        adversary_layers=1,
        adversary_width=4,
        adversary_from=4,
        device="cpu",
    )
    if name == "VQ":
        with torch.no_grad():
            task.model.autoencoder.quantize.embedding.weight[1:] = 1e3
    return task


def share(folder):
    """What each of the processes does."""
    loop.halves_well = lambda device: False  # so that both ways round alike
    accelerator = distributed()
    for name in CONFIGS:
        losses = []
        for step in train(make_task(name), PLAN, folder / f"{name}.pt", accelerator=accelerator):
            losses.append({"loss": step.loss, **step.metrics})
        torch.save(losses, folder / f"{name}-{accelerator.process_index}.losses")
    with pytest.raises(InputError, match="7 cannot be shared out evenly over 2 processes"):
        next(train(make_task("KL"), replace(PLAN, batch_size=7), accelerator=accelerator))
    accelerator.end_training()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    where = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"],
            *["--master_addr", "127.0.0.1", "--master_port", str(port), __file__, str(folder)],
        ],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(where),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": loopback,
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module", params=CONFIGS)
def both(request, folder, tmp_path_factory):
    """What one process saw and left, and what the two did: losses, checkpoints."""
    file, name = tmp_path_factory.mktemp("one") / "one.pt", request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "halves_well", lambda device: False)
        steps = train(make_task(name), PLAN, file)
        alone = [{"loss": step.loss, **step.metrics} for step in steps]
    shared = [torch.load(folder / f"{name}-{rank}.losses", weights_only=True) for rank in range(2)]
    states = [torch.load(one, weights_only=True) for one in (file, folder / f"{name}.pt")]
    return alone, shared, states


def test_the_loss_curve_is_that_of_one_process_with_the_whole_batch(both):
    alone, (first, second), _ = both
    assert first == second
    assert "found_out" in alone[-1]
    for one, other in zip(alone, first, strict=True):
        assert other.pop("psnr") == pytest.approx(one.pop("psnr"), abs=0.5)  # a mean of logarithms
        assert other == pytest.approx(one, rel=2e-3, abs=1e-4)


def test_the_weights_are_those_of_one_process_with_the_whole_batch(both):
    _, _, (alone, shared) = both
    assert shared["step"] == alone["step"] == 8
    for part in ("model", "ema"):
        assert shared[part].keys() == alone[part].keys()
        for name, value in alone[part].items():
            apart = (shared[part][name].float() - value.float()).norm()
            assert apart <= 5e-3 * value.float().norm() + 1e-4, name


if __name__ == "__main__":
    share(Path(sys.argv[1]))
