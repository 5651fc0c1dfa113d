"""Hub ids and downloads, over a transport that the tests play: no network is used."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from checkpoint_files import write_folder

from sdwidgets.checkpoints import hub, load_model
from sdwidgets.errors import HubError, InputError
from sdwidgets.sources import Source

TOKEN = "hf_SECRETSECRETSECRET"


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Play the hub: ``cached`` and ``online`` are folders, or errors to raise. Calls are noted."""

    def play(cached: Any = None, online: Any = None, files: Any = ()) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def snapshot_download(repo_id: str, **options: Any) -> str:
            calls.append({"repo_id": repo_id, **options})
            answer = cached if options.get("local_files_only") else online
            if answer is None:
                raise FileNotFoundError("not there")
            if isinstance(answer, BaseException):
                raise answer
            return str(answer)

        def list_repo_files(self: Any, repo_id: str, **options: Any) -> list[str]:
            if isinstance(files, BaseException):
                raise files
            return list(files)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", list_repo_files)
        return calls

    return play


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("hub") / "model")


@pytest.mark.parametrize(
    "name",
    [
        "", "name", "a/b/c", "../../etc", "a/..", "x; rm", "a/x; rm", "a/" + "b" * 300, "/a/b",
        "a/b/", "https://hub/a/b", "a\0/b", "a/b\n", "é/b", "a/-b", "a--b/c", "a/b..c", ".a/b",
    ],
)  # fmt: skip
def test_impossible_ids_are_refused_before_any_request(
    name: str, transport: Callable[..., list[Any]]
) -> None:
    calls = transport()
    assert not hub.is_model_id(name)
    with pytest.raises(InputError):
        hub.fetch(name)
    assert calls == []


@pytest.mark.parametrize("name", ["a/b", "stabilityai/stable-diffusion-2-1", "Owner_1/name.v2"])
def test_possible_ids(name: str) -> None:
    assert hub.is_model_id(name)


@pytest.mark.parametrize("revision", ["", "../x", "a b", "-x", "x" * 300, "a\0"])
def test_impossible_revisions(revision: str, transport: Callable[..., list[Any]]) -> None:
    calls = transport()
    with pytest.raises(InputError):
        hub.fetch("a/b", revision)
    assert calls == []


def test_what_is_in_the_cache_is_not_asked_for(
    folder: Path, transport: Callable[..., list[Any]]
) -> None:
    calls = transport(cached=folder)
    assert hub.fetch("a/b") == folder
    assert [call.get("local_files_only") for call in calls] == [True]


def test_half_a_model_in_the_cache_is_completed(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    calls = transport(cached=tmp_path, online=folder)
    assert hub.fetch("a/b", "v1") == folder
    assert [call["revision"] for call in calls] == ["v1", "v1"]


def test_half_of_a_models_files_of_weights_are_completed(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    stem = "diffusion_pytorch_model"
    parts = [f"{stem}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (half / "unet" / f"{stem}.safetensors").rename(half / "unet" / parts[0])
    index = half / "unet" / f"{stem}.safetensors.index.json"
    transport(cached=half, online=folder)
    assert hub.fetch("a/b") == folder  # without an index, the files may be incomplete
    index.write_text(json.dumps({"weight_map": dict(zip("ab", parts, strict=True))}))
    assert hub.fetch("a/b") == folder
    shutil.copy(half / "unet" / parts[0], half / "unet" / parts[1])
    assert hub.fetch("a/b") == half


def test_only_safetensors_and_settings_are_fetched(
    folder: Path, transport: Callable[..., list[Any]]
) -> None:
    calls = transport(online=folder)
    hub.fetch("a/b")
    patterns = calls[-1]["allow_patterns"]

    def fetched(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    assert fetched("unet/diffusion_pytorch_model.safetensors") and fetched("tokenizer/vocab.json")
    assert fetched("unet/diffusion_pytorch_model-00001-of-00002.safetensors")
    for name in (
        "unet/diffusion_pytorch_model.bin",
        "v1-5-pruned.safetensors",
        "pipeline.py",
        "unet/evil.py",
        "safety_checker/model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/x.pt",
    ):
        assert not fetched(name)


def test_a_fetched_model_is_loaded(folder: Path, transport: Callable[..., list[Any]]) -> None:
    transport(online=folder)
    assert load_model("a/b", device="cpu").config.size == 16


class HfHubHTTPError(Exception):
    """An error as the library raises it, in any version: with a response's status, and a text."""

    def __init__(self, status: int):
        super().__init__(f"{status} for https://hub/?token={TOKEN}")
        self.response = SimpleNamespace(status_code=status)


class GatedRepoError(HfHubHTTPError):
    pass


class RepositoryNotFoundError(HfHubHTTPError):
    pass


class RevisionNotFoundError(HfHubHTTPError):
    pass


class LocalEntryNotFoundError(FileNotFoundError):
    pass


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (GatedRepoError(401), "accepted its terms"),
        (HfHubHTTPError(403), "accepted its terms"),
        (RepositoryNotFoundError(401), "private"),
        (RepositoryNotFoundError(404), "Check the spelling"),
        (RevisionNotFoundError(404), "no branch, tag or commit 'v9'"),
        (HfHubHTTPError(429), "429"),
        (HfHubHTTPError(503), "The hub itself has an error"),
        (caused_by(LocalEntryNotFoundError(), HfHubHTTPError(502)), "The hub itself has an error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (PermissionError(errno.EACCES, "denied"), "is not writable"),
        (ConnectionError(f"DNS {TOKEN}"), "cannot be reached"),
        (caused_by(LocalEntryNotFoundError(), TimeoutError()), "cannot be reached"),
        (RuntimeError(f"never seen {TOKEN}"), "RuntimeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_each_failure_has_its_own_words(
    error: Exception, what: str, transport: Callable[..., list[Any]]
) -> None:
    transport(online=error)
    with pytest.raises(HubError) as caught:
        hub.fetch("a/b", "v9")
    message = str(caught.value)
    assert what in message and len(message.splitlines()) <= 3
    assert TOKEN not in message
    assert caught.value.__context__ is None and caught.value.__cause__ is None


def test_a_repository_of_pickles_is_refused_with_their_names(
    tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    names = ["model_index.json", "unet/diffusion_pytorch_model.bin", "vae/x.bin", "m.ckpt"]
    transport(online=tmp_path, files=names)
    with pytest.raises(HubError, match=r"pickles(.|\n)*unet/diffusion_pytorch_model\.bin"):
        hub.fetch("a/b")


def test_a_repository_of_one_file_names_it(
    tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(online=tmp_path, files=["README.md", "sd15.safetensors"])
    with pytest.raises(HubError, match=r"sd15\.safetensors"):
        hub.fetch("a/b")


def test_a_repository_that_cannot_be_listed(
    tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(online=tmp_path, files=ConnectionError(TOKEN))
    with pytest.raises(HubError, match="no model folder") as caught:
        hub.fetch("a/b")
    assert TOKEN not in str(caught.value)


def test_a_vocabulary_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def look(model_id: str, name: str) -> str | None:
        asked.append((model_id, name))
        return str(tmp_path / Path(name).name) if "v1-4" in model_id else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    assert hub.cached_tokenizer() == tmp_path
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a: None)
    assert hub.cached_tokenizer() is None


def test_a_model_of_the_hub_is_known_by_its_commit(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    transport(cached=shutil.copytree(folder, tmp_path / "snapshots" / commit))
    model = load_model("owner/name", device="cpu")
    assert model.sources == (Source("owner/name", commit=commit),)
