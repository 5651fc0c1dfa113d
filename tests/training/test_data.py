"""The data of a training: folders, arrays, scenes."""

import json
import random
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from sdwidgets.errors import ImageError, InputError, OutOfMemory
from sdwidgets.training import Arrays, ImageFolder, Scenes, folder
from sdwidgets.training.data import scene_at


def say(pictures, number):
    return pictures.caption(number, random.Random(0))


@pytest.fixture
def put(tmp_path):
    """Write a file into the folder: an image of a single colour, a text, or bytes."""

    def put(name, what=(200, 30, 30), size=(20, 20)):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, bytes):
            file.write_bytes(what)
        elif isinstance(what, str):
            file.write_text(what, "utf-8")
        else:
            Image.new("RGB", size, what).save(file, "PNG")
        return file

    return put


# ------------------------------------------------------------------------- folders


def test_pictures_come_in_the_order_of_their_names_as_squares(put, tmp_path):
    put("b.png", (0, 0, 250), (30, 20))
    put("a.png", (250, 0, 0), (16, 40))
    pictures = ImageFolder(tmp_path, size=16)
    assert pictures.names == ["a.png", "b.png"]
    assert [pictures.picture(i)[8, 8].tolist() for i in (0, 1, 2)] == [
        [250, 0, 0],
        [0, 0, 250],
        [250, 0, 0],
    ]
    assert pictures.picture(0).shape == (16, 16, 3)
    assert pictures.picture(0).dtype == np.uint8


