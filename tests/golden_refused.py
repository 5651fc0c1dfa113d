"""Records that are wrong, with Python's verdict on each, for the reader in TypeScript.

``python tests/golden_refused.py`` writes js/test/refused.json, which js/src/record/refused.test.ts
reads; test_golden_records.py checks that Python still says the same.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import io
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from golden_records import NAME, OLD, prompt, steps, traces
from PIL import Image, PngImagePlugin
from record_files import apart, pixels, places, together, wrong

from sdwidgets.errors import InputError
from sdwidgets.settings import Settings
from sdwidgets.trace import Trace, read_record, read_settings
from sdwidgets.trace.images import encode_jpeg
from sdwidgets.trace.parent import Parent
from sdwidgets.trace.png import given_to, settings_record

PATH = Path(__file__).resolve().parents[1] / "js" / "test" / "refused.json"
SETTINGS_PNG = OLD.with_name("settings.png")
LARGEST = 300_000
"""Bytes of a file; larger ones are left out."""

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**63, 10**39, 1.5, 0.0, -0.5, 1e22, 1e-7, 1e308, "", "x",
    "8-bit", "images.0", "euler", "eulr", "carras", "half \ud800", "é\u202e",
    "it's \"odd\"\n", "y" * 300, [], {}, [1], [0, 1], ["a"], [[1, 2], 3],
    {"a": 1}, {"b": {"c": [1, {"d": 2}]}}, list(range(9)),
    {str(i): i for i in range(7)}, [None, "x", 1.0],
]  # fmt: skip
"""What a place in a record may hold by mistake."""


def base() -> Trace:
    """Return a small guided run of three steps, with attention and an image."""
    tokens = (prompt("a cat", ("a", "cat")),)
    asked = Settings(
        prompt="a cat", negative_prompt="dog", steps=3, sampler="euler", guidance_scale=3.0, seed=1,
        width=16, height=16,
    )  # fmt: skip
    grids = {"down_blocks.0": (8, 8), "up_blocks.0": (4, 4)}
    return Trace(
        "tiny",
        "text to image",
        asked.checked(),
        tokens,
        tuple(steps(3, (1, 4, 8, 8), grids, columns=5)),
        (Image.new("RGB", (16, 16), "red"),),
        expected=3,
        negative_tokens=tokens,
        factors=np.arange(15, dtype=np.float32).reshape(5, 3) / 16,
    )


def branch() -> Trace:
    """Return the same run as the branch of an edit of another."""
    first = Trace("tiny", "text to image", Settings(prompt="a dog", steps=3, seed=1).checked())
    edit = replace(first, parent=Parent.of("edit", first, edit={"word": "cow", "blend": True}))
    return replace(base(), parent=Parent.of("branch", edit, step=1, seed=5))


def files(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (what is wrong, a file) for many ways to damage a whole file."""
    yield from _cut(content)
    yield from _others()
    yield from _headers()
    yield from _lying(content)
    yield from _strange_parents()
    yield from _flipped(content)
    yield from _mutated(content)


