"""Who may import whom, what importing costs, and what is not used anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sdwidgets

PACKAGE = Path(sdwidgets.__file__).parent
ROOT = PACKAGE.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# part -> the parts it may import; a part is a module or folder right inside the package
ALLOWED = {
    "__init__": {"*"},  # names only, loaded when used
    "errors": set(),
    "imports": set(),
    "configs": set(),
    "contract": set(),
    "settings": {"checks", "configs", "errors"},
    "checks": {"errors"},
    "daemon": {"errors"},
    "strict_json": set(),
    "pictures": {"errors"},
    "pixels": set(),
    "memory": {"settings", "errors"},
    "frontend": {"errors"},
    "scenes": {"errors"},
    "sources": set(),
    "models": {"configs", "strict_json", "errors"},
    "diffusion": {"errors"},
    "trace": {
        "models",
        "diffusion",
        "settings",
        "sources",
        "pictures",
        "frontend",
        "contract",
        "checks",
        "strict_json",
        "errors",
        "__init__",
    },
    "pipeline": {
        "pixels",
        "configs",
        "models",
        "diffusion",
        "trace",
        "settings",
        "sources",
        "pictures",
        "memory",
        "errors",
    },
    "metrics": {"models", "errors"},
    "lab": {
        "pixels",
        "pipeline",
        "checkpoints",
        "models",
        "diffusion",
        "metrics",
        "trace",
        "pictures",
        "configs",
        "contract",
        "checks",
        "strict_json",
        "errors",
    },
    "checkpoints": {
        "strict_json",
        "configs",
        "models",
        "pipeline",
        "settings",
        "sources",
        "memory",
        "errors",
    },
    "manager": {
        "daemon",
        "checkpoints",
        "pipeline",
        "trace",
        "diffusion",
        "settings",
        "pictures",
        "memory",
        "errors",
    },
    "widgets": {
        "pixels",
        "daemon",
        "manager",
        "pipeline",
        "lab",
        "models",
        "trace",
        "diffusion",
        "settings",
        "pictures",
        "configs",
        "contract",
        "frontend",
        "checks",
        "errors",
    },
    "training": {
        "pixels",
        "models",
        "diffusion",
        "scenes",
        "configs",
        "checkpoints",
        "pipeline",
        "trace",
        "settings",
        "pictures",
        "memory",
        "checks",
        "strict_json",
        "errors",
    },
    "cli": set(),
}

# other packages -> the only parts that may import them
ONLY_IN = {
    "torch": {
        "pixels",
        "models",
        "diffusion",
        "trace",
        "memory",
        "pipeline",
        "checkpoints",
        "manager",
        "metrics",
        "lab",
        "training",
    },
    "transformers": set(),
    "tokenizers": {"models", "training"},
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
    "traitlets": {"widgets"},
    "IPython": {"widgets"},
    "safetensors": {"checkpoints", "trace", "training"},
    "huggingface_hub": {"checkpoints"},
    "matplotlib": {"trace"},
    "imageio_ffmpeg": {"trace"},
    "diffusers": set(),
    "pickle": set(),
    "dill": set(),
    "cloudpickle": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules imported anywhere in a file, also inside functions."""
    package = ["sdwidgets", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if node.module or not node.level:
                yield module
            else:  # from . import name
                yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"say in ALLOWED what {part} may import"
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "sdwidgets":
            other = rest[0] if rest and rest[0] in ALLOWED else "__init__"
            assert {other, "*"} & {part, *ALLOWED[part]}, f"{part} imports {other}"
        elif first in ONLY_IN:
            assert part in ONLY_IN[first], f"{part} imports {first}"


def test_training_is_imported_by_nothing() -> None:
    for path in SOURCES:
        if part_of(path) != "training":
            assert not any(name.startswith("sdwidgets.training") for name in imports(path))


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    ["torch", "numpy", "PIL", "transformers", "ipywidgets", "anywidget", "matplotlib", "IPython"],
)
def test_importing_the_package_imports_nothing_heavy(module: str) -> None:
    assert run(f"import sys, sdwidgets; print({module!r} in sys.modules)") == "False"


def test_the_engine_needs_no_jupyter() -> None:
    code = (
        "import sys, sdwidgets.pipeline, sdwidgets.manager, sdwidgets.lab.workbench\n"
        "print({'ipywidgets', 'anywidget', 'IPython', 'traitlets'} & set(sys.modules))"
    )
    assert run(code) == "set()"


def test_importing_the_engine_leaves_torch_as_it_is() -> None:
    code = (
        "import torch; before = (torch.get_num_threads(), torch.initial_seed(),"
        " torch.get_default_dtype(), torch.is_grad_enabled())\n"
        "import sdwidgets.pipeline, sdwidgets.manager, sdwidgets.checkpoints\n"
        "print(before == (torch.get_num_threads(), torch.initial_seed(),"
        " torch.get_default_dtype(), torch.is_grad_enabled()))"
    )
    assert run(code) == "True"


@pytest.mark.parametrize("name", sdwidgets.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(sdwidgets, name)
    assert (value.__doc__ or "").strip()
    assert name in dir(sdwidgets)


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Studios'"):
        _ = sdwidgets.Studios  # type: ignore[attr-defined]


def test_the_version_is_the_projects() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{sdwidgets.__version__}"' in project


# -- what is not used anywhere ---------------------------------------------------------------


def names_used(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_python_makes_html_or_runs_text(path: Path) -> None:
    forbidden = {"HTML", "HTMLMath", "Javascript", "_repr_html_", "eval", "exec"}
    used = {
        (line, name)
        for line, name in names_used(path)
        # module.eval() of torch is no eval of text
        if name in forbidden and not (name == "eval" and is_method(path, line))
    }
    assert not used


def is_method(path: Path, line: int) -> bool:
    return ".eval()" in path.read_text("utf-8").splitlines()[line - 1]


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_ever_unpickled(path: Path) -> None:
    for call in calls(path):
        keywords = {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}
        where = f"{path.name}:{call.lineno}"
        assert keywords.get("allow_pickle") != "True", where
        assert keywords.get("trust_remote_code") != "True", where
        if ast.unparse(call.func) == "torch.load":
            assert keywords.get("weights_only") == "True", where


SCRIPTS = sorted(
    path for path in (ROOT / "js" / "src").rglob("*.ts") if not path.name.endswith(".test.ts")
)


@pytest.mark.skipif(not SCRIPTS, reason="the front end's sources are not installed")
def test_the_front_end_writes_text_never_html() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML"
        r"|createContextualFragment|DOMParser|setHTMLUnsafe|\beval\(|new Function\("
    )
    for path in SCRIPTS:
        found = forbidden.search(path.read_text("utf-8"))
        assert not found, f"{path.name}: {found and found[0]}"