def test_what_cannot_be_read_is_skipped_by_name_and_counted(put, tmp_path):
    good = put("good.png").read_bytes()
    put("cut.png", good[: len(good) // 2])
    put("text.jpg", "no picture")
    put("empty.png", b"")
    put("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    with pytest.warns(UserWarning, match="4 skipped: cut.png"):
        pictures = ImageFolder(tmp_path, size=16)
    assert len(pictures) == 1
    assert [*pictures.skipped] == ["cut.png", "drawing.svg", "empty.png", "text.jpg"]
    assert "cannot be read" in pictures.skipped["text.jpg"]


@pytest.mark.filterwarnings("ignore")
def test_no_metadata_end_a_folder(put, tmp_path):
    def chunk(kind, body):
        crc = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + crc

    put("good.png")
    for colour, channels in {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.items():  # as in PNG's header
        start = b"\x89PNG\r\n\x1a\n" + chunk(
            b"IHDR", (4).to_bytes(4, "big") * 2 + bytes([8, colour, 0, 0, 0])
        )
        palette = chunk(b"PLTE", bytes(range(30))) if colour == 3 else b""
        rows = chunk(b"IDAT", zlib.compress(4 * bytes(1 + 4 * channels))) + chunk(b"IEND", b"")
        for length in (0, 1, 2, 3, 5, 6, 7, 256, 300):
            for kind in (b"tRNS", b"gAMA", b"pHYs", b"eXIf", b"iCCP", b"tEXt", b"cHRM"):
                body = bytes([200]) * length
                file = tmp_path / f"{kind.decode()}-{colour}-{length}.png"
                file.write_bytes(start + palette + chunk(kind, body) + rows)
    pictures = ImageFolder(tmp_path, size=16)
    count = 1 + 5 * 9 * 7
    assert len(pictures) + len(pictures.skipped) == count and len(pictures) > count / 2


def test_content_decides_not_the_name(put, tmp_path):
    put("a.png").rename(tmp_path / "a.dat")
    assert len(ImageFolder(tmp_path, size=16)) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I", "F", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    if mode == "I;16":
        Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(tmp_path / "a.png")
    elif mode in "IF":  # only in memory: no accepted file format has these modes
        picture = Arrays([Image.new(mode, (20, 20), 1)]).picture(0)
        assert picture.shape == (20, 20, 3)
        return
    else:
        file = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
        Image.new("RGB", (20, 20), (90, 90, 90)).convert(mode).save(file)
    assert ImageFolder(tmp_path, size=16).picture(0).shape == (16, 16, 3)


@pytest.mark.filterwarnings("ignore")
def test_what_one_might_not_expect_is_noticed(put, tmp_path):
    frames = [Image.new("RGB", (20, 20), (i, 0, 0)) for i in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    put("thin.png", size=(1, 200))
    pictures = ImageFolder(tmp_path, size=16)
    assert len(pictures) == 2
    assert "first frame" in pictures.notices["moving.gif"]
    assert "enlarged from 1 x 200" in pictures.notices["thin.png"]


def test_hidden_files_and_texts_are_no_pictures(put, tmp_path):
    put("a.png")
    put(".DS_Store", b"\0\1")
    put(".checkpoints/b.png")
    put("a.txt", "a red square")
    assert ImageFolder(tmp_path, size=16).skipped == {}


def test_a_folder_without_pictures_is_refused(put, tmp_path):
    put("a.png", "no picture")
    with pytest.raises(InputError, match=r"no image in .*a\.png \(The image cannot be read"):
        ImageFolder(tmp_path, size=16)
    with pytest.raises(InputError, match="no folder"):
        ImageFolder(tmp_path / "nowhere")


def test_more_pictures_than_fit_are_refused_before_any_is_read(put, tmp_path, monkeypatch):
    put("a.png")
    monkeypatch.setattr(folder, "available_memory", lambda device: 1000)
    monkeypatch.setattr(folder, "as_picture", None)
    with pytest.raises(OutOfMemory, match="1 images of 64 x 64 pixels need"):
        ImageFolder(tmp_path)


# ------------------------------------------------------------------------- captions, labels


def test_each_line_of_the_text_beside_is_a_caption(put, tmp_path):
    put("a.png")
    put("b.png")
    put("a.txt", "a red square\n\n a square, red \n")
    pictures = ImageFolder(tmp_path, size=16)
    rng = random.Random(0)
    assert {pictures.caption(0, rng) for _ in range(20)} == {"a red square", "a square, red"}
    assert say(pictures, 1) == ""


def test_a_text_that_is_none_is_skipped_and_its_picture_is_not(put, tmp_path):
    put("a.png")
    put("b.png")
    put("a.txt", b"\xff\xfe\x00caf\xe9")
    put("b.txt", "x" * 200_000)
    with pytest.warns(UserWarning, match="2 skipped"):
        pictures = ImageFolder(tmp_path, size=16)
    assert [*pictures.skipped] == ["a.txt", "b.txt"]
    assert len(pictures) == 2
    assert say(pictures, 0) == say(pictures, 1) == ""


TABLES = {
    "captions.csv": 'file_name,id,text\ncat/a.png,7,"red, and square"\nb.png,8,blue\nb.png,9,sky\n',
    "captions.jsonl": "\n".join(
        json.dumps({"file_name": name, "text": text})
        for name, text in [("cat/a.png", "red, and square"), ("b.png", "blue"), ("b.png", "sky")]
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_captions_come_from_a_table(put, tmp_path, table):
    put("cat/a.png")
    put("b.png")
    put(table, TABLES[table])
    put("b.txt", "not this one")
    pictures = ImageFolder(tmp_path, size=16, captions=table)
    assert say(pictures, 1) == "red, and square"
    rng = random.Random(0)
    assert {pictures.caption(0, rng) for _ in range(20)} == {"blue", "sky"}


def test_a_table_may_lie_elsewhere(put, tmp_path):
    put("pictures/b.png")
    table = put("captions.csv", TABLES["captions.csv"])
    with pytest.warns(UserWarning, match="cat/a.png .It has a caption, but there is no such image"):
        pictures = ImageFolder(tmp_path / "pictures", size=16, captions=table)
    assert say(pictures, 0) in ("blue", "sky")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.csv", "file,text\na.png,red\n", "line 2: no 'file_name'"),
        ("c.csv", "file_name,text\na.png\n", "line 2: no 'text'"),
        ("c.csv", "file_name,text\na.png,red, and square\n", "line 2: too many cells"),
        ("c.csv", 'file_name,text\na.png,"red\n', "unexpected end"),
        ("c.csv", b"file_name,text\na.png,caf\xe9\n", "not UTF-8 text"),
        ("c.csv", "", "it is empty"),
        ("c.jsonl", '{"file_name": "a.png", "text": "red"}\n{"file_', "line 2: "),
        ("c.jsonl", '["a.png", "red"]', "line 1: its JSON is not an object"),
        ("c.jsonl", '{"file_name": "a.png", "text": 3}', "line 1: 'text' is not a text"),
        ("c.jsonl", '{"text": "a", "text": "b"}', "line 1: a name appears in it twice"),
        ("c.jsonl", "[" * 100_000, "line 1: its JSON is nested too deeply"),
        ("c.xlsx", "", "in a .csv, .tsv, .jsonl or .txt file"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(put, tmp_path, name, content, says):
    put("a.png")
    put(name, content)
    with pytest.raises(InputError, match=says) as caught:
        ImageFolder(tmp_path, size=16, captions=name)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_table_that_is_not_there_is_said(put, tmp_path):
    put("a.png")
    with pytest.raises(InputError, match=r"nowhere\.csv: it cannot be read: No such file"):
        ImageFolder(tmp_path, size=16, captions="nowhere.csv")


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "a\0.png", "x" * 300, "CON"])
def test_a_name_in_a_table_never_becomes_a_path(put, tmp_path, name):
    put("pictures/a.png")
    put("outside.png")
    put("c.jsonl", json.dumps({"file_name": name, "text": "red"}))
    with pytest.warns(UserWarning, match="no such image"):
        pictures = ImageFolder(tmp_path / "pictures", size=16, captions=tmp_path / "c.jsonl")
    assert pictures.names == ["a.png"]


def test_the_outermost_folder_is_the_class(put, tmp_path):
    put("dog/one.png")
    put("cat/deep/two.png")
    put("loose.png")
    pictures = ImageFolder(tmp_path, size=16)
    assert pictures.classes == ("cat", "dog")
    assert pictures.names == ["cat/deep/two.png", "dog/one.png", "loose.png"]
    assert [pictures.label(i) for i in range(4)] == [0, 1, None, 0]


# ------------------------------------------------------------------------- arrays


def test_floats_are_scaled_to_eight_bits():
    assert Arrays(np.full((2, 4, 4, 3), 0.5)).picture(0).max() == 128
    assert Arrays(torch.full((2, 4, 4, 3), 0.2)).picture(1).max() == 51


def test_eight_bits_are_taken_as_they_are_without_a_copy():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    assert np.shares_memory(Arrays(images).picture(0), images)


# ------------------------------------------------------------------------- others' conventions

ROWS = [("a.png", "red"), ("b.png", "blue, and wide")]


def as_table(name, columns, line="\n", start=""):
    """The rows as a table in that format."""
    if name.endswith("jsonl"):
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in ROWS]
    else:
        quoted = [(image, f'"{text}"') for image, text in ROWS]
        between = "\t" if name.endswith("tsv") else ","
        lines = [between.join(row) for row in (columns, *quoted)]
    return (start + line.join([*lines, ""])).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", as_table("metadata.jsonl", ("file_name", "text"))),
        ("metadata.csv", as_table("metadata.csv", ("file_name", "text"))),
        ("metadata.csv", as_table("metadata.csv", ("File_Name", "Caption "), "\r\n", "\ufeff")),
        ("captions.tsv", as_table("captions.tsv", ("filename", "prompt"))),
        ("captions.txt", as_table("captions.txt", ("image", "caption"))),
        ("Metadata.JSONL", as_table("x.jsonl", ("image_path", "description"), "\r\n", "\ufeff")),
    ],
)
@pytest.mark.parametrize("folder", ["", "train/", "some/where/"])
def test_tables_are_found_by_the_names_that_others_give_them(put, tmp_path, name, content, folder):
    for image, _ in ROWS:
        put(f"{folder}{image}")
    put(f"{folder}{name}", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = ImageFolder(tmp_path, size=16)
    assert [say(pictures, number) for number in range(2)] == [text for _, text in ROWS]
    assert pictures.notices == {}


@pytest.mark.parametrize("text", ["a.caption", "a.TXT", "a.png.txt", "A.txt"])
@pytest.mark.parametrize("content", [b"red\r\n", b"\xef\xbb\xbfred", "red".encode("utf-16")])
def test_texts_beside_are_found_by_the_names_that_others_give_them(put, tmp_path, text, content):
    put("a.png")
    put(text, content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert say(ImageFolder(tmp_path, size=16), 0) == "red"


@pytest.mark.parametrize("listed", ["./A.PNG", "a.png", "cafe\u0301.png", "caf\u00e9.png"])
def test_names_in_tables_need_not_be_written_alike(put, tmp_path, listed):
    put("a.png" if "a.png" in listed.lower() else "caf\u00e9.png")
    put("metadata.jsonl", json.dumps({"file_name": listed, "text": "red"}))
    assert say(ImageFolder(tmp_path, size=16), 0) == "red"


@pytest.mark.skipif(sys.platform != "linux", reason="names in another case are the same file there")
def test_a_name_written_exactly_goes_before_one_that_is_alike(put, tmp_path):
    for image in ("a.png", "A.png"):
        put(image)
    put("metadata.csv", "file_name,text\nA.png,upper\na.png,lower\n")
    pictures = ImageFolder(tmp_path, size=16)
    told = {name: say(pictures, number) for number, name in enumerate(pictures.names)}
    assert told == {"A.png": "upper", "a.png": "lower"}


def test_a_row_goes_before_the_text_beside_which_serves_images_without_a_row(put, tmp_path):
    for name in ("a", "b"):
        put(f"{name}.png")
        put(f"{name}.txt", f"beside {name}")
    put("metadata.jsonl", json.dumps({"file_name": "a.png", "text": ["red", "rose"]}))
    with pytest.warns(UserWarning, match=r"1 files with texts or data are not used: a\.txt"):
        pictures = ImageFolder(tmp_path, size=16)
    assert pictures.captions == [("red", "rose"), ("beside b",)]


def test_unused_files_are_counted_and_named(put, tmp_path):
    for name in "abc":
        put(f"{name}.png")
    for name, content in (
        ("a.txt", "red"), ("lost.txt", "x"), ("labels.csv", "file_name,text\nb.png,blue\n"),
        ("data.json", "{}"), ("README.md", "x"), ("metadata.csv", "name,words\nb.png,blue\n"),
    ):  # fmt: skip
        put(name, content)
    with pytest.warns(UserWarning) as caught:
        pictures = ImageFolder(tmp_path, size=16)
    told = "\n".join(str(one.message) for one in caught)
    assert "2 of 3 images have no caption: b.png, c.png" in told
    assert "3 files with texts or data are not used: data.json, labels.csv, lost.txt" in told
    assert "1 worth a look: metadata.csv (It is not used: line 2: no 'file_name'" in told
    assert "pass captions='labels.csv'" in pictures.notices["labels.csv"]
    assert "no image of its name" in pictures.notices["lost.txt"]
    assert say(pictures, 0) == "red"


def test_only_the_train_split_is_used_and_is_no_class(put, tmp_path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "validation/dog/d.png"):
        put(name)
    with pytest.warns(UserWarning, match="2 worth a look: test .Its images are another split: 1"):
        pictures = ImageFolder(tmp_path, size=16)
    assert pictures.names == ["train/cat/a.png", "train/dog/b.png"]
    assert pictures.classes == ("cat", "dog")


def test_folders_of_other_names_are_classes(put, tmp_path):
    for name in ("train/a.png", "plane/b.png"):
        put(name)
    assert ImageFolder(tmp_path, size=16).classes == ("plane", "train")


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
def test_linked_folders_and_files_are_followed_and_circles_are_not(put, tmp_path):
    put("elsewhere/a.png")
    put("elsewhere/a.txt", "red")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "mine" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "mine", target_is_directory=True)
    with pytest.warns(UserWarning, match=r"1 of 2 images have no caption: b\.png"):
        pictures = ImageFolder(tmp_path / "mine", size=16)
    assert pictures.names == ["b.png", "cat/a.png"]
    assert say(pictures, 1) == "red"


def test_captions_and_labels_belong_to_their_pictures():
    pictures = Arrays(
        np.zeros((2, 4, 4, 3), np.uint8), ["one", ("two", "deux")], [np.int64(5), None]
    )
    assert say(pictures, 2) == "one"
    assert say(pictures, 1) in ("two", "deux")
    assert [pictures.label(i) for i in range(2)] == [5, None]
    assert pictures.skipped == {}


@pytest.mark.parametrize(
    ("images", "rest", "says"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), {}, "no images"),
        ([], {}, "no images"),
        (np.full((2, 4, 4, 3), -1.0), {}, "Image 0: A float image must be between 0 and 1"),
        (np.full((2, 4, 4, 3), np.nan), {}, "Image 0: A float image"),
        (np.zeros((2, 3, 4, 5), np.uint8), {}, r"\[3, 4, 5\]"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)], {}, "1 is 5 x 4"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"captions": ["one"]}, "2 images, but captions are 1"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"captions": "xy"}, "captions are a text"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"captions": ["one", [2]]}, "Caption 1 must be a text"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"labels": [0, -1]}, "Label 1 must be a whole number"),
        (np.zeros((2, 4, 4, 3), np.uint8), {"labels": [0, True]}, "Label 1"),
    ],
)
def test_what_does_not_fit_is_refused(images, rest, says):
    with pytest.raises((InputError, ImageError), match=says):
        Arrays(images, **rest)


