"""Parts of a prompt with alternatives, ``{a|b}``. No torch.

"a {cat|dog} on a {red|blue} mat" has two groups of two. ``\\{``, ``\\|`` and ``\\}`` are those
characters, inside groups and outside. Braces without ``|`` between them are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InputError

_PARTS = re.compile(r"\\[{}|]|[{}|]|[^\\{}|]+|\\", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """A prompt with groups: ``texts[i]`` comes before ``groups[i]``, the last text after all."""

    texts: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]

    def filled(self, choices: tuple[str, ...]) -> str:
        """The prompt with a text in the place of each group."""
        pairs = zip(self.texts, (*choices, ""), strict=True)
        return "".join(part for pair in pairs for part in pair)


def pattern(prompt: str, name: str = "prompt") -> Pattern:
    """The groups of a prompt. Raises InputError for one inside another, or that is not closed."""
    texts, groups = [""], list[tuple[str, ...]]()
    opened: list[str] | None = None  # the alternatives so far
    raw = ""  # the group as it was written, if it turns out to be text
    at = 0
    for match in _PARTS.finditer(prompt):
        part = match[0]
        own = part[1] if len(part) == 2 and part[0] == "\\" else part
        if part == "{":
            if opened is not None:
                raise InputError(
                    f"{name} has a group inside another, at position {match.start()}.\n"
                    r"Write a brace that is text as \{.",
                    parameter=name,
                )
            opened, raw, at = [""], "{", match.start()
            continue
        if opened is None:
            texts[-1] += own
            continue
        raw += own
        if part == "|":
            opened.append("")
        elif part != "}":
            opened[-1] += own
        else:
            if len(opened) == 1:
                texts[-1] += raw
            else:
                groups.append(tuple(opened))
                texts.append("")
            opened = None
    if opened is not None and len(opened) > 1:
        raise InputError(
            f"{name} has a group that is not closed, at position {at}.\n"
            r"Close it with }, or write a brace that is text as \{.",
            parameter=name,
        )
    if opened is not None:
        texts[-1] += raw
    return Pattern(tuple(texts), tuple(groups))
