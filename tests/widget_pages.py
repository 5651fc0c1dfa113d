"""``docs/widgets.md``, made of docstrings; ``python tests/widget_pages.py`` writes it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

import sdwidgets.widgets

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "widgets.md"
LONGEST_DEFAULT = 48  # characters
OF_THE_PAGE = ("uid", "model_id", "set_state")  # between kernel and page, of no use to people

HEAD = """\
# Widgets

<!-- Made of docstrings by python tests/widget_pages.py; a test says when it is out of date. -->

Every trait below can be read, set and observed from Python, in any cell and at any time; the page
follows. All of it works without a page, too: in scripts, and where notebooks are executed.
"""


def public_widgets() -> list[type[Any]]:
    """The classes of all public widgets, in the order in which a user meets them."""
    names = [name for name in sdwidgets.__all__ if name in sdwidgets.widgets.__all__]
    found = [getattr(sdwidgets.widgets, name) for name in names]
    return [
        kind for kind in found if isinstance(kind, type) and issubclass(kind, ipywidgets.DOMWidget)
    ]


def page() -> str:
    """The text of the whole document."""
    widgets = public_widgets()
    lines = [HEAD]
    for kind in widgets:
        name = kind.__name__
        lines.append(f"- [{name}](#{name.lower()}): {_first_paragraph(kind.__doc__)}")
    for kind in widgets:
        lines += ["", *_section(kind)]
    return "\n".join(lines) + "\n"


def _section(kind: type[Any]) -> Iterator[str]:
    name = kind.__name__
    yield f"## {name}\n"
    for image in (f"{name.lower()}.png", f"{name.lower()}-light.png"):
        if (DOCS / image).is_file():
            yield f"![{name}: {_first_paragraph(kind.__doc__)}]({image})\n"
    yield markdown(inspect.getdoc(kind) or "")
    traits = dict(documented(kind))
    yield "\n| trait | default | |\n|---|---|---|"
    for trait, text in traits.items():
        yield f"| `{trait}` | {_default(kind, trait)} | {_cell(text)} |"
    methods = [*_methods(kind, traits)]
    if methods:
        yield "\n| in Python | |\n|---|---|"
        yield from methods


# --------------------------------------------------------------------------- traits and methods


def documented(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of every trait of the kit, the class's own first."""
    seen: set[str] = set()
    for base in _ours(kind):
        for name, text in _texts(base):
            if name not in (*seen, *OF_THE_PAGE) and name in kind.class_traits():
                seen.add(name)
                yield name, text


def undocumented(kind: type[Any]) -> list[str]:
    """The traits of the kit without a docstring, but for those made in numbers, as ``frame0``."""
    told = {*OF_THE_PAGE, *(name for name, _ in documented(kind))}
    own = {name for base in _ours(kind) for name in vars(base) if name in kind.class_traits()}
    return sorted(
        name for name in own - told if not name.startswith("_") and not re.search(r"\d$", name)
    )


def _ours(kind: type[Any]) -> list[type[Any]]:
    return [base for base in kind.__mro__ if base.__module__.startswith("sdwidgets.")]


def _texts(base: type[Any]) -> Iterator[tuple[str, str]]:
    """The names that a class assigns, each with the string below it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
    assert isinstance(tree, ast.ClassDef)
    for assigned, below in zip(tree.body, tree.body[1:], strict=False):
        targets = (
            assigned.targets
            if isinstance(assigned, ast.Assign)
            else [assigned.target]
            if isinstance(assigned, ast.AnnAssign)
            else []
        )
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        for target in targets:
            if isinstance(target, ast.Name) and is_text:
                yield target.id, inspect.cleandoc(str(below.value.value))  # type: ignore[attr-defined]


def _default(kind: type[Any], name: str) -> str:
    trait = kind.class_traits()[name]
    text = trait.default_value_repr()
    for base in reversed(_ours(kind)):  # a class's own takes the place of its base's
        for handler in vars(base).values():
            if isinstance(handler, traitlets.DefaultHandler) and handler.trait_name == name:
                text = repr(handler.func(None))
    fits = len(text) <= LONGEST_DEFAULT and "traitlets" not in text
    return f"`{text}`" if fits else ""


def _methods(kind: type[Any], traits: dict[str, str]) -> Iterator[str]:
    seen: set[str] = set()
    for base in _ours(kind):
        for name, member in vars(base).items():
            is_method = inspect.isfunction(member)
            if name.startswith("_") or name in (*seen, *traits, *OF_THE_PAGE):
                continue
            if (is_method or isinstance(member, property)) and inspect.getdoc(member):
                seen.add(name)
                shown = f"{name}({_parameters(member)})" if is_method else name
                yield f"| `{shown}` | {_cell(_first_paragraph(inspect.getdoc(member)))} |"


def _parameters(method: Any) -> str:
    """The parameters without types."""
    _, *rest = inspect.signature(method).parameters.values()
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in rest]
    return str(inspect.Signature(plain))[1:-1]


# --------------------------------------------------------------------------- text


def markdown(text: str) -> str:
    """A docstring as Markdown: literals in single backticks, indented blocks after :: as code."""
    lines = iter([*text.splitlines(), ""])
    out: list[str] = []
    for line in lines:
        if not line.endswith("::"):
            out.append(line.replace("``", "`"))
            continue
        block: list[str] = []
        for inner in lines:
            if inner and not inner.startswith(" "):
                break
            block.append(inner)
        else:
            inner = ""
        out += [line[:-1], "", "```python", textwrap.dedent("\n".join(block)).strip(), "```", ""]
        out.append(inner.replace("``", "`"))
    return "\n".join(out).strip()


def _first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split()).replace("``", "`")


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    return re.sub(r'"<(\w+)>"', r"`<\1>`", text)  # else it would be taken for HTML


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}.")
