"""The models that can be listed: names at once, then what the headers say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoint_files import (
    SMALL,
    compvis_tensors,
    edit_json,
    networks,
    one_tensor,
    raw_safetensors,
    save_tensors,
    write_folder,
    write_header,
    write_tokenizer,
)
from kinds_of_files import FILES
from published import layouts_of, shapes_of

from sdwidgets.checkpoints import hub, listing, load_model
from sdwidgets.checkpoints.listing import Listed, Listing
from sdwidgets.checkpoints.zoo import bundled_models
from sdwidgets.configs import SD1, ModelConfig
from sdwidgets.errors import CheckpointError

LIMIT = 120  # seconds, more than anything here takes
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub; and nothing is remembered."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(hub, "_cache", lambda: folder)
    listing._known.clear()
    yield folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def found(*folders: Path | str, most: int = listing.MOST) -> dict[str, Listed]:
    """Return what is listed beside the bundled model, by title, with its headers read."""
    listed = [*listing.find([str(folder) for folder in folders], most)]
    return {one.title: examined(one) for one in listed if one.place != "bundled"}


OTHER_WORDS = replace(SD1, embedders=(replace(SD1.text[0], vocab_size=521),))


def write_stable_diffusion(path: Path, config: ModelConfig = SD1) -> None:
    """Write a file with the header of a Stable Diffusion, and weights that take no room."""
    write_header(path, shapes_of(config, layouts_of(config)[0]), "F8_E4M3")


def examined(one: Listed) -> Listed:
    return listing.examine(one) if one.state == "reading" else one


# ---------------------------------------------------------------------------------- what is found


def test_the_bundled_model_is_listed_without_any_folder() -> None:
    emoji, *_ = listing.find()
    assert (emoji.name, emoji.place, emoji.state) == ("emoji", "bundled", "reading")
    emoji = listing.examine(emoji)
    assert emoji.state == "found" and emoji.why == ""
    assert emoji.what == "Latent diffusion, 128 x 128 pixels, predicts v, float16"
    assert emoji.bytes == sum(
        path.stat().st_size for path in emoji.path.rglob("*.safetensors") if path.is_file()
    )


def test_model_folders_and_files_are_found_in_folders(models: Path) -> None:
    write_folder(models / "by me" / "small")
    save_tensors(compvis_tensors(networks(), SMALL), models / "whole.safetensors")
    (models / "notes.txt").write_text("no model")
    (models / ".hidden").mkdir()
    (models / ".hidden" / "x.safetensors").write_bytes(one_tensor())
    (models / "model-00001-of-00002.safetensors").write_bytes(one_tensor())
    listed = found(models)
    assert set(listed) == {"by me/small", "whole.safetensors"}
    small = listed["by me/small"]
    assert (small.state, small.place) == ("found", "folder")
    assert small.what == "Latent diffusion, 16 x 16 pixels, predicts eps, float32"
    assert Path(small.name) == models / "by me" / "small"
    assert load_model(small.name).config.size == 16  # the name is what loading takes


def test_a_folder_that_is_a_model_is_listed_itself(models: Path) -> None:
    write_folder(models / "small")
    assert set(found(models / "small")) == {"small"}
    assert set(found(models, models / "small")) == {"small"}  # once


def test_a_file_may_stand_for_a_folder(models: Path) -> None:
    file = models / "one.safetensors"
    file.write_bytes(one_tensor())
    assert found(file)["one.safetensors"].state == "refused"


def test_models_of_the_hubs_cache_are_listed_by_their_id(cache: Path) -> None:
    commit = "a" * 40

    def repository(name: str, reference: str = commit) -> Path:
        (cache / name / "refs").mkdir(parents=True)
        (cache / name / "refs" / "main").write_text(reference)
        return cache / name / "snapshots" / commit

    write_folder(repository("models--ana--small"))
    part = repository("models--ana--part")
    part.mkdir(parents=True)
    (part / "model_index.json").write_text((part.parents[2] / "models--ana--small" / "snapshots"
                                            / commit / "model_index.json").read_text())  # fmt: skip
    repository("models--ana--words").mkdir(parents=True)  # no model of ours: another kind
    repository("models--ana--lost", "../../../etc")
    repository("datasets--ana--images")
    (cache / "models--ana--empty").mkdir()
    (cache / "version.txt").write_text("1")
    listed = found()
    assert set(listed) == {"ana/part", "ana/small"}
    assert (listed["ana/small"].state, listed["ana/small"].place) == ("found", "hub")
    assert listed["ana/part"].state == "found" and "fetches the rest" in listed["ana/part"].why


def test_there_may_be_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "_cache", lambda: tmp_path / "nowhere")
    assert found() == {}


# ------------------------------------------------------------------------------- what is refused


def test_a_file_is_refused_for_what_loading_it_would_say(models: Path) -> None:
    write_header(models / "flux.safetensors", FILES["Flux"][0])
    write_header(models / "unknown.safetensors", FILES["unknown"][0])
    (models / "pickle.ckpt").write_bytes(b"\x80\x02}q\x00.")
    (models / "cut.safetensors").write_bytes(one_tensor()[:-1])
    (models / "empty.safetensors").write_bytes(b"")
    (models / "page.pt").write_text("<!doctype html>")
    (models / "huge.safetensors").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\x7f{")
    (models / "deep.safetensors").write_bytes(raw_safetensors(b"[" * 100_000))
    write_stable_diffusion(models / "no words.safetensors", OTHER_WORDS)
    listed = found(models)
    assert {one.state for one in listed.values()} == {"refused"}
    for title, one in listed.items():
        with pytest.raises(CheckpointError) as refused:
            load_model(one.name)
        assert str(refused.value) == one.why, title
    assert "a Flux model" in listed["flux.safetensors"].why
    assert "vocab.json" in listed["no words.safetensors"].why


def test_parts_and_additions_are_named_as_what_they_are(models: Path) -> None:
    for title in ("kohya SD1", "kohya word", "VAE, CompVis", "ControlNet, CompVis", "IP-Adapter"):
        write_header(models / f"{title}.safetensors", FILES[title][0])
    torch.save({"emb_params": torch.zeros(2, 768)}, models / "word.pt")
    listed = found(models)
    assert {one.state for one in listed.values()} == {"part"}
    assert {title: one.what for title, one in listed.items()} == {
        "kohya SD1.safetensors": "LoRA, rank 4, for Stable Diffusion 1",
        "kohya word.safetensors": "Textual inversion, 8 vectors, for Stable Diffusion 1",
        "VAE, CompVis.safetensors": "Autoencoder (VAE) alone, of Stable Diffusion 1, 2 or XL",
        "ControlNet, CompVis.safetensors": "ControlNet, for Stable Diffusion 1",
        "IP-Adapter.safetensors": "IP-Adapter, for Stable Diffusion 1",
        "word.pt": "Textual inversion, 2 vectors, for Stable Diffusion 1",
    }
    lora = listed["kohya SD1.safetensors"]
    assert lora.why == f"Use it with model.with_lora({lora.name!r})"
    assert lora.bytes == (models / "kohya SD1.safetensors").stat().st_size
    assert listed["IP-Adapter.safetensors"].why == "This kit does not use it."


def test_a_folder_is_refused_for_what_loading_it_would_say(models: Path) -> None:
    folder = write_folder(models / "small")
    edit_json(folder / "unet" / "config.json", block_out_channels="many")
    with pytest.raises(CheckpointError) as refused:
        load_model(folder)
    assert found(models)["small"].why == str(refused.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_a_pipe_is_refused_and_never_waited_for(models: Path) -> None:
    os.mkfifo(models / "pipe.safetensors")
    (models / "small").mkdir()
    os.mkfifo(models / "small" / "model_index.json")
    listed = found(models)
    assert set(listed) == {"pipe.safetensors"}
    assert "pipe" in listed["pipe.safetensors"].why


def test_folders_that_cannot_be_looked_into_say_why(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for text in (str(tmp_path / "nowhere"), "models", "", "a\0b", str(tmp_path / "loop"),
                 "~nobody-of-this-name/models", "\ud800", "/" + "x" * 5000):  # fmt: skip
        (one,) = (one for one in listing.find([text]) if one.place == "folder")
        assert one.state == "refused" and one.why, text


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_read_hides_no_other(models: Path) -> None:
    write_folder(models / "small")
    (models / "private").mkdir()
    (models / "private").chmod(0)
    listed = found(models)
    (models / "private").chmod(0o700)
    assert listed["small"].state == "found"
    assert "denied" in listed["private"].why


def test_an_unreadable_folder_hides_no_other(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(models / "small")
    (models / "private").mkdir()
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "private":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    listed = found(models)
    assert listed["small"].state == "found"
    assert listed["private"].why == "It cannot be read: Permission denied."


def test_links_that_go_around_end(models: Path) -> None:
    write_folder(models / "small")
    (models / "again").symlink_to(models, target_is_directory=True)
    (models / "gone.safetensors").symlink_to(models / "nowhere")
    listed = found(models)
    assert listed["small"].state == "found"
    assert listed["gone.safetensors"].state == "refused"
    assert set(listed) == {"small", "gone.safetensors"}


def test_a_model_keeps_the_name_by_which_its_folder_was_given(models: Path) -> None:
    write_folder(models / "small")
    (models.parent / "link").symlink_to(models, target_is_directory=True)
    small = found(models.parent / "link")["small"]
    assert small.name == str(models.parent / "link" / "small")
    assert small.path == (models / "small").resolve()
    assert set(found(models.parent / "link", models)) == {"small"}  # once


def test_a_file_that_is_gone_from_a_model_is_missed(models: Path) -> None:
    folder = write_folder(models / "small")
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.unlink()
    weights.symlink_to(models / "nowhere")
    assert found(models)["small"].state == "refused"


def test_there_are_limits(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(12):
        (models / f"{i:02}.safetensors").write_bytes(one_tensor())
    listed = found(models, most=10)
    assert len(listed) == 11
    assert "first 10 models" in list(listed.values())[-1].why
    monkeypatch.setattr(listing, "MOST_ENTRIES", 5)
    listed = found(models)
    assert len(listed) == 6
    assert "first 5 files" in list(listed.values())[-1].why
    monkeypatch.setattr(listing, "DEEPEST", 1)
    deep = models / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "deep.safetensors").write_bytes(one_tensor())
    monkeypatch.setattr(listing, "MOST_ENTRIES", 50_000)
    assert "a/b/deep.safetensors" not in found(models)


def test_any_failure_is_a_refusal(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "x.safetensors").write_bytes(one_tensor())

    def fail(*_: Any, **__: Any) -> Any:
        raise RecursionError("too deep")

    monkeypatch.setattr(listing, "open_file", fail)
    assert "too deep" in found(models)["x.safetensors"].why


# ---------------------------------------------------------------------------------- what is kept


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The models whose headers are read from now on."""
    paths: list[Path] = []
    before = listing._open

    def count(listed: Listed, stack: Any) -> Any:
        paths.append(listed.path)
        return before(listed, stack)

    monkeypatch.setattr(listing, "_open", count)
    return paths


