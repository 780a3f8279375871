"""Imports go one way: no circle, and none that an import in a function hides."""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import batchnorm

CODE = Path(batchnorm.__file__).parents[1]
PACKAGES = ("batchnorm", "booktools")


def modules(folder):
    """Files of the packages in a folder, by the names of their modules."""
    found = {}
    for file in sorted(f for p in PACKAGES for f in (folder / p).rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(folder):
    """What each module imports, anywhere in it -> {module: modules}.

    `from package import name` is an import of the module of that name if there is one.
    """
    files, graph = modules(folder), {}
    for module, file in files.items():
        package = module if file.stem == "__init__" else module.rpartition(".")[0]
        named = []
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                named += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), package)
                inner = [f"{source}.{alias.name}" for alias in node.names]
                named += [name if name in files else source for name in inner]
        graph[module] = {name for name in named if name in files}
    return graph


def test_imports_go_one_way():
    graph = imports(CODE)
    assert graph["batchnorm.ensemble.norms"] >= {"batchnorm.ensemble.noise"}
    TopologicalSorter(graph).prepare()  # raises what goes round


@pytest.mark.parametrize(
    "line",
    [
        "from .above import X",
        "from batchnorm import above",
        "def f():\n    from batchnorm.above import X",
        "class C:\n    def f(self):\n        import batchnorm.above",
    ],
    ids=["top", "of the package", "in a function", "in a method"],
)
def test_a_planted_circle_is_found(tmp_path, line):
    (tmp_path / "batchnorm").mkdir()
    files = {"__init__": "", "above": "from .below import Y", "below": line}
    for name, text in files.items():
        (tmp_path / f"batchnorm/{name}.py").write_text(text)
    with pytest.raises(CycleError, match=r"batchnorm\.above"):
        TopologicalSorter(imports(tmp_path)).prepare()
