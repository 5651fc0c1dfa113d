"""Where the built front end is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sdwidgets import frontend
from sdwidgets.errors import SDWidgetsError

JS = Path(__file__).resolve().parents[1] / "js"


def test_a_bundle_that_was_never_built_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(frontend, "STATIC", tmp_path)
    with pytest.raises(SDWidgetsError, match=r"hatch_build\.py"):
        frontend.bundle("picture.js")


# Each widget in a saved notebook has a copy of its bundle. An exported page has one of all panels.
MOST_BYTES = {"standalone": 70_000}


def test_bundles_are_small() -> None:
    sizes = {path.stem: path.stat().st_size for path in frontend.STATIC.glob("*.js")}
    assert sizes
    assert {n: size for n, size in sizes.items() if size > MOST_BYTES.get(n, 60_000)} == {}


@pytest.mark.parametrize("kind", ["js", "css"])
def test_no_bundle_ends_the_element_it_is_put_in(kind: str) -> None:
    for path in frontend.STATIC.glob(f"*.{kind}"):
        assert not re.search(r"</(script|style)|<!--", path.read_text("utf-8"), re.IGNORECASE), path


def classes_that_begin_rules(folder: Path) -> set[str]:
    """Return the first class of each selector in the styles of a folder."""
    rules = re.compile(r"(?:^|[{},;/])\s*\.([\w-]+)", re.MULTILINE)
    return {name for file in folder.rglob("*.css") for name in rules.findall(file.read_text())}


def test_the_styles_of_the_extension_do_not_reach_the_widgets() -> None:
    """Both are in JupyterLab's page."""
    ours = classes_that_begin_rules(JS / "lab" / "src")
    widgets = [file for file in (JS / "src").rglob("*.ts") if "side" not in file.parts]
    words = {word for file in widgets for word in re.findall(r"[\w-]+", file.read_text())}
    assert any(name.startswith("sd") for name in ours)
    assert {name for name in ours if name.startswith("sd")} & words == set()


def sources(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*.ts") if ".test." not in file.name]


def packages(file: Path) -> set[str]:
    """Return the packages of which a module imports values, not only types."""
    text = re.sub(r"import type .*?;", "", file.read_text(), flags=re.DOTALL)
    named = re.findall(r'\bfrom "(@?[\w/-]+)"|\bimport\(?\s*"(@?[\w/-]+)"', text)
    return {"".join(name) for name in named}


def test_the_widgets_page_knows_no_jupyterlab() -> None:
    """The same code plays in notebooks of all kinds, in documents and in exported pages."""
    assert {name for file in sources(JS / "src") for name in packages(file)} == set()


def test_what_the_extension_imports_comes_from_jupyterlab() -> None:
    """Each in a range that begins with JupyterLab 4.2's, so nothing of it is bundled."""
    package = json.loads((JS / "lab" / "package.json").read_text())
    imported = {name for file in sources(JS / "lab" / "src") for name in packages(file)}
    assert imported
    assert imported <= package["jupyterlab"]["sharedPackages"].keys()
    for name, told in package["jupyterlab"]["sharedPackages"].items():
        assert package["devDependencies"][name] == told["requiredVersion"]