def test_headers_are_read_again_only_if_the_files_have_changed(
    models: Path, opened: list[Path]
) -> None:
    folder = write_folder(models / "small")
    (models / "x.safetensors").write_bytes(one_tensor())
    first = found(models)
    assert len(opened) == 2
    assert found(models) == first and len(opened) == 2
    os.utime(models / "x.safetensors", ns=(1, 1))
    found(models)
    assert len(opened) == 3
    edit_json(folder / "unet" / "config.json", block_out_channels="many")
    assert found(models)["small"].state == "refused"


def test_what_was_missing_beside_a_file_is_found_later(models: Path) -> None:
    write_stable_diffusion(models / "whole.safetensors", OTHER_WORDS)
    assert found(models)["whole.safetensors"].state == "refused"
    write_tokenizer(models / "tokenizer")
    whole = found(models)["whole.safetensors"]
    assert whole.state == "found"
    assert whole.what == "Stable Diffusion 1, 512 x 512 pixels, float8_e4m3fn"
    assert whole.bytes == (models / "whole.safetensors").stat().st_size


# --------------------------------------------------------------------------------------- a thread


def wait_until(true: Callable[[], bool], changed: threading.Event) -> None:
    while not true():
        assert changed.wait(LIMIT)
        changed.clear()


@pytest.fixture
def changed() -> threading.Event:
    return threading.Event()