def test_crops_are_parts_of_all_pictures_and_always_the_same():
    images = np.zeros((5, 6, 8, 3), np.uint8)
    images += np.arange(5, dtype=np.uint8)[:, None, None, None] * 40
    pictures = Arrays(images)
    crops = pictures.crops(range(10), 4)
    assert crops.shape == (10, 3, 4, 4)
    assert torch.equal(pictures.crops([7], 4)[0], crops[7])
    shades = (crops[:, 0, 0, 0] + 1) * 127.5 / 40
    for epoch in (shades[:5], shades[5:]):
        assert sorted(epoch.round().int().tolist()) == [0, 1, 2, 3, 4]


def test_crops_come_from_everywhere_in_a_picture():
    image = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1).repeat(3, 3)
    corners = (Arrays(image).crops(range(200), 4)[:, 0, 0, 0] + 1) * 127.5
    assert sorted({round(c) for c in corners.tolist()}) == [0, 1, 2, 6, 7, 8, 12, 13, 14]


# ------------------------------------------------------------------------- scenes


def test_scenes_are_the_same_whoever_asks(glyphs):
    first, again = (Scenes(3, 32, glyphs=glyphs) for _ in range(2))
    assert np.array_equal(first.picture(5), again.picture(5))
    assert first.picture(5).shape == (32, 32, 3)
    assert not np.array_equal(first.picture(5), Scenes(4, 32, glyphs=glyphs).picture(5))
    assert np.array_equal(first.picture(5), first.picture(5 + len(first)))