def _cut(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield files that were cut at each structure, or go on."""
    end = 8 + int.from_bytes(content[:8], "little")
    digest = content.index(b"sha256") + 12
    for size in (
        0, 1, 7, 8, 9, 10, 100, 511, 512, 513, digest, digest + 30, end - 1, end, end + 1,
        (end + len(content)) // 2, len(content) - 1,
    ):  # fmt: skip
        yield f"cut at {size}", content[:size]
    yield "a byte more", content + b"\0"
    yield "many bytes more", content + bytes(5000)
    yield "no digest", content.replace(b"sha256", b"sha255", 1)
    yield "another digest", content[:digest] + b"0" * 64 + content[digest + 64 :]
    yield "a length beyond the limit", (2**40).to_bytes(8, "little") + content[8:]
    yield "a length of 0", bytes(8) + content[8:]


def _others() -> Iterator[tuple[str, bytes]]:
    """Yield files of other formats."""
    beginnings: dict[str, bytes] = {
        "zip": b"PK\x03\x04", "numpy": b"\x93NUMPY", "gguf": b"GGUF", "png": b"\x89PNG\r\n\x1a\n",
        "jpeg": b"\xff\xd8\xff", "gif": b"GIF89a", "pdf": b"%PDF-1.7", "pickle": b"\x80\x04\x95",
        "web page": b"\n <!DOCTYPE html><html>", "json": b' {"a": 1}', "list": b"[1, 2]",
        "text": b"first line of a diary\nsecond", "hindi": "नमस्ते दुनिया".encode() * 50,
        "long line": b"x" * 600, "utf-16": "\ufeffwords in UTF-16\n".encode("utf-16"),
        "big endian": b"\xfe\xff" + "words".encode("utf-16-be"), "nul": b"ab\0cd",
        "controls": b"ab\x01cd", "spaces": b"   \n", "latin": "Gr\xfc\xdfe".encode("latin-1"),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123456\n",
        "tar": b"a" + bytes(256) + b"ustar", "quotes": b"it's \"said\"\r\nso",
    }  # fmt: skip
    for what, beginning in beginnings.items():
        yield what, beginning
        yield f"{what} with more", beginning + bytes(600)
    yield "safetensors", together({}, {}).replace(b"sdtrace", b"another")


_HEADERS: dict[str, bytes] = {
    "no place": b'"a":{"dtype":"F32","shape":[1]}',
    "no tensor": b'"a":[]', "null": b'"a":null', "text for a tensor": b'"a":"b"',
    "infinity": b'"a":{"data_offsets":[0,1e999]}', "text place": b'"a":{"data_offsets":[0,"b"]}',
    "short": b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
    "long": b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}',
    "type": b'"a":{"dtype":"X8","shape":[4],"data_offsets":[0,4]}',
    "type of type": b'"a":{"dtype":["U8"],"shape":[4],"data_offsets":[0,4]}',
    "size": b'"a":{"dtype":"U8","shape":[3],"data_offsets":[0,4]}',
    "huge": b'"a":{"dtype":"U8","shape":[1000000000,1000000000],"data_offsets":[0,4]}',
    "huge size": b'"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,4]}',
    "negative": b'"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}',
    "float shape": b'"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}',
    "rank": b'"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,4]}',
    "three places": b'"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}',
    "backwards": b'"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]},'
    b'"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}',
    "hole": b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}',
    "overlap": b'"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},'
    b'"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}',
    "bool place": b'"a":{"dtype":"U8","shape":[4],"data_offsets":[false,true]}',
    "twice": b'"a":{},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}',
    "thrice": b'"a":1,"b":{"c":1,"d":1,"d":2,"c":2,"c":3}',
    "long name twice": b'"' + b"n" * 99 + b'":1,"' + b"n" * 99 + b'":2',
    "odd name": b'"\xc3\xa9\\u202e\\ud800\'":{"dtype":"U8"}',
    "nan": b'"a":NaN', "infinity constant": b'"s":"NaN \\" NaN","a":[1,-Infinity]',
    "digits": b'"a":' + b"9" * 10_000, "digits of 41": b'"a":' + b"1" * 41,
    "digits of 40": b'"a":' + b"1" * 40, "minus": b'"a":-' + b"1" * 40, "big float": b'"a":-1e400',
    "comma": b'"a":[1,]', "comma in an object": b'"a":{"b":1,}', "no colon": b'"a" 1',
    "no comma": b'"a":1 "b":2', "no value": b'"a":', "word": b'"a":nul', "zero": b'"a":01',
    "point": b'"a":1.', "exponent": b'"a":1e', "plus": b'"a":+1', "lone minus": b'"a":-',
    "escape": b'"a":"\\x"', "short escape": b'"a":"\\u12"', "bad escape": b'"a":"\\u12g4"',
    "control": b'"a":"b\x01"', "tab": b'"a":"b\t"', "open": b'"a":"b', "number name": b'1:2',
    "single": b"'a':1", "not utf-8": b'"a":"\xff"', "overlong": b'"a":"\xc0\x80"',
    "surrogate": b'"a":"\xed\xa0\x80"', "cut letter": b'"a":"\xe0\xa4"', "after": b'"a":1}x{"b":1',
    "lines": b'"a":1,\n"b":[1,\n 2,,3]', "letters before": '"नमस्ते 👋":[1,,2]'.encode(),
}  # fmt: skip


def _headers() -> Iterator[tuple[str, bytes]]:
    """Yield headers that lie, or are no JSON."""
    notes = b',"__metadata__":{"sdtrace":"{\\"sha256\\":\\"' + b"0" * 64 + b'\\"}"}}'
    for what, header in _HEADERS.items():
        whole = b"{" + header + notes
        yield f"header: {what}", len(whole).to_bytes(8, "little") + whole + bytes(4)
    for what, text in {
        "texts": '"a"',
        "deep": "[" * 100_000,
        "deep objects": '{"a":' * 50_000,
    }.items():
        whole = b'{"a":' + text.encode() + notes
        yield f"header: {what}", len(whole).to_bytes(8, "little") + whole + bytes(4)
    for what, inner in {
        "list": "[1]", "nothing": "", "format 0": '{"format":0}', "format 2": '{"format":2}',
        "format 10**50": '{"format":1%s}' % ("0" * 39), "no format": "{}",
        "float": '{"format":1.0}', "bom": "\ufeff{}", "newer and odd": '{"format":3,"a":[1,]}',
    }.items():  # fmt: skip
        text = json.dumps('{"sha256":"' + "0" * 64 + '"}')[1:-1]
        odd = json.dumps(inner)
        whole = f'{{"x":{{"sdtrace":"{text}"}},"__metadata__":{{"sdtrace":{odd}}}}}'.encode()
        yield f"json: {what}", len(whole).to_bytes(8, "little") + whole
        # no tensor is called x
        whole = f'{{"__metadata__":{{"y":{{"sdtrace":"{text}"}},"sdtrace":{odd}}}}}'.encode()
        yield f"json sealed: {what}", _sealed(len(whole).to_bytes(8, "little") + whole)


def _sealed(content: bytes) -> bytes:
    """Return the file with its own digest, if it has a place for one."""
    end = 8 + int.from_bytes(content[:8], "little")
    before = b'"sdtrace":"{\\"sha256\\":\\"'
    start = content.find(before, 8, end) + len(before)
    if start < len(before):
        return content
    bare = content[:start] + b"0" * 64 + content[start + 64 :]
    return content[:start] + hashlib.sha256(bare).hexdigest().encode() + content[start + 64 :]


def _lying(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield whole files that say what cannot be."""
    for what, change in wrong().items():
        record, tensors = apart(content)
        change(record, tensors)
        yield f"lies: {what}", together(record, tensors)

    def say(what: str, name: str, value: Any) -> tuple[str, bytes]:
        record, tensors = apart(content)
        record["settings"][name] = value
        return f"settings: {what}", together(record, tensors)

    for name, values in _SETTINGS.items():
        for i, value in enumerate(values):
            yield say(f"{name} {i}", name, value)
    for i, some in enumerate((
        {"hires": 2, "start_step": 1}, {"hires": 2, "end_step": 2}, {"hires": 2, "hires_steps": 7},
        {"hires": 2, "sigmas": [3, 2, 1, 0], "hires_steps": 7}, {"hires": 3, "width": 4000},
        {"hires": 2, "hires_strength": 0.1}, {"hires": 1.001, "height": 4095},
        {"hires": 2, "hires_steps": 7, "hires_strength": 0.05}, {"sampler": "ddim", "eta": 0.5},
        {"sigmas": [3, 2, 1, 0], "schedule": "karras"}, {"sigmas": [3, 2, 0], "steps": None},
    )):  # fmt: skip
        record, tensors = apart(content)
        record["settings"] |= some
        yield f"settings together {i}", together(record, tensors)
    for name in ("steps.2.denoised", "steps.2.x", "steps.2.x_next", "steps.0.uncond", "images.0",
                 "steps.1.attention.cross.0.scale", "factors"):  # fmt: skip
        record, tensors = apart(content)
        del tensors[name]
        yield f"without {name}", together(record, tensors)
    for name in ("strange", "steps.0.y", "steps.7.x", "steps.0.attention.cross.5", "<script>",
                 "é\u202e", "steps.0.attention.cells.0", "steps.00.x"):  # fmt: skip
        record, tensors = apart(content)
        tensors[name] = np.zeros(3, np.uint8)
        record |= {"new field": 1, "</script>": 2}
        yield f"with {name!a}", together(record, tensors)
    numbers = {"nan": np.nan, "infinity": -np.inf, "negative": -1.0, "large": 65505.0, "zero": -0.0}
    for what, number in numbers.items():
        for name in ("steps.2.denoised", "factors", "steps.1.attention.cross.1.scale"):
            record, tensors = apart(content)
            tensors[name] = tensors[name].copy()
            with np.errstate(over="ignore"):
                tensors[name].flat[-1] = number
            yield f"{what} in {name}", together(record, tensors)
    for what, image in {
        "palette": Image.new("P", (16, 16)), "grey": Image.new("LA", (16, 16)),
        "bits": Image.new("1", (16, 16)), "16 bits": Image.new("I;16", (16, 16)),
    }.items():  # fmt: skip
        record, tensors = apart(content)
        tensors["images.0"] = pixels(image)
        yield f"image: {what}", together(record, tensors)
    png = pixels(Image.new("RGB", (16, 16), "blue"))
    for what, place in {"signature": 3, "length": 11, "crc": 31, "pixels": 45}.items():
        record, tensors = apart(content)
        tensors["images.0"] = png.copy()
        tensors["images.0"][place] ^= 0x55
        yield f"image: broken {what}", together(record, tensors)
    record, tensors = apart(content)
    tensors["images.0"] = png[:-30].copy()
    yield "image: cut", together(record, tensors)


def _strange_parents() -> Iterator[tuple[str, bytes]]:
    """Yield whole files that say strange things about the run from which theirs came."""
    content = branch().save("branch.sdtrace").read_bytes()
    yield "a branch", content
    for what, change in _PARENTS.items():
        record, tensors = apart(content)
        change(record["parent"])
        yield f"parent: {what}", together(record, tensors)
    for draws in (0, 7, -1, 10**6 + 1, None, 1.0):
        record, tensors = apart(content)
        record["steps"][1]["draws"] = draws
        yield f"draws: {draws}", together(record, tensors)
    chance = random.Random(3)
    original, tensors = apart(content)
    for i in range(60):
        record = copy.deepcopy(original)
        *way, last = chance.choice(places(record["parent"]))
        inside = record["parent"]
        for key in way:
            inside = inside[key]
        inside[last] = copy.deepcopy(chance.choice(ODD))
        yield f"mutated parent {i}", together(record, tensors)


def _deep(parent: dict[str, Any], count: int) -> None:
    """Make a parent the first of ``count``, each the parent of the one before."""
    record = {name: value for name, value in parent["record"].items() if name != "parent"}
    above: dict[str, Any] = {}
    for _ in range(count):
        above = {"parent": {"how": "branch", "record": {**record, **above}}}
    parent.update(above["parent"])


def _put(*way: Any) -> Callable[[dict[str, Any]], None]:
    """Return what puts the last of ``way`` into a parent, at the names before it."""
    *names, last, value = way

    def change(parent: dict[str, Any]) -> None:
        for name in names:
            parent = parent[name]
        parent[last] = value

    return change


_PARENTS: dict[str, Callable[[dict[str, Any]], None]] = {
    **{f"how {i}": _put("how", how) for i, how in enumerate(("merge", "", 5, None, "x" * 100_001))},
    **{f"step {i}": _put("step", step) for i, step in enumerate((0, -1, 10_001, 1.0, None))},
    **{f"seed {i}": _put("seed", seed)
       for i, seed in enumerate((None, 0, [1, 2], [], [1] * 65, 2**32, -1, "7", [1.5], True))},
    **{f"edit {i}": _put("edit", edit) for i, edit in enumerate((None, {}, [], "x", {"a": [1]}))},
    **{f"record {i}": _put("record", record) for i, record in enumerate((None, {}, [], "x"))},
    **{f"{name} {i}": _put("record", name, value)
       for name, values in {
           "model": (5, "", None), "task": (["a"],), "versions": ([], {"torch": 2}),
           "settings": (None, [], {}, {"seed": 1}, {"steps": 0}, {"prompt": 5}, {"what": 1}),
           "settings_format": (1, 3, 9, "x"), "fingerprint": (5,), "sources": (5, [{}], []),
           "given": ("image", ["image"] * 9, ["a", 5]), "controls": ([{"name": "a"}], 5),
           "notices": (5, ["a"], [5]), "complete": (None, False), "cut": ("x", 5),
           "parent": (None, {}, {"how": "branch"}), "strange": (5,),
       }.items() for i, value in enumerate(values)},
    "16 parents": lambda parent: _deep(parent, 16),
    "17 parents": lambda parent: _deep(parent, 17),
}  # fmt: skip


_SETTINGS: dict[str, list[Any]] = {
    "prompt": [["a", "b"], [], ["a"], "half \ud800 b", "x" * 100_001, ["a"] * 65, None],
    "negative_prompt": [["a", "b", "c"], {"a": 1}],
    "steps": [0, 1001, 1.0, True, "3", None, -1],
    "sampler": ["Euler", "euler a", "euler ancestral", "dpm", "", None, "xyz", ["euler"], "ddmi"],
    "schedule": ["Karras", "carras", "trail", "", 5],
    "guidance_scale": [-1, 101, 7, None, "7", 1e300],
    "guidance_rescale": [2, None],
    "seed": [-1, 2**32, 2**64, None, 1.5, [1, 2], [], "1", [2**32], True],
    "width": [0, 5000, None, 8.0],
    "batch_size": [0, 65, 2],
    "strength": [0, 0.0, 1.5, True, None],
    "fit": ["Crop", "no"],
    "sigmas": [
        [3, 2, 1, 0],
        [3, 2.5],
        [1],
        [1, 2],
        [2, 2],
        [3, -1],
        [1e7, 0],
        "ab",
        [3, "1"],
        [True, 0],
        [3, None],
    ],
    "start_step": [0, 2, 3, -1, 1000, None, 1.5],
    "end_step": [1, 0, 1001, None, "2", 2.5],
    "variation": [[7, 0.5], [7, 1], [7], [2**32, 0.5], [-1, 0], [7.5, 0.5], [7, 1.5], [7, "x"], 7],
    "label": [
        "  a  cat ",
        "",
        3,
        -1,
        10**7,
        True,
        1.5,
        "x" * 201,
        "\ud800",
        [],
        ["a", None, 2],
        {},
    ],
    "boxes": [
        [],
        [[], [["a", [0, 0, 1, 1]]]],
        [["a  b", [0.5, 1, 0.25, 0.5]]],
        [["a", [0, 0, 1, 1.5]]],
        [["a", [0, 0, 1]]],
        [["a", [0, 0, 0, 1]]],
        [["a", ["0", 0, 1, 1]]],
        [[" ", [0, 0, 1, 1]]],
        [["\ud800", [0, 0, 1, 1]]],
        [["a", 7]],
        [[7, [0, 0, 1, 1]]],
        [["a", [0, 0, 1, 1]]] * 101,
        [[]] * 65,
        "ab",
        7,
    ],
    "guide_scale": [0, 2.5, -1, 10001, "1", None],
    "toward": [
        ["a", 0.5],
        ["a", 1],
        ["a"],
        [5, 0.5],
        ["a", 1.5],
        ["a", "x"],
        ["\ud800", 0],
        "ab",
        7,
    ],
    "pad": [8, [8, 0, 0, 0], 0, [0] * 4, [8], -1, 4097, 1.5, "8", [8, 8, 8, True]],
    "eta": [0.5, 2, "1", 0, None],
    "s_noise": [1, 0.9, 3, "1"],
    "s_churn": [0, 5, 101, True],
    "hires": [2, 1, 1.0, 0.5, 5, "2", None],
    "hires_strength": [0, 0.5, 2, None],
    "hires_steps": [5, 0, 1.5, None],
    "hires_method": ["pixels", "latent", "", 5],
    "window": [16, 0, 5000, 16.0, None],
    "refiner_start": [0.8, 0, 2, "x", None],
    "crop": [[0, 0], [1], [-1, 5], [0, 10**6], "ab"],
    "target_size": [[0, 1], [64, 64]],
    "image_guidance_scale": [0.5, 3, "1"],
    "noise_level": [-1, 2.5, 350],
    "aesthetic_score": [11, True],
    "unknown": [1],
}


def _flipped(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield files with a few changed bytes, some of them with a digest that fits."""
    chance = random.Random(1)
    end = 8 + int.from_bytes(content[:8], "little")
    for i in range(120):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 3))):
            place = chance.randrange(8 if i % 6 else 0, end if i % 3 else len(content))
            changed[place] = chance.choice(
                (changed[place] ^ (1 << chance.randrange(8)), *b'"{}[]:,0\\ ')
            )
        sealed = i % 4 != 0
        done = _sealed(bytes(changed)) if sealed else bytes(changed)
        yield f"flipped {i}", done


def _mutated(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield whole files whose JSON has odd values in random places."""
    chance = random.Random(2)
    original, tensors = apart(content)
    for i in range(150):
        record = copy.deepcopy(original)
        for _ in range(chance.choice((1, 1, 2))):
            *way, last = chance.choice(places(record))
            inside = record
            for key in way:
                inside = inside[key]
            inside[last] = copy.deepcopy(chance.choice(ODD))
        yield f"mutated {i}", together(record, tensors)


# ------------------------------------------------------------------------------- PNG images


def images() -> Iterator[tuple[str, bytes]]:
    """Yield images with settings inside, and ones that have none or wrong ones."""
    record = settings_record(base())
    text = json.dumps(record, ensure_ascii=False)
    yield "of a run", base().png()
    yield "of version 0.1", SETTINGS_PNG.read_bytes()
    yield "of several", next(iter(traces().values()))[0].png(1)
    for kind in ("tEXt", "zTXt", "iTXt", "compressed iTXt"):
        yield kind, _png((kind, text))
        yield f"broken {kind}", _png((kind, text[:-5]))
        yield f"two of {kind}", _png((kind, "[1]"), ("tEXt", "{}"), (kind, text))
    for what, inside in {
        "hindi": text.replace("a cat", "नमस्ते 👨‍👩‍👧"), "list": "[1, 2]", "number": "3", "empty": "",
        "words": "made by hand", "NaN": '{"settings": {"eta": NaN}}', "twice": '{"a": 1, "a": 2}',
        "deep": "[" * 100_000, "no settings": '{"model": "a"}',
        "settings of text": '{"settings": "a"}',
        "nothing": '{"settings_format": 2, "settings": {"seed": 1}}', "comma": '{"a": 1,}',
        "lines": '{"a":\n  1,\n "b" 2}', "long number": '{"a": %s}' % ("9" * 50),
        "half": '{"settings_format": 2, "settings": {"seed": 1, "prompt": "\\ud800"}}',
    }.items():  # fmt: skip
        yield f"text: {what}", _png(("iTXt", inside))
    for name, values in _SETTINGS.items():
        for i, value in enumerate(values):
            if name != "seed" or value is not None:  # else a random seed is drawn
                wrong_ = {**record, "settings": {**record["settings"], name: value}}
                yield f"settings: {name} {i}", _png(("iTXt", json.dumps(wrong_)))
    for what, more in {
        "image": {"given": ["image"]}, "latents": {"given": ["latents", "image", 5]},
        "nonsense": {"given": {"image": 1}}, "task": {"task": "inpainting"},
    }.items():  # fmt: skip
        yield f"given: {what}", _png(("iTXt", json.dumps({**record, **more})))
    older = {name: value for name, value in record.items() if name != "settings_format"}
    descended = settings_record(branch())
    yield "a branch", branch().png()
    for what, change in _PARENTS.items():
        changed = copy.deepcopy(descended)
        change(changed["parent"])
        yield f"parent: {what}", _png(("iTXt", json.dumps(changed)))
    for i, change in enumerate((
        {"seed": 2**32 + 5}, {"seed": 2**32 - 1, "batch_size": 3}, {"seed": [2**40, 7]},
        {"schedule": "default"}, {"steps": 7, "strength": 0.5}, {"steps": 3, "strength": 0.1},
        {"strength": True}, {"strength": 2}, {"steps": 0}, {"seed": -5}, {"seed": "x"},
    )):  # fmt: skip
        changed = {**older, "task": "image to image", "settings": {**record["settings"], **change}}
        yield f"older {i}", _png(("iTXt", json.dumps(changed)))
    whole = _png(("iTXt", text))
    yield "nothing inside", _png()
    yield "too long", _png(("iTXt", json.dumps({**record, "x": "y" * 3_100_000})))
    yield "a bomb", _png(("zTXt", " " * 2_000_000))
    yield "a packed bomb", _png(("compressed iTXt", " " * 2_000_000))
    yield "jpeg", encode_jpeg(Image.new("RGB", (4, 4)))
    yield "no image", b"words"
    yield "no bytes", b""
    for place in (3, 10, 20, 30, 40, 60):
        broken = bytearray(whole)
        broken[place] ^= 0x15
        yield f"broken at {place}", bytes(broken)
    for size in (8, 20, 33, 50, 200):
        yield f"cut at {size}", whole[:size]
    place = whole.index(b"iTXt") - 4
    end = place + 12 + int.from_bytes(whole[place : place + 4], "big")
    yield "behind the pixels", whole[:place] + whole[end:-12] + whole[place:end] + whole[-12:]


def _png(*texts: tuple[str, str]) -> bytes:
    """Return an image's file with these chunks: (type, text)."""
    info = PngImagePlugin.PngInfo()
    for kind, text in texts:
        if "iTXt" in kind:
            info.add_itxt("sdwidgets", text, zip=kind != "iTXt")
        else:
            info.add(b"tEXt", b"sdwidgets\0" + text.encode("latin-1")) if kind == "tEXt" else (
                info.add_text("sdwidgets", text, zip=True)
            )
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def image_verdict(content: bytes) -> dict[str, Any]:
    """Return what Python reads in an image's file, or why it reads nothing."""
    try:
        settings = read_settings(content, partial=True)
    except InputError as error:
        own = re.compile(
            r"(from this image: )(cannot identify|Truncated|Decompressed).*", re.DOTALL
        )
        return {"said": own.sub(r"\1...", str(error))}
    record = read_record(content)
    assert record is not None
    verdict = {"record": record, "settings": settings.as_dict(), "given": given_to(record)}
    try:
        above = Parent.from_dict(record["parent"]) if "parent" in record else None
    except (ValueError, InputError):
        above = None
    return verdict if above is None else {**verdict, "parent": above.how}


# ------------------------------------------------------------------------------- all of it


def verdict(content: bytes) -> dict[str, Any]:
    """Return what Python says about a file in the current folder: why it refuses it, or what it
    noticed."""
    Path(NAME).write_bytes(content)
    try:
        return {"notices": list(Trace.load(NAME).notices)}
    except InputError as error:
        # what a decoder says is its own: only the start is in the other language, too
        return {"said": re.sub(r"(cannot be read: )(?!\d+ x |it would).*", r"\1...", str(error))}


def golden(folder: Path) -> dict[str, Any]:
    """Return the files, one behind the other, and the verdict on each."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        content = base().save(NAME).read_bytes()
        cases, together_ = [], []
        for what, file in files(content):
            if len(file) > LARGEST:
                continue
            cases.append({"what": what, "size": len(file), **verdict(file)})
            together_.append(file)
    finally:
        os.chdir(before)
    pictures = list(images())
    return {
        "files": _packed(together_),
        "cases": cases,
        "images": _packed([file for _, file in pictures]),
        "image_cases": [
            {"what": what, "size": len(file), **image_verdict(file)} for what, file in pictures
        ],
    }


def _packed(some: list[bytes]) -> str:
    return base64.b64encode(gzip.compress(b"".join(some), mtime=0)).decode()


def text(made: dict[str, Any]) -> str:
    """Return the file of what `golden` returned, in which the verdicts are packed, too."""
    verdicts = {name: cases for name, cases in made.items() if name in ("cases", "image_cases")}
    packed = {name: _packed([json.dumps(cases).encode()]) for name, cases in verdicts.items()}
    return json.dumps({**made, **packed}, separators=(",", ":")) + "\n"


def committed() -> dict[str, Any]:
    """Return what `golden` returned when the file was written."""
    made: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    for name in ("cases", "image_cases"):
        made[name] = json.loads(gzip.decompress(base64.b64decode(made[name])))
    return made


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        content = text(golden(Path(made)))
    PATH.write_text(content, "utf-8", newline="\n")