@pytest.fixture
def listed(changed: threading.Event) -> Iterator[Listing]:
    listed = Listing(changed.set)
    yield listed
    listed.close()


def test_many_files_appear_at_once_and_are_filled_in(
    models: Path, listed: Listing, changed: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(500):
        (models / f"{i:03}.safetensors").write_bytes(one_tensor())
    reached, go_on, examine = threading.Event(), threading.Event(), listing.examine

    def wait(one: Listed) -> Listed:
        if one.place == "folder":
            reached.set()
            assert go_on.wait(LIMIT)
        return examine(one)

    monkeypatch.setattr(listing, "examine", wait)
    listed.look([str(models)])
    assert reached.wait(LIMIT)
    bundled = ["found"] * len(bundled_models())
    assert [one.state for one in listed.models] == [*bundled, *["reading"] * 500]
    assert {one.bytes for one in listed.models[len(bundled) :]} == {len(one_tensor())}
    assert not listed.done
    go_on.set()
    wait_until(lambda: listed.done, changed)
    assert [one.state for one in listed.models] == [*bundled, *["refused"] * 500]


def test_another_look_takes_the_place_of_the_first(
    models: Path, listed: Listing, changed: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "old.safetensors").write_bytes(one_tensor())
    reached, go_on, examine = threading.Event(), threading.Event(), listing.examine

    def wait(one: Listed) -> Listed:
        reached.set()
        assert go_on.wait(LIMIT)
        return examine(one)

    monkeypatch.setattr(listing, "examine", wait)
    listed.look([str(models)])
    assert reached.wait(LIMIT)
    listed.look([])
    go_on.set()
    wait_until(lambda: listed.done, changed)
    assert [one.name for one in listed.models] == [*bundled_models()]


def test_the_thread_ends_when_there_is_nothing_to_look_for(
    listed: Listing, changed: threading.Event
) -> None:
    for _ in range(2):
        listed.look()
        thread = listed._thread
        wait_until(lambda: listed.done, changed)
        if thread is not None:
            thread.join(LIMIT)
            assert not thread.is_alive()
        assert listed._thread is None


def test_it_rests_while_something_else_is_to_be_quick(
    models: Path, changed: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (models / f"{name}.safetensors").write_bytes(one_tensor())
    rests: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: float(len(opened)), sleep=rests.append)
    opened: list[Any] = []
    examine = listing.examine

    def count(one: Listed) -> Listed:
        opened.append(one)
        return examine(one)

    monkeypatch.setattr(listing, "examine", count)
    monkeypatch.setattr(listing, "REST", 0.25)
    monkeypatch.setattr(listing, "time", clock)
    listed = Listing(changed.set, lambda: len(opened) > 2)
    listed.look([str(models)])
    wait_until(lambda: listed.done, changed)
    assert len(opened) == len(bundled_models()) + 3
    assert rests == [0.25] * (len(opened) - 2)  # after all but the first two


def test_an_error_of_the_one_who_is_told_ends_nothing() -> None:
    done = threading.Event()

    def fail() -> None:
        if listed.done:
            done.set()
        raise RuntimeError("no page")

    listed = Listing(fail)
    listed.look()
    assert done.wait(LIMIT)
    assert listed.models[0].state == "found"


def test_listing_imports_no_torch(models: Path) -> None:
    write_folder(models / "small")
    write_stable_diffusion(models / "whole.safetensors")
    write_tokenizer(models / "tokenizer")
    code = (
        "import sys; from sdwidgets.checkpoints import listing\n"
        f"found = [listing.examine(one) for one in listing.find([{str(models)!r}])]\n"
        "print([one.state for one in found if one.place == 'folder'], 'torch' in sys.modules)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(models / "nowhere")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == "['found', 'found'] False"