def test_only_scenes_of_the_nouns_come_and_their_label_is_the_noun(glyphs):
    nouns = ("cat", "frog", "star")
    scenes = Scenes(kind="one", nouns=nouns, glyphs=glyphs)
    assert scenes.classes == nouns
    for number in range(20):
        assert nouns[scenes.label(number)] in say(scenes, number)
    assert {scenes.label(number) for number in range(40)} == {0, 1, 2}


def test_two_things_have_no_one_label(glyphs):
    assert Scenes(kind="two", glyphs=glyphs).label(0) is None


def test_without_nouns_scenes_are_those_of_the_sequence(glyphs):
    assert Scenes(7, glyphs=glyphs).scene(11) == scene_at(7, 11)


def test_crops_show_their_object(glyphs):
    images = Scenes(0, 128, glyphs=glyphs).crops(range(6), 32)
    assert images.shape == (6, 3, 32, 32)
    assert (images.flatten(2).std(2).amax(1) > 0.02).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"nouns": ("cat", "unicorn")}, "no emoji 'unicorn'"),
        ({"nouns": ()}, "show 1 different things, nouns has 0"),
        ({"nouns": ("cat", "cat"), "kind": "two"}, "show 2 different things"),
        ({"kind": "four"}, "kind must be one, two, three or several"),
        ({"size": 500}, "size must be a whole number from 8 to 128"),
    ],
)
def test_scenes_that_cannot_be_are_refused(glyphs, wrong, says):
    with pytest.raises(InputError, match=says):
        Scenes(glyphs=glyphs, **wrong)
