"""Hub ids and downloads, over a transport that the tests play: no network is used."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from checkpoint_files import write_folder

from sdwidgets.checkpoints import hub, load_model, save_model
from sdwidgets.checkpoints.weights import WeightFile
from sdwidgets.configs import SDXL_REFINER, TINY, ClassConfig, ModelConfig, SizesConfig
from sdwidgets.errors import HubError, InputError, Stopped
from sdwidgets.pipeline import LatentDiffusion
from sdwidgets.sources import Source

TOKEN = "hf_SECRETSECRETSECRET"


COMMIT = "0123456789abcdef" * 2 + "01234567"
NEWER = "f" * 40
Answer = Any  # a folder, or an error to raise


def listed(folder: Path, model_id: str = "a/b", commit: str = COMMIT) -> SimpleNamespace:
    """Return the listing of a repository with the files of ``folder``, as the library gives it."""
    siblings = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            lfs = SimpleNamespace(sha256=digest) if path.suffix == ".safetensors" else None
            name = path.relative_to(folder).as_posix()
            siblings.append(SimpleNamespace(rfilename=name, size=len(content), lfs=lfs))
    return SimpleNamespace(id=model_id, sha=commit, siblings=siblings)


def named(*names: str) -> SimpleNamespace:
    """Return the listing of a repository with files of these names."""
    files = [SimpleNamespace(rfilename=name, size=None, lfs=None) for name in names]
    return SimpleNamespace(id="a/b", sha=COMMIT, siblings=files)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(hub, "_DELAYS", (0.0, 0.0))
    return tmp_path / "cache"


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Play the hub: ``cached`` and ``online`` are folders, or errors to raise; ``listing`` is what
    it lists, by default the folder online. Calls are noted."""

    def play(
        cached: Answer = None, online: Answer = None, listing: Any = None
    ) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def snapshot_download(repo_id: str, **options: Any) -> str:
            calls.append({"repo_id": repo_id, **options})
            answer = cached if options.get("local_files_only") else online
            if callable(answer):
                answer = answer()
            if answer is None:
                raise FileNotFoundError("not there")
            if isinstance(answer, BaseException):
                raise answer
            return str(answer)

        def model_info(self: Any, repo_id: str, **options: Any) -> Any:
            assert options["timeout"] <= 10
            calls.append({"listed": repo_id, **options})
            answer = online if listing is None else listing
            if isinstance(answer, BaseException):
                raise answer
            return listed(answer, repo_id) if isinstance(answer, Path) else answer

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
        return calls

    return play


def downloads(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [c for c in calls if "repo_id" in c and not c.get("local_files_only")]


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


@pytest.mark.parametrize("name", [None, 5, b"a/b", ["a/b"], Path("a/b")])
def test_impossible_ids(name: Any, transport: Callable[..., list[Any]]) -> None:
    calls = transport()
    with pytest.raises(InputError):
        hub.fetch(name)
    assert calls == []


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "../x",
        "a b",
        "-x",
        "x" * 300,
        "a\0",
        5,
        b"main",
        ["main"],
        pytest.param(10**5000, id="huge"),
    ],
)
def test_impossible_revisions(revision: Any, transport: Callable[..., list[Any]]) -> None:
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
    assert [call["revision"] for call in calls] == ["v1", "v1", "v1"]


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
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    others = [
        "unet/diffusion_pytorch_model.bin",
        "v1-5-pruned.safetensors",
        "pipeline.py",
        "unet/evil.py",
        "safety_checker/model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/x.pt",
    ]
    for name in others:
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"x")
    calls = transport(online=copy)
    hub.fetch("a/b")
    (call,) = downloads(calls)

    def fetched(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in call["allow_patterns"])

    names = [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()]
    wanted = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(filter(fetched, names)) == sorted(wanted)
    assert not any(map(fetched, others))


