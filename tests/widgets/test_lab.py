"""The lab's traits and messages, on small autoencoders; no browser."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import pytest
from PIL import Image
from small_autoencoders import KL, VQ, build, noise

from sdwidgets.checkpoints import zoo
from sdwidgets.checkpoints.zoo import bundled_autoencoders
from sdwidgets.errors import Busy, ImageError, InputError, SDWidgetsError
from sdwidgets.lab import Flip, Knock, Scale, Walk
from sdwidgets.widgets import Lab, kernel, lab_wire

if TYPE_CHECKING:
    from sdwidgets.models.autoencoder import Autoencoder
    from sdwidgets.pipeline import LatentDiffusion

Make = Callable[..., Lab]


@pytest.fixture(scope="module")
def autoencoders() -> dict[str, Autoencoder]:
    return {"kl": build(KL), "vq": build(VQ)}


@pytest.fixture
def make_lab(
    autoencoders: dict[str, Autoencoder], model: LatentDiffusion
) -> Iterator[Callable[..., Lab]]:
    """Makes Labs on those two and the tiny model; they are closed at the end."""
    made: list[Lab] = []

    def make(picture: Any = None, **options: Any) -> Lab:
        picture = noise(48, 40) if picture is None else picture
        options = {"autoencoders": autoencoders, "model": model, "active": "kl", **options}
        made.append(Lab(picture, **options))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(make_lab: Make) -> Lab:
    """A Lab whose work is done."""
    lab = make_lab()
    lab.wait(60)
    return lab


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def page_says(lab: Lab, message: Any, *buffers: bytes) -> None:
    """Deliver a message of the page, as ipywidgets does."""
    lab._handle_custom_msg(message, [memoryview(one) for one in buffers])


def send(lab: Lab, kind: str, *buffers: bytes, **content: Any) -> None:
    """Deliver a message of the page and do the work that it asks for, which may fail."""
    page_says(lab, {"kind": kind, **content}, *buffers)
    with contextlib.suppress(SDWidgetsError):
        lab.wait(60)


def upload(lab: Lab, data: bytes, name: str = "mine.png", **more: Any) -> None:
    message = {"name": name, "size": len(data), "part": 0, "parts": 1, **more}
    send(lab, "file", data, **message)


def picture_of(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


# ------------------------------------------------------------------------------ what is shown


def test_each_chosen_autoencoder_has_a_result_in_their_order(lab: Lab) -> None:
    assert [one.name for one in lab.results] == ["kl", "vq"]
    lab.chosen = ["vq", "kl"]
    lab.wait(60)
    assert [one.name for one in lab.results] == ["vq", "kl"]


def test_the_page_gets_pictures_numbers_and_bytes(lab: Lab) -> None:
    state = lab.get_state()
    assert (state["picture"]["width"], state["picture"]["height"]) == (48, 40)
    for one in state["results"]:
        assert picture_of(one["data"]).size == (48, 40)
        assert len(one["error"]) == 48 * 40
        assert one["error_max"] > 0
        assert all(isinstance(one[name], float) for name in ("psnr", "ssim", "bits", "seconds"))
    assert state["state"] == "idle"


def test_errors_are_to_the_scale_that_is_said(lab: Lab) -> None:
    (wire, *_), (result, *_) = lab.get_state()["results"], lab.results
    levels = np.frombuffer(wire["error"], np.uint8).reshape(40, 48)
    np.testing.assert_allclose(levels * wire["error_max"] / 255, result.error, atol=1)


def test_the_page_gets_the_latents_in_half_precision(lab: Lab) -> None:
    wire = lab.get_state()["latents"]
    shape = wire["channels"], wire["height"], wire["width"]
    assert shape == (4, 10, 12)
    for name in ("mean", "std", "sample"):
        sent = np.frombuffer(wire[name], "<f2").reshape(shape)
        np.testing.assert_allclose(sent, getattr(lab.latents, name), rtol=1e-3, atol=1e-4)
    assert len(wire["stats"]) == 4 and wire["codes"] is None


def test_the_page_gets_the_codes(lab: Lab) -> None:
    lab.active = "vq"
    lab.wait(60)
    wire = lab.get_state()["latents"]
    assert wire["std"] is None
    codes = wire["codes"]
    indices = np.frombuffer(codes["indices"], "<u2")
    assert indices.max() < codes["count"] == 20
    assert codes["used"] == len(set(indices.tolist()))
    assert len(codes["colours"]) == 3 * len(indices)


def test_a_number_that_is_none_is_null(lab: Lab, autoencoders: dict[str, Autoencoder]) -> None:
    broken = build(KL)
    broken.decoder.conv_out.bias.fill_(float("nan"))
    lab.add("broken", broken)
    lab.wait(60)
    wire = {one["name"]: one for one in lab.get_state()["results"]}["broken"]
    assert wire["psnr"] is None
    assert "NaN" in wire["notices"][0] and "NaN" in lab.message


def test_what_is_saved_of_a_scene_is_small(make_lab: Make) -> None:
    lab = make_lab("frogs", panel="between")
    lab.wait(60)
    assert lab.between is not None
    skipped = ("_esm", "_css", "samples")
    total = sum(_size(value) for name, value in lab.get_state().items() if name not in skipped)
    assert total < 500_000  # with random decoders, whose images are noise


def _size(value: Any) -> int:
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 8


def test_a_large_picture_goes_as_jpeg() -> None:
    assert lab_wire.file_of(noise(64, 64)).startswith(b"\x89PNG")
    assert lab_wire.file_of(noise(256, 256)).startswith(b"\xff\xd8")


def test_the_catalogue_has_the_bundled_ones_and_ones_own(lab: Lab) -> None:
    names = [one["name"] for one in lab.catalogue]
    assert names[-2:] == ["kl", "vq"]
    assert lab.catalogue[-1]["codes"] == 20


def test_it_begins_with_the_bundled_ones_and_a_sample(make_lab: Make) -> None:
    """The autoencoders of this checkout; without weights in it, there is nothing to test."""
    names = bundled_autoencoders()
    if not names:
        pytest.skip("the bundled autoencoders are not in this checkout")
    lab = make_lab(autoencoders=None, active=names[0], picture="frogs")
    lab.wait(100)
    assert names[0] in lab.chosen
    assert [one.name for one in lab.results] == lab.chosen
    assert all(one.perceptual >= 0 for one in lab.results)


def test_a_package_without_weights_has_an_empty_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    lab = Lab(noise(48, 40))
    lab.wait(60)
    assert (lab.catalogue, lab.chosen, lab.active, lab.results) == ([], [], "", ())
    with pytest.raises(InputError):
        lab.edit(Knock(0))
    lab.add("mine", build(KL))
    lab.wait(60)
    assert [one.name for one in lab.results] == ["mine"]
    lab.close()


def test_samples_are_offered_with_thumbnails(lab: Lab) -> None:
    assert len(lab.samples) == 6
    for one in lab.samples:
        assert picture_of(one["data"]).size == (64, 64)


# -------------------------------------------------------------------------------- selections


def test_a_page_may_choose_and_set_nothing_else(lab: Lab) -> None:
    lab.set_state({"chosen": ["vq"], "active": "vq", "view": "error", "state": "mine"})
    lab.wait(60)
    assert (lab.chosen, lab.active, lab.view) == (["vq"], "vq", "error")
    assert lab.state == "idle"


@pytest.mark.parametrize(
    "sent",
    [
        {"chosen": []},
        {"chosen": ["none such"]},
        {"chosen": "none such"},
        {"active": ["kl"]},
        {"active": None},
        {"side": 127},
        {"side": "128"},
        {"side": True},
        {"panel": "kitchen"},
        {"view": 3},
        {"results": []},
        {"uid": "mine"},
    ],
    ids=str,
)
def test_what_cannot_be_chosen_is_ignored(lab: Lab, sent: dict[str, Any]) -> None:
    before = {name: getattr(lab, name) for name in sent}
    lab.set_state(sent)
    assert {name: getattr(lab, name) for name in sent} == before


def test_a_wrong_choice_in_python_is_said(lab: Lab) -> None:
    with pytest.raises(InputError, match="chosen must be one of"):
        lab.chosen = ["none such"]
    with pytest.raises(InputError, match="1 to 4"):
        lab.chosen = []
    with pytest.raises(InputError, match="side must be 64, 128, 256, got 100"):
        lab.side = 100


def test_an_active_one_that_was_not_chosen_joins_them(lab: Lab) -> None:
    lab.chosen = ["kl"]
    lab.active = "vq"
    assert lab.chosen == ["kl", "vq"]


def test_the_active_one_is_among_the_chosen(lab: Lab) -> None:
    lab.chosen = ["vq"]
    assert lab.active == "vq"
    lab.wait(60)
    assert lab.latents.name == "vq" and lab.edited.name == "vq"


def test_another_side_is_another_size(make_lab: Make) -> None:
    lab = make_lab(noise(300, 200))
    lab.side = 64
    lab.wait(60)
    assert lab.picture.image.size == (64, 43)
    assert lab.results[0].image.size == (64, 43)
    assert "300 x 200 to 64 x 43" in lab.message


def test_an_unknown_option_is_a_type_error(make_lab: Make) -> None:
    with pytest.raises(TypeError, match="no selection 'sides'"):
        make_lab(sides=3)


# ------------------------------------------------------------------------------------ images


def test_a_page_opens_a_file(lab: Lab) -> None:
    upload(lab, png(noise(64, 33, seed=4)), name="../../etc/cat.png")
    assert lab.picture.name == "../../etc/cat.png"  # text, never a path
    assert lab.picture.image.size == (64, 33)
    assert lab.results[0].image.size == (64, 33)


def test_a_file_in_parts_is_put_together(lab: Lab) -> None:
    data = png(noise(64, 64, seed=4))
    pieces = [data[i : i + 5000] for i in range(0, len(data), 5000)]
    for i, piece in enumerate(pieces):
        upload_part = {"name": "n", "size": len(data), "part": i, "parts": len(pieces)}
        send(lab, "file", piece, **upload_part)
    assert lab.picture.image.size == (64, 64)


def test_parts_out_of_order_are_said_and_the_picture_stays(lab: Lab) -> None:
    data = png(noise(64, 64))
    before = lab.picture
    send(lab, "file", data[:100], name="n", size=len(data), part=0, parts=3)
    send(lab, "file", data[100:], name="n", size=len(data), part=2, parts=3)
    assert lab.state == "error" and "did not arrive whole" in lab.message
    assert lab.picture is before


def test_a_file_that_is_too_large_is_refused_with_its_size(lab: Lab) -> None:
    send(lab, "file", b"x", name="n", size=17 * 2**20, part=0, parts=17)
    assert lab.state == "error"
    assert "17.0 MB; at most 16" in lab.message


def test_a_broken_file_is_said_and_the_picture_stays(lab: Lab) -> None:
    before, results = lab.picture, lab.results
    upload(lab, b"no image at all")
    assert lab.state == "error" and "cannot be read" in lab.message
    assert lab.picture is before and lab.results is results


def test_after_an_error_all_goes_on(lab: Lab) -> None:
    upload(lab, b"no image at all")
    send(lab, "sample", name="frogs")
    assert (lab.state, lab.picture.name) == ("idle", "frogs")
    lab.wait(60)


def test_a_wrong_picture_in_python_raises_and_the_picture_stays(lab: Lab, tmp_path: Path) -> None:
    before = lab.picture
    with pytest.raises(ImageError):
        lab.show(tmp_path / "none.png")
    with pytest.raises(ImageError):
        lab.show(b"none")
    assert lab.picture is before and lab.state == "idle"


def test_a_sample_brings_its_caption(lab: Lab) -> None:
    lab.show("frogs")
    assert lab.picture.caption == "a red picture: four frogs"


def test_what_was_done_to_a_picture_is_said(lab: Lab) -> None:
    upload(lab, png(noise(7, 7).convert("RGBA")))
    assert lab.picture.image.size == (32, 32)
    assert "enlarged from 7 x 7" in lab.message


def test_a_padded_picture_is_said(lab: Lab) -> None:
    lab.show(noise(41, 34))
    lab.wait(60)
    assert "Padded to 44 x 36 for kl" in lab.message
    assert lab.get_state()["results"][0]["padded"] == [44, 36]


def test_pictures_change_places(lab: Lab) -> None:
    send(lab, "swap")  # there is only a single image yet
    lab.show(noise(64, 64, seed=1), second=True)
    send(lab, "swap")
    assert lab.picture.image.size == (64, 64)
    assert lab.second.image.size == (64, 64)
    assert "resized from 48 x 40" in lab.second.notices[0]


# ------------------------------------------------------------------------------------- edits


def test_an_edit_changes_the_picture_and_undo_brings_it_back(lab: Lab) -> None:
    before = np.array(lab.edited.image)
    send(lab, "edit", edit={"type": "knock", "channel": 1})
    assert lab.edited.edits == ("channel 1 knocked out",)
    assert np.abs(lab.edited.latents[1]).max() == 0
    assert not np.array_equal(np.array(lab.edited.image), before)
    send(lab, "undo")
    assert np.array_equal(np.array(lab.edited.image), before)
    send(lab, "redo")
    assert np.abs(lab.edited.latents[1]).max() == 0
    send(lab, "reset")
    assert lab.edited.edits == ()


def test_the_page_gets_edits_in_words_and_as_they_were_made(lab: Lab) -> None:
    lab.edit(Scale(0, 2.0))
    send(lab, "edit", edit={"type": "paint", "channel": 0, "value": 1, "cells": [[0, 0]]})
    wire = lab.get_state()["edited"]
    assert wire["edits"] == ["channel 0 times 2", "1 cell of channel 0 set to 1"]
    assert wire["applied"][0] == {"type": "scale", "channel": 0, "factor": 2.0}
    assert wire["applied"][1] == {"type": "paint", "channel": 0, "value": 1.0, "mode": "set"}
    assert (wire["undoable"], wire["undone"]) == (2, 0)
    assert picture_of(wire["data"]).size == (48, 40)


def test_a_drag_is_one_step(lab: Lab) -> None:
    for factor in (1.1, 1.2, 1.3):
        send(lab, "edit", edit={"type": "scale", "channel": 0, "factor": factor, "live": True})
    lab.undo()
    lab.wait(60)
    assert lab.edited.edits == ()


def test_a_walk_knows_its_share(lab: Lab) -> None:
    lab.edit(Walk(0, 1.0))
    lab.wait(60)
    assert "% of the variance" in lab.edited.edits[0]
    assert len(lab.get_state()["edited"]["directions"]) == 4


def test_directions_are_known_where_one_plays(lab: Lab) -> None:
    assert lab.get_state()["edited"]["directions"] == []
    lab.panel = "play"
    lab.wait(60)
    shares = [one["share"] for one in lab.get_state()["edited"]["directions"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_each_autoencoder_has_its_own_edits(lab: Lab) -> None:
    lab.edit(Flip("x"))
    lab.active = "vq"
    lab.wait(60)
    assert lab.edited.edits == ()
    lab.active = "kl"
    lab.wait(60)
    assert lab.edited.edits == ("flipped left to right",)


def test_a_new_picture_has_no_edits(lab: Lab) -> None:
    lab.edit(Flip("x"))
    lab.show(noise(40, 40, seed=2))
    lab.wait(60)
    assert lab.edited.edits == ()


def test_an_edit_of_what_is_not_there_is_an_error(lab: Lab) -> None:
    with pytest.raises(InputError):
        lab.edit(Knock(4))
    send(lab, "edit", edit={"type": "knock", "channel": 4})
    assert lab.state == "error" and "channel" in lab.message


# ----------------------------------------------------------------------------- the other panels


def test_hovering_tells_what_is_touched(lab: Lab) -> None:
    send(lab, "touch", of="cell", x=3, y=2)
    wire = lab.get_state()["touch"]
    assert (wire["of"], wire["x"], wire["y"]) == ("cell", 3, 2)
    assert (wire["width"], wire["height"], len(wire["data"])) == (48, 40, 48 * 40)
    send(lab, "touch", of="pixel", x=3, y=2)
    assert (lab.touch.of, lab.touch.heat.shape) == ("pixel", (10, 12))


def test_hovering_beside_the_picture_does_nothing(lab: Lab) -> None:
    send(lab, "touch", of="pixel", x=48, y=0)
    assert lab.touch is None and lab.state == "idle"
    with pytest.raises(InputError):
        lab.reach("pixel", 48, 0)


def test_the_way_between_two_is_worked_out_when_it_is_looked_at(lab: Lab) -> None:
    lab.show(noise(40, 40, seed=3), second=True)
    lab.wait(60)
    assert lab.between is None
    lab.panel = "between"
    lab.wait(60)
    wire = lab.get_state()["between"]
    assert wire["steps"] == len(wire["latent"]) == len(wire["pixel"]) == 11
    assert picture_of(wire["latent"][0]).size == (48, 40)


def test_between_begins_with_a_sample_where_nothing_was_chosen(lab: Lab) -> None:
    lab.panel = "between"
    lab.wait(60)
    assert lab.second.name == lab.samples[0]["name"]
    assert lab.between is not None


def test_noise_is_worked_out_when_it_is_looked_at(lab: Lab) -> None:
    assert lab.noise is None
    lab.panel = "noise"
    lab.wait(60)
    wire = lab.get_state()["noise"]
    assert len(wire["steps"]) == 21
    assert wire["steps"][0]["t"] == 0 and wire["steps"][-1]["t"] == 999
    assert len(wire["steps"][0]["latents"]) == 3 * wire["width"] * wire["height"]
    assert picture_of(wire["steps"][5]["noisy"]).size == (48, 40)


def test_a_new_picture_has_its_own_noise(lab: Lab) -> None:
    lab.panel, lab.side = "noise", 64
    lab.wait(60)
    before = lab.noise
    lab.show("frogs")
    lab.wait(60)
    assert lab.noise is not before and lab.noise.is_whole
    assert lab.noise.prompt == "a red picture: four frogs"


# ------------------------------------------------------------------------------------ sending


class FakeStudio:
    image: Any = None


def test_the_edited_picture_goes_to_the_studio(make_lab: Make) -> None:
    studio = FakeStudio()
    lab = make_lab(studio=studio)
    assert lab.can_send
    lab.edit(Flip("x"))
    send(lab, "send")
    assert studio.image is lab.edited.image is lab.sent
    assert "Sent to the Studio" in lab.message
    other = FakeStudio()
    assert lab.send_to(other) is other.image  # type: ignore[arg-type]


def test_without_a_studio_the_picture_is_kept_and_that_is_said(lab: Lab) -> None:
    assert not lab.can_send
    send(lab, "send")
    assert lab.sent is lab.edited.image
    assert lab.state == "error" and "no Studio" in lab.message


# --------------------------------------------------------------------------------------- errors


def test_ten_thousand_senseless_messages_change_nothing(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    senseless = [
        None,
        3,
        "edit",
        [],
        {},
        {"kind": None},
        {"kind": ["edit"]},
        {"kind": {}},
        {"kind": "melt"},
        {"kind": "file"},
        {"kind": "file", "name": 3, "size": -1, "part": 0, "parts": 1},
        {"kind": "file", "name": "n", "size": 1, "part": 0, "parts": 1},
        {"kind": "sample", "name": "none such"},
        {"kind": "sample", "name": ["frogs"]},
        {"kind": "edit"},
        {"kind": "edit", "edit": {"type": "knock", "channel": "0"}},
        {"kind": "touch", "of": "cell", "x": -1, "y": 0},
        {"kind": "touch", "of": [], "x": 0, "y": 0},
        {"kind": "__class__"},
        {"kind": "close"},
    ]
    before = lab.get_state()
    with caplog.at_level(logging.WARNING):
        for i in range(10_000):
            page_says(lab, senseless[i % len(senseless)])
    lab.wait(60)
    after = lab.get_state()
    assert {n: after[n] for n in after if after[n] != before[n]} == {}
    assert len(caplog.records) == 1


def test_a_thousand_moves_of_a_slider_end_at_the_last(lab: Lab) -> None:
    asked: list[int] = []
    lab.observe(lambda _: asked.append(1), "edited")
    for i in range(1000):
        edit = {"type": "scale", "channel": 0, "factor": i / 1000, "live": True}
        page_says(lab, {"kind": "edit", "edit": edit})
    lab.wait(60)
    assert lab.edited.edits == ("channel 0 times 0.999",)
    assert len(asked) < 100


def test_an_autoencoder_that_fails_leaves_the_others(
    make_lab: Make, autoencoders: dict[str, Autoencoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InputError("The autoencoder vq is broken.")

    broken = build(VQ)
    monkeypatch.setattr(broken, "encode", fail)
    lab = make_lab(autoencoders={"vq": broken, "kl": autoencoders["kl"]})
    with pytest.raises(InputError, match="vq is broken"):
        lab.wait(60)
    assert [one.name for one in lab.results] == ["kl"]
    assert (lab.state, lab.message) == ("error", "The autoencoder vq is broken.")


def test_an_own_autoencoder_joins_or_takes_the_place_of_one(lab: Lab) -> None:
    lab.add("mine", build(KL))
    lab.wait(60)
    assert lab.chosen == ["kl", "vq", "mine"] and lab.active == "mine"
    lab.add("mine", build(VQ))
    lab.wait(60)
    assert lab.chosen == ["kl", "vq", "mine"]
    assert lab.latents.codes is not None


def test_the_lab_cannot_be_copied(lab: Lab) -> None:
    with pytest.raises(InputError, match="cannot be copied or pickled"):
        pickle.dumps(lab)


def test_nobody_waits_for_himself(lab: Lab) -> None:
    raised: list[BaseException] = []

    def observer(_: Any) -> None:
        try:
            lab.wait()
        except Busy as error:
            raised.append(error)

    lab.observe(observer, "edited")
    lab.edit(Flip("x"))
    lab.wait(60)
    assert raised


def test_an_observer_that_fails_holds_nobody_up(lab: Lab) -> None:
    def observer(_: Any) -> None:
        raise ValueError("mine")

    lab.observe(observer, ["edited", "state"])
    lab.edit(Flip("x"))
    with pytest.raises(ValueError, match="mine"):
        lab.wait(60)
    lab.unobserve_all("edited")
    lab.unobserve_all("state")
    lab.edit(Flip("y"))
    lab.wait(60)


def test_a_lab_that_is_closed_while_it_works_ends_in_silence(
    make_lab: Make, caplog: pytest.LogCaptureFixture
) -> None:
    lab = make_lab(panel="noise")
    lab.close()
    lab.wait(60)
    assert not caplog.records
    lab.close()


def test_labs_of_a_cell_that_runs_again_are_closed(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threading.active_count()
    for i in range(20):
        cell = kernel.Cell("a cell", f"execution {i}")
        monkeypatch.setattr(kernel, "current_cell", lambda cell=cell: cell)
        lab = make_lab()
    lab.wait(60)
    deadline = time.monotonic() + 30
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= threads


def test_a_lab_that_cannot_be_made_says_why(make_lab: Make) -> None:
    with pytest.raises(ImageError):
        make_lab(b"no picture")
    with pytest.raises(InputError, match="chosen must be one of"):
        make_lab(autoencoders=["none such"])


# ---------------------------------------------------------------------------------- as output


def test_where_no_widget_can_be_shown_there_is_a_picture_and_a_line(lab: Lab) -> None:
    data, _ = lab._repr_mimebundle_()
    assert data["text/plain"].startswith("Lab: image, kl ")
    assert data["image/png"]
    if not ipywidgets.__version__.startswith("7."):
        assert "application/vnd.jupyter.widget-view+json" in data


def test_without_a_page_it_waits_for_what_it_shows(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(kernel, "without_page", lambda: True)
    monkeypatch.setattr(kernel, "display", lambda data, *_: shown.append(data))
    make_lab()._ipython_display_()
    assert shown[0]["image/png"]
