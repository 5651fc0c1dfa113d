"""Writes src/lib/contract.ts, the page's version of sdwidgets/contract.py.

Every build of the front end (``python hatch_build.py``) runs it first.
"""

from __future__ import annotations

import ast
import json
import runpy
import textwrap
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

JS = Path(__file__).resolve().parent
SOURCE = JS.parent / "sdwidgets" / "contract.py"
TARGET = JS / "src" / "lib" / "contract.ts"
LINE = 100  # characters
HEADING = "// Made from sdwidgets/contract.py by js/contract.py. Edit that file, and build."


def typescript() -> str:
    """Return the module's text: every documented constant of the contract, with its docstring."""
    values = runpy.run_path(str(SOURCE))
    body = ast.parse(SOURCE.read_text("utf-8")).body
    parts = [HEADING]
    for node, after in pairwise(body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        is_documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(target, ast.Name) and is_documented:
            words = str(after.value.value)  # type: ignore[attr-defined]
            parts.append(_comment(words) + _constant(target.id, values[target.id]))
    return "\n\n".join(parts) + "\n"


def write() -> bool:
    """Write the module if it has changed; return whether it had."""
    text = typescript()
    if TARGET.is_file() and TARGET.read_text("utf-8") == text:
        return False
    TARGET.write_text(text, "utf-8", newline="\n")
    return True


def _comment(words: str) -> str:
    words = " ".join(words.split())
    if len(words) + len("/**  */") <= LINE:
        return f"/** {words} */\n"
    lines = (f" * {line}\n" for line in textwrap.wrap(words, LINE - 3))
    return f"/**\n{''.join(lines)} */\n"


def _constant(name: str, value: object) -> str:
    start = f"export const {name} = "
    end = " as const;" if isinstance(value, (Mapping, tuple)) else ";"
    return start + _literal(value, LINE - len(start) - len(end)) + end


def _literal(value: object, room: int, indent: int = 0) -> str:
    """The value in TypeScript as Biome formats it: on one line where that has ``room`` for it."""
    if isinstance(value, Mapping):
        (opening, closing), items = "{}", [(_key(name), each) for name, each in value.items()]
    elif isinstance(value, tuple):
        (opening, closing), items = "[]", [("", each) for each in value]
    elif isinstance(value, str):
        return _text(value)
    else:
        return json.dumps(value)
    space = " " if isinstance(value, Mapping) else ""
    inside = ", ".join(key + _literal(each, LINE) for key, each in items)
    line = f"{opening}{space}{inside}{space}{closing}"
    if len(line) <= room:
        return line
    margin = " " * (indent + 2)
    lines = []
    for key, each in items:
        left = LINE - len(margin + key) - 1
        literal = _literal(each, left, indent + 2)
        is_long = isinstance(each, str) and key and len(literal) > left
        start = f"{margin}{key.rstrip()}\n{margin}  " if is_long else margin + key
        lines.append(f"{start}{literal},\n")
    return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"


def _key(name: str) -> str:
    return f"{name if name.isidentifier() else _text(name)}: "


def _text(value: str) -> str:
    """A text in the quotes that it has fewer of."""
    literal = json.dumps(value, ensure_ascii=False)
    if value.count('"') <= value.count("'"):
        return literal
    return "'" + literal[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


if __name__ == "__main__":
    write()
