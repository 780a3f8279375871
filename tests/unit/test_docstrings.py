"""Every public function says what it takes, returns and refuses, in numpydoc form."""

import ast
import inspect
import re
import textwrap

import pytest

from batchnorm import accuracy, accuracy_relatives
from booktools.reference_pages import MODULES, members

# Rows of tables, whose arguments the table describes.
ROWS = {
    *accuracy.INPUTS,
    *accuracy.IMPLEMENTATIONS.values(),
    *accuracy_relatives.IMPLEMENTATIONS.values(),
}


def functions():
    """Public functions and the public methods of public classes, with an id each."""
    for module in MODULES:
        for name, thing in members(module):
            inside = vars(thing) if inspect.isclass(thing) else {"": thing}
            for method, function in inside.items():
                hidden = method.startswith("_") and method != "__call__"
                # A layer's passes are described once, in the class of all operations.
                hidden |= method != "" and any(
                    method in vars(base) for base in thing.__mro__[1:-1]
                )
                if inspect.isfunction(function) and not hidden and function not in ROWS:
                    full = f"{module}.{name}.{method}".rstrip(".")
                    yield pytest.param(function, id=full)


def without_docstring(function):
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return ast.unparse(ast.Module(node.body[1:], []))


@pytest.mark.parametrize("function", list(functions()))
def test_docstring(function):
    code, text = without_docstring(function), inspect.cleandoc(function.__doc__ or "")
    summary, *parts = re.split(r"^(\w+)\n-{3,}\n", text, flags=re.MULTILINE)
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    assert re.match(r".+\.(\n\n|\n?$)", summary), "one sentence first"

    entries = re.findall(r"^\S.*", said.get("Parameters", ""), re.MULTILINE)
    described = ", ".join(entry.split(" : ")[0] for entry in entries)
    taken = [name for name in inspect.signature(function).parameters if name != "self"]
    assert re.findall(r"\w+", described) == taken
    assert ("Returns" in said) == bool(re.search(r"^ *return .", code, re.MULTILINE))
    if re.search(r"raise ValueError|_check", code):
        assert re.match(r"ValueError\n +\S", said.get("Raises", "")), "what is refused"


def test_functions_are_found():
    found = {parameter.id for parameter in functions()}
    assert {"reference.forward", "statistics.RunningStatistics.update"} <= found
    assert "whitening.Affine.__call__" in found