@pytest.mark.parametrize(
    "files",
    [
        ["{stem}.safetensors"],
        ["{stem}.fp16.safetensors"],
        ["{stem}.safetensors.index.json", "{stem}-00001-of-00001.safetensors"],
        ["{stem}.safetensors.index.fp16.json", "{stem}.fp16-00001-of-00001.safetensors"],
        ["{stem}.fp16.safetensors.index.json", "{stem}.fp16-00001-of-00001.safetensors"],
        ["{stem}.safetensors.index.fp16.json", "{stem}-00001-of-00001.fp16.safetensors"],
        ["{stem}.bf16.safetensors"],
    ],
)
def test_weights_are_found_under_each_of_their_names_and_loaded(
    files: list[str], folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    """Many repositories have their weights in half precision only."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for part in ("unet", "vae", "text_encoder"):
        (whole,) = (copy / part).glob("*.safetensors")
        *index, weights = [file.format(stem=whole.stem) for file in files]
        with WeightFile(whole) as file:
            names = list(file.entries)
        whole.rename(copy / part / weights)
        for name in index:
            content = {"weight_map": dict.fromkeys(names, weights)}
            (copy / part / name).write_text(json.dumps(content))
    calls = transport(online=copy)
    assert load_model("a/b", device="cpu").config.size == 16
    transport(cached=copy)
    assert hub.fetch("a/b") == copy  # and is whole
    assert len(downloads(calls)) == 1


def test_half_precision_is_fetched_only_where_there_is_nothing_else() -> None:
    stem = "diffusion_pytorch_model"
    names = [
        "model_index.json",
        f"unet/{stem}.fp16.safetensors",
        f"unet/{stem}.safetensors",
        f"vae/{stem}.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
    ]
    assert hub.wanted_files(names) == [names[0], names[2], *names[3:]]
    assert hub.wanted_files(names[1:]) == []
    assert hub.wanted_files([*names[:3], "text_encoder/model.safetensors"]) == []


def test_the_refiners_only_text_encoder_is_the_second(
    make_model: Callable[[ModelConfig], LatentDiffusion],
    tmp_path: Path,
    transport: Callable[..., list[Any]],
) -> None:
    second = replace(SDXL_REFINER.text[0], width=16, projection_dim=16, layers=2, heads=2)
    told = (replace(second, hidden=16), SizesConfig(8, score=True))
    unet = replace(TINY.unet, context_dim=16, vector_dim=56)
    model = make_model(replace(TINY, unet=unet, embedders=told))
    folder = save_model(model, tmp_path / "refiner")
    calls = transport(online=folder)
    assert load_model("a/b", device="cpu").config.vector_width == 56
    transport(cached=folder)
    assert hub.fetch("a/b") == folder
    assert len(downloads(calls)) == 1


def test_the_upscalers_second_scheduler_is_fetched() -> None:
    names = [
        "model_index.json", "low_res_scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ]  # fmt: skip
    assert sorted(hub.wanted_files(names)) == sorted(names)


def test_a_model_in_our_own_layout(
    make_model: Callable[[ModelConfig], LatentDiffusion],
    tmp_path: Path,
    transport: Callable[..., list[Any]],
) -> None:
    config = replace(TINY, embedders=(ClassConfig(("cat", "dog"), 24),))
    folder = save_model(make_model(config), tmp_path / "classes")
    transport(online=folder)
    assert load_model("a/b", device="cpu").config == config
    (tmp_path / "half").mkdir()
    shutil.copy(folder / "model.json", tmp_path / "half")
    calls = transport(cached=tmp_path / "half", online=folder)
    assert hub.fetch("a/b") == folder
    assert len(downloads(calls)) == 1
    more = ["tokenizer/vocab.json", "vocabulary.json", "x.bin", "README.md"]
    found = hub.wanted_files(["model.json", "weights.safetensors", *more])
    assert {*found} == {"model.json", "weights.safetensors", *more[:2]}
    assert hub.wanted_files(["model.json"]) == []


def test_a_fetched_model_is_loaded(folder: Path, transport: Callable[..., list[Any]]) -> None:
    transport(online=folder)
    assert load_model("a/b", device="cpu").config.size == 16


def test_a_file_that_is_not_what_the_hub_lists_is_removed(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    """The cache links to its files: both go, so that the next download begins anew."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    listing = listed(copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    blob = tmp_path / "blob"
    blob.write_bytes(weights.read_bytes()[:-1] + b"!")
    weights.unlink()
    weights.symlink_to(blob)
    transport(online=copy, listing=listing)
    with pytest.raises(HubError, match=r"unet/diffusion_pytorch_model\.safetensors is not the"):
        hub.fetch("a/b")
    assert not blob.exists() and not weights.is_symlink()
    assert (copy / "vae" / weights.name).is_file()


def test_older_librarys_listings_are_read(
    folder: Path, transport: Callable[..., list[Any]]
) -> None:
    listing = listed(folder)
    for each in listing.siblings:
        each.lfs = {"sha256": each.lfs.sha256} if each.lfs else None
    transport(online=folder, listing=listing)
    assert hub.fetch("a/b") == folder


def test_a_disk_that_is_too_small_is_said_before_anything_is_downloaded(
    folder: Path, transport: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    calls = transport(online=folder)
    with pytest.raises(HubError, match=f"needs {needed:,} bytes(.|\n)*{needed - 1:,} left"):
        hub.fetch("a/b")
    assert downloads(calls) == []
    usage.free = needed
    assert hub.fetch("a/b") == folder


def test_what_was_downloaded_before_is_not_counted_again(
    folder: Path, cache: Path, transport: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = cache / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "x.incomplete").write_bytes(bytes(1000))
    needed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    usage = SimpleNamespace(free=needed - 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    transport(online=folder)
    assert hub.fetch("a/b") == folder


@pytest.fixture
def endless(transport: Callable[..., list[Any]], folder: Path) -> Iterator[threading.Event]:
    """Play a hub that hardly sends anything; the event is set when it is asked for files."""
    begun, over = threading.Event(), threading.Event()

    def wait() -> Exception:
        begun.set()
        over.wait(60)
        return ConnectionError("over")

    transport(online=wait, listing=listed(folder))
    yield begun
    over.set()


def test_a_hub_that_hardly_sends_anything_is_given_up(
    endless: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SLOW_SECONDS", 0.0)
    with pytest.raises(HubError, match=r"sent 0 bytes of a/b(.|\n)*another connection"):
        hub.fetch("a/b")
    assert endless.is_set()


def test_a_download_can_be_stopped(endless: threading.Event) -> None:
    with pytest.raises(Stopped):
        load_model("a/b", device="cpu", stop=endless.is_set)


def test_a_download_that_goes_on_is_waited_for(
    folder: Path, cache: Path, transport: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SLOW_SECONDS", 0.0)
    sizes = iter(range(0, 10**12, 2**20))
    monkeypatch.setattr(hub, "_stored", lambda model_id: next(sizes))
    looks = threading.Event()

    def slow() -> Path:
        looks.wait(0.5)
        return folder

    transport(online=slow, listing=listed(folder))
    assert hub.fetch("a/b") == folder


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


@pytest.mark.parametrize("error", [HfHubHTTPError(503), ConnectionError(TOKEN)])
def test_a_failure_while_files_are_downloaded_has_its_words_too(
    error: Exception, folder: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(online=error, listing=listed(folder))
    with pytest.raises(HubError, match=r"has an error|cannot be reached") as caught:
        hub.fetch("a/b")
    assert TOKEN not in str(caught.value)
    assert caught.value.__context__ is None and caught.value.__cause__ is None


def test_a_cache_that_is_not_writable_is_named(transport: Callable[..., list[Any]]) -> None:
    transport(online=PermissionError(errno.EACCES, "denied", "/shared/hub/models--a--b"))
    with pytest.raises(HubError, match=r"/shared/hub/models--a--b(.|\n)*HF_HOME"):
        hub.fetch("a/b")


def test_a_model_in_a_read_only_cache_is_loaded(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(path.stat().st_mtime_ns for path in copy.rglob("*"))
    transport(cached=copy)
    assert load_model("a/b", device="cpu").config.size == 16
    assert sorted(path.stat().st_mtime_ns for path in copy.rglob("*")) == before
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)


class ChunkedEncodingError(Exception):
    pass


@pytest.mark.parametrize(
    ("errors", "tries"),
    [
        ([ConnectionError(), ChunkedEncodingError()], 3),
        ([HfHubHTTPError(503)], 2),
        ([caused_by(OSError(), TimeoutError())], 2),
        ([ConnectionError()] * 3, 3),
        ([HfHubHTTPError(403)], 1),
        ([OSError(errno.ENOSPC, "No space left on device")], 1),
    ],
)
def test_a_download_that_was_cut_is_tried_again(
    errors: list[Exception], tries: int, folder: Path, transport: Callable[..., list[Any]]
) -> None:
    answers = iter([*errors, folder])
    calls = transport(online=lambda: next(answers), listing=listed(folder))
    if len(errors) < tries:
        assert hub.fetch("a/b") == folder
    else:
        with pytest.raises(HubError):
            hub.fetch("a/b")
    assert len(downloads(calls)) == tries


def test_half_a_download_is_no_model(
    folder: Path, tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    half = Path(shutil.copytree(folder, tmp_path / "half"))
    (half / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    transport(online=half, listing=listed(folder))
    with pytest.raises(HubError, match="not downloaded completely"):
        hub.fetch("a/b")


def test_a_token_in_an_address_is_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        load_model(f"https://user:{TOKEN}@huggingface.co/a/b")
    assert TOKEN not in str(caught.value)


def test_a_repository_of_pickles_is_refused_with_their_names(
    tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    names = ["model_index.json", "unet/diffusion_pytorch_model.bin", "vae/x.bin", "m.ckpt"]
    calls = transport(online=tmp_path, listing=named(*names))
    with pytest.raises(HubError, match=r"pickles(.|\n)*unet/diffusion_pytorch_model\.bin"):
        hub.fetch("a/b")
    assert downloads(calls) == []


def test_a_repository_of_one_file_names_it(
    tmp_path: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(online=tmp_path, listing=named("README.md", "sd15.safetensors"))
    with pytest.raises(HubError, match=r"sd15\.safetensors"):
        hub.fetch("a/b")


def test_an_empty_repository(tmp_path: Path, transport: Callable[..., list[Any]]) -> None:
    transport(online=tmp_path, listing=named())
    with pytest.raises(HubError, match="no model folder"):
        hub.fetch("a/b")


@pytest.fixture
def snapshot(folder: Path, tmp_path: Path) -> Path:
    """Return a folder as the library's cache names it, by its commit."""
    return Path(shutil.copytree(folder, tmp_path / "snapshots" / COMMIT))


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_model_of_the_hub_is_known_by_its_commit(
    snapshot: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(cached=snapshot, listing=listed(snapshot, "owner/name"))
    model = load_model("owner/name", device="cpu")
    assert model.sources == (Source("owner/name", commit=COMMIT),)
    assert f"owner/name ({COMMIT[:8]})" in repr(model)
    trace = model.generate("", steps=1, seed=0)
    assert trace.sources == model.sources
    assert trace.record()["sources"][0]["commit"] == COMMIT
    assert model.notices == ()


@pytest.mark.parametrize("revision", [None, "v2"])
def test_a_copy_that_is_older_than_its_branch_is_said(
    revision: str | None, snapshot: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(cached=snapshot, listing=listed(snapshot, "owner/name", NEWER))
    with pytest.warns(UserWarning) as caught:
        model = load_model("owner/name", revision=revision, device="cpu")
    (told,) = [str(w.message) for w in caught]
    assert COMMIT[:8] in told and f"{revision or 'main'} is now at {NEWER[:8]}" in told
    assert f"revision={NEWER!r}" in told
    assert model.notices == (told,)
    assert model.sources[0].commit == COMMIT


def test_a_repository_of_another_name_is_said(
    snapshot: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(cached=snapshot, listing=listed(snapshot, "other/name"))
    with pytest.warns(UserWarning, match="now called 'other/name'"):
        load_model("owner/name", device="cpu")


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "answer", [ConnectionError("no network"), RepositoryNotFoundError(404), SimpleNamespace()]
)
def test_without_an_answer_nothing_is_said(
    answer: Any, snapshot: Path, transport: Callable[..., list[Any]]
) -> None:
    transport(cached=snapshot, listing=answer)
    assert load_model("owner/name", device="cpu").notices == ()


def test_a_commit_is_not_asked_about(snapshot: Path, transport: Callable[..., list[Any]]) -> None:
    calls = transport(cached=snapshot, listing=ConnectionError())
    load_model("owner/name", revision=COMMIT, device="cpu")
    assert not any("listed" in call for call in calls)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_hub_that_does_not_answer_is_not_waited_for(
    snapshot: Path, transport: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport(cached=snapshot)
    over = threading.Event()
    monkeypatch.setattr(hub, "_PATIENCE", 0.0)
    monkeypatch.setattr(hub, "_listing", lambda *a: over.wait(60))
    assert load_model("owner/name", device="cpu").notices == ()
    over.set()
