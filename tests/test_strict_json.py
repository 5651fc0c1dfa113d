"""JSON that is not trusted: parsed strictly, refused with the place."""

from __future__ import annotations

import json
import random

import pytest

from sdwidgets.strict_json import parse_object


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": NaN}', "NaN is not a JSON number (character 7)"),
        ('{"a": "NaN",\n "b": -Infinity}', "-Infinity is not a JSON number (line 2, column 7)"),
        ('{"a \\" NaN": "NaN", "b": [1, NaN]}', "NaN is not a JSON number (character 30)"),
        ('{"a": 1,}', "a comma before } (character 8)"),
        ('{"a": [1, 2 ,\n]\n}', "a comma before ] (line 1, column 13)"),
        ('{"a": 1e999}', "1e999 is too large (character 7)"),
        ('{"a": [-1E+400]}', "-1E+400 is too large (character 8)"),
        ('{"a": ' + "9" * 5000 + "}", "a number has 5,000 characters (character 7)"),
        ('{"a": ' + "9" * 400 + ".5}", "is too large (character 7)"),
        ('{"a": 1, "b": 2, "a": 3}', "a name appears in it twice: 'a'"),
        ('{"a": 1', "it ends too early (character 8)"),
        ("", "it ends too early (character 1)"),
        ('{"a": tru}', "(character 7)"),
        ("[1]", "it is not an object"),
        ("[" * 100_000, "it is nested too deeply"),
        (b'{"a": "\xff"}', "it is not UTF-8 (byte 7)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_each_fault_is_named_with_its_place(text: str | bytes, what: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_object(text, subject="it is ")
    assert what in str(caught.value)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b'\xef\xbb\xbf{"a": 1}', '{"a": 1}'.encode("utf-16"), '{"a": 1}', b' {"a":1} ']
)
def test_every_encoding_of_json_is_read(text: str | bytes) -> None:
    assert parse_object(text) == {"a": 1}


def test_numbers_keep_their_values() -> None:
    text = '{"a": [0, -1, 2.5, 1e-400, 1e300, 18446744073709551615], "1e999": "1e999 NaN"}'
    assert parse_object(text) == json.loads(text)


def test_values_are_counted_outside_of_strings() -> None:
    assert parse_object('{"a": "1,2,3,\\"4,5", "b": [1, 2]}', most=4)
    with pytest.raises(ValueError, match="it has more than 3 values"):
        parse_object('{"a": "1,2,3,\\"4,5", "b": [1, 2, 3, 4]}', most=3)
    with pytest.raises(ValueError, match="more than 1 values"):
        parse_object('{"a": 1, "b\\\\": 2, "c": 3}', most=1)


def test_a_damaged_text_raises_nothing_but_value_errors() -> None:
    """Bytes changed at random: an object, or an error in one short line."""
    source = random.Random(0)
    whole = json.dumps({"a": [1, 2.5, None, True, 'x\\"\u1234'], "b": {"c": -3e10}}).encode()
    refused = 0
    for _ in range(2000):
        text = bytearray(whole)
        for _ in range(source.randint(1, 4)):
            text[source.randrange(len(text))] = source.choice(b'{}[],:"\\0123eE-+NaIt \n\xff\x00')
        try:
            assert isinstance(parse_object(bytes(text)), dict)
        except ValueError as error:
            refused += 1
            assert str(error) and "\n" not in str(error)
    assert 0 < refused < 2000
