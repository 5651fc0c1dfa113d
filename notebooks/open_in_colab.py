"""Links from the lessons to themselves in Google Colab, once the repository has a public address.

``python notebooks/open_in_colab.py OWNER/NAME`` writes the link below the title of each lesson, and
the address into its first cell, which installs the package from there; or it changes those that are
there. The link is a text: an image would be fetched whenever a lesson is looked at.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

LINK = "[Open in Google Colab](https://colab.research.google.com/github/{repository}/blob/{place})"
SOURCE = 'glob("./sdwidgets-*.whl")), "{address}")'
FOUND = re.compile(r"\n\n\[Open in Google Colab\]\([^)]*\)")


def link(folder: Path, repository: str, branch: str = "main") -> list[Path]:
    """Write the links into the lessons of a folder; return their paths."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SystemExit(f"A repository is OWNER/NAME, as on GitHub, got {repository!r}.")
    source = SOURCE.format(address=f"git+https://github.com/{repository}")
    pattern = re.escape(SOURCE).replace(r"\{address\}", '[^"]*')
    lessons = sorted(folder.glob("*.ipynb"))
    for lesson in lessons:
        content = json.loads(lesson.read_text(encoding="utf-8"))
        title = content["cells"][0]
        text = FOUND.sub("", "".join(title["source"]))
        heading, _, rest = text.partition("\n")
        to = LINK.format(repository=repository, place=f"{branch}/notebooks/{lesson.name}")
        title["source"] = f"{heading}\n\n{to}\n{rest}".splitlines(keepends=True)
        install = content["cells"][1]
        code, count = re.subn(pattern, lambda _: source, "".join(install["source"]))
        assert count == 1, lesson
        install["source"] = code.splitlines(keepends=True)
        kept = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        lesson.write_text(kept, encoding="utf-8")
    return lessons


if __name__ == "__main__":
    for path in link(Path(__file__).parent, *sys.argv[1:]):
        print(path)
