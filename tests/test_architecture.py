"""Who may import whom, the cost of importing, and what may not be used anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
    "class_names": set(),
    "configs": {"class_names"},
    "contract": set(),
    "sampling": set(),
    "loras": {"checks", "sources", "errors"},
    "classes": {"checks", "configs", "contract", "errors"},
    "settings": {"checks", "classes", "configs", "contract", "prompts", "sampling", "errors"},
    "prompts": {"spelling", "errors"},
    "spelling": set(),
    "checks": {"errors"},
    "folders": set(),
    "ending": set(),
    "daemon": {"ending", "errors"},
    "vocabulary": {"checks"},
    "notices": {"configs", "settings"},
    "preferences": {"checks"},
    "threads": {"preferences", "usage", "daemon", "errors"},
    "strict_json": set(),
    "untrusted": set(),
    "pictures": {"checks", "contract", "settings", "errors"},
    "outpainting": {"errors"},
    "palette": set(),
    "painting": {"checks", "contract", "outpainting", "pictures", "settings", "errors"},
    "foreign": {"checks", "errors", "pictures", "sampling", "settings", "strict_json"},
    "pixels": set(),
    "memory": {"configs", "devices", "settings", "usage", "errors"},
    "usage": set(),
    "devices": {"errors"},
    "frontend": {"errors"},
    "scenes": {"errors"},
    "sources": {"checks", "errors"},
    "version": set(),
    "models": {
        "classes",
        "configs",
        "prompts",
        "spelling",
        "strict_json",
        "sources",
        "numerics",
        "errors",
    },
    "derivation": {"sources"},
    "diffusion": {"checks", "numerics", "errors"},
    "trace": {
        "prompts",
        "spelling",
        "folders",
        "foreign",
        "guides",
        "untrusted",
        "models",
        "diffusion",
        "settings",
        "sampling",
        "sources",
        "pictures",
        "frontend",
        "contract",
        "checks",
        "strict_json",
        "errors",
        "version",
    },
    "numerics": {"errors"},
    "control_maps": {"pictures", "checks", "errors"},
    "control": {"checkpoints", "contract", "models", "pictures", "checks", "errors"},
    "controls": {
        "control",  # its type, for type checkers
        "pipeline",  # the type of its model, for type checkers
        "models",
        "trace",
        "settings",
        "sources",
        "pictures",
        "pixels",
        "configs",
        "checks",
        "errors",
    },
    "told": {
        "prompts",
        "pixels",
        "vocabulary",
        "pipeline",  # the type of its model, for type checkers
        "configs",
        "models",
        "diffusion",
        "trace",
        "settings",
    },
    "network": {
        "told",
        "controls",
        "pipeline",  # the type of its model, for type checkers
        "configs",
        "models",
        "diffusion",
        "trace",
        "settings",
        "numerics",
    },
    "enlarging": {"settings", "errors"},
    "room": {
        "guiding",  # a type, for type checkers
        "pipeline",  # the type of a model, for type checkers
        "settings",
        "memory",
        "errors",
    },
    "refining": {
        "pipeline",  # the type of a model, for type checkers
        "sources",
        "diffusion",
        "errors",
    },
    "drawing": {"diffusion"},
    "resumed": {
        "controls",
        "drawing",
        "run",  # its type, for type checkers
        "pipeline",  # the type of its model, for type checkers
        "diffusion",
        "trace",
        "settings",
        "errors",
    },
    "neighbours": {
        "pipeline",
        "models",
        "trace",
        "pictures",
        "pixels",
        "strict_json",
        "checks",
        "errors",
    },
    "guides": {"guiding", "models", "pictures", "pixels", "checks", "errors"},
    "guiding": {"models", "diffusion", "numerics", "errors"},
    "passes": {
        "guiding",
        "told",
        "network",
        "refining",
        "controls",
        "drawing",
        "resumed",
        "pipeline",  # the type of its model, for type checkers
        "configs",
        "models",
        "diffusion",
        "settings",
        "numerics",
        "threads",
        "errors",
    },
    "beginning": {
        "run",
        "drawing",
        "outpainting",
        "pipeline",  # the type of a model, for type checkers
        "settings",
        "pictures",
        "contract",
    },
    "given": {
        "classes",
        "outpainting",
        "passes",
        "pipeline",  # the type of its model, for type checkers
        "configs",
        "settings",
        "pictures",
        "numerics",
        "errors",
    },
    "run": {
        "guiding",
        "given",
        "outpainting",
        "control",  # its type, for type checkers
        "controls",
        "passes",
        "room",
        "enlarging",
        "refining",
        "resumed",
        "sources",
        "devices",
        "notices",
        "pipeline",  # the type of its model, for type checkers
        "models",
        "diffusion",
        "trace",
        "classes",
        "settings",
        "pictures",
        "memory",
        "errors",
    },
    "pipeline": {
        "guiding",  # a type, for type checkers
        "memory",
        "prompts",
        "control",  # its type, for type checkers
        "checkpoints",  # LoRAs, which models take
        "loras",
        "devices",
        "checks",
        "vocabulary",
        "run",
        "passes",  # a type, for type checkers
        "derivation",
        "pixels",
        "numerics",
        "threads",
        "configs",
        "models",
        "diffusion",
        "trace",
        "settings",
        "sources",
        "pictures",
        "errors",
    },
    "metrics": {"models", "errors"},
    "lab": {
        "memory",
        "pixels",
        "threads",
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
        "loras",
        "checks",
        "daemon",  # a download, which can be stopped
        "devices",
        "vocabulary",
        "untrusted",
        "strict_json",
        "configs",
        "models",
        "pipeline",
        "sampling",  # the names that a folder's notes may have
        "settings",
        "sources",
        "memory",
        "version",
        "errors",
    },
    "frames": set(),
    "manager": {
        "frames",
        "loras",
        "control",  # its type, for type checkers
        "daemon",
        "checkpoints",
        "pipeline",
        "run",
        "trace",
        "diffusion",
        "settings",
        "pictures",
        "memory",
        "errors",
        "checks",
        "sources",
    },
    "sweep": {
        "classes",
        "folders",
        "strict_json",
        "version",
        "frames",
        "manager",
        "pipeline",  # the type of its model, for type checkers
        "run",  # its type, for type checkers
        "diffusion",  # the type of a step, for type checkers
        "trace",
        "loras",
        "pictures",
        "settings",
        "sampling",
        "configs",
        "daemon",
        "checks",
        "errors",
    },
    "walk": {
        "pipeline",  # the type of its model, for type checkers
        "trace",
        "settings",
        "checks",
        "errors",
    },
    "widgets": {
        "walk",
        "guides",
        "prompts",
        "loras",
        "sources",
        "checkpoints",  # the listing of models, for the side panel
        "usage",
        "version",
        "folders",
        "ending",
        "pixels",
        "daemon",
        "manager",
        "pipeline",
        "run",  # its type, for type checkers
        "beginning",
        "sweep",
        "lab",
        "models",
        "trace",
        "diffusion",
        "sampling",
        "scenes",
        "vocabulary",
        "settings",
        "pictures",
        "classes",
        "palette",
        "painting",
        "configs",
        "contract",
        "frontend",
        "checks",
        "errors",
    },
    "training": {
        "metrics",
        "prompts",
        "ending",
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
    "cli": {"checkpoints", "errors"},
}

# another package -> the only parts that may import it
ONLY_IN = {
    "torch": {
        "devices",  # for type checkers
        "guiding",
        "guides",
        "neighbours",
        "network",  # for type checkers
        "threads",
        "derivation",
        "pixels",
        "models",
        "diffusion",
        "trace",
        "memory",
        "numerics",
        "told",
        "drawing",
        "resumed",
        "passes",
        "room",
        "enlarging",
        "refining",
        "given",
        "run",
        "beginning",
        "pipeline",
        "checkpoints",
        "manager",
        "control",  # for type checkers
        "controls",
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
    "sklearn": {"neighbours"},
    "safetensors": {"checkpoints", "neighbours", "trace", "training"},
    "huggingface_hub": {"checkpoints"},
    "matplotlib": {"sweep", "trace"},
    "imageio_ffmpeg": {"trace"},
    "diffusers": set(),
    "pickle": set(),
    "dill": set(),
    "cloudpickle": {"sweep"},  # points on their way to workers; what comes back is plain
    "distributed": {"sweep"},
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Return the full names of all modules imported in a file, also inside functions."""
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


# -- no circles ------------------------------------------------------------------------------


class Import(NamedTuple):
    """An import of one of our modules by another."""

    target: str
    line: int
    inside: bool  # inside a function, when that is called

    def __str__(self) -> str:
        return f"{self.target} (line {self.line}{', inside a function' if self.inside else ''})"


def module_of(path: Path) -> str:
    names = ["sdwidgets", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def packages_of(module: str) -> list[str]:
    """Return the packages that contain a module, from the innermost to the outermost."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]


MODULES = {module_of(path): path for path in SOURCES}
GETATTR = ".__getattr__"
LAZY = {
    module + GETATTR
    for module, path in MODULES.items()
    if path.name == "__init__.py" and "\ndef __getattr__(" in path.read_text("utf-8")
}
"""The packages that load names when they are first used (PEP 562)."""


def imports_of_ours(module: str) -> Iterator[Import]:
    """Return our modules that a module imports, also inside functions, but not for type checkers.

    Importing a.b.c also runs a/__init__ and a.b/__init__. These count, except for the packages that
    contain the module, which are being imported already. A name imported from them counts. What a
    package's ``__getattr__`` imports belongs to a node of its own, "a.__getattr__": it runs only
    where a name of the package is imported, not where one of its modules is.
    """
    lazy = module.endswith(GETATTR)
    module = module.removesuffix(GETATTR)
    path = MODULES[module]
    inside = module if path.name == "__init__.py" else packages_of(module)[0]
    around = {inside, *packages_of(inside)}

    def found(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from found(other, in_function)
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = inside.split(".")[: inside.count(".") + 2 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            whole = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else source for name in whole]
            if source in names and source + GETATTR in LAZY:
                yield Import(source + GETATTR, node.lineno, in_function)
        for name in names:
            if name in MODULES:
                for target in {name, *(set(packages_of(name)) - around)}:
                    yield Import(target, node.lineno, in_function)
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from found(child, in_function or isinstance(node, functions))

    tree = ast.parse(path.read_text("utf-8"))
    loads = [node for node in tree.body if getattr(node, "name", "") == "__getattr__"]
    if lazy:
        yield from (each for node in loads for each in found(node, True))
        return
    if path.name == "__init__.py":
        tree.body = [node for node in tree.body if node not in loads]
    yield from found(tree, False)
    if module == "sdwidgets":  # its public names are imported when they are first used
        for name, _ in sdwidgets._PUBLIC.values():
            yield Import(f"sdwidgets.{name}", 0, True)


def circle(graph: Mapping[str, Sequence[Import]]) -> str:
    """Return a path from a module through its imports back to it, as text; "" if there is none."""
    done: set[str] = set()
    way: list[Import] = []

    def search(module: str) -> str:
        for step in graph.get(module, ()):
            places = [one.target for one in way]
            if step.target in places:
                around = [*way[places.index(step.target) :], step]
                return " -> ".join([step.target, *map(str, around[1:])])
            if step.target not in done:
                way.append(step)
                if words := search(step.target):
                    return words
                way.pop()
        done.add(module)
        return ""

    for module in graph:
        way[:] = [Import(module, 0, False)]
        if module not in done and (words := search(module)):
            return words
    return ""


def test_no_module_imports_its_importer() -> None:
    graph = {module: list(imports_of_ours(module)) for module in (*MODULES, *LAZY)}
    assert not circle(graph), f"modules in a circle: {circle(graph)}"


def test_a_circle_is_named() -> None:
    graph = {
        "a": [Import("b", 1, False)],
        "b": [Import("d", 2, False), Import("c", 3, True)],
        "c": [Import("b", 4, False)],
        "d": [],
    }
    assert circle(graph) == "b -> c (line 3, inside a function) -> b (line 4)"
    assert circle({**graph, "c": [Import("d", 4, False)]}) == ""
    assert circle({"a": [Import("a", 1, True)]}) == "a -> a (line 1, inside a function)"


def test_names_that_a_package_loads_late_are_imports_of_whoever_uses_them() -> None:
    assert "sdwidgets.checkpoints.__getattr__" in LAZY
    of_the_name = {step.target for step in imports_of_ours("sdwidgets.manager")}
    assert "sdwidgets.checkpoints.__getattr__" in of_the_name
    late = {step.target for step in imports_of_ours("sdwidgets.checkpoints.__getattr__")}
    assert "sdwidgets.checkpoints.load" in late
    assert "sdwidgets.checkpoints.load" not in {
        step.target for step in imports_of_ours("sdwidgets.checkpoints")
    }


def test_modules_are_imported_by_their_names() -> None:
    """So that the previous test sees them; public names, which it knows, are loaded by text."""
    for path in SOURCES:
        by_text = {name for _, name in names_used(path)} & {"import_module", "__import__"}
        assert not by_text or path == PACKAGE / "__init__.py", path


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


# -- what may not be used anywhere -----------------------------------------------------------


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
        # torch's module.eval() does not evaluate text
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
    path
    for folder in (ROOT / "js" / "src", ROOT / "js" / "lab" / "src")
    for path in folder.rglob("*.ts")
    if not path.name.endswith((".test.ts", ".d.ts"))
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


@pytest.mark.skipif(not SCRIPTS, reason="the front end's sources are not installed")
def test_all_of_the_front_end_is_shipped() -> None:
    """Only tests use js/test/."""
    source, extension = ROOT / "js" / "src", ROOT / "js" / "lab" / "src"
    reached: set[Path] = set()
    waiting = [path for path in SCRIPTS if path.parent == source or extension in path.parents]
    waiting.append(source / "record" / "index.ts")
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            found = re.findall(r'(?:from |import\()"(\..+?)"', path.read_text("utf-8"))
            files = [(path.parent / f"{name}.ts").resolve() for name in found]
            waiting += [file for file in files if file.is_file()]  # not a style sheet's, or JSON's
    assert reached == set(SCRIPTS)
