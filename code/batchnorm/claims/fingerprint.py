"""A hash of the code that decides an outcome, read from the source.

`reached` follows names from a function through the package: the functions, classes and
constants that it uses, those that these use, and so on. Comments, docstrings and the
layout of lines do not count; a changed digit does. Nothing is imported or run, so the
hash is the same under every version of Python.

A table, a dictionary with strings for keys, is reached entry by entry: a new norm in
``NORMS`` is no change for a claim that nowhere says its name.

A statement that only checks an argument, ``_checks.count("steps", steps)``, does not
count: it decides whether there is a run, and no number of it. So an argument that was
taken without a word can be refused, and no claim draws new seeds.
"""

import ast
import hashlib
import io
import json
import tokenize
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import batchnorm

PACKAGE = "batchnorm"
CHECKS = f"{PACKAGE}._checks"  # refuses arguments
# Where fingerprints end: modules and functions behind which no outcome is decided.
ENDS = {
    CHECKS,
    "batchnorm.claims.fingerprint",  # hashes code
    "batchnorm.mnist._contents",  # checked against SHA256, wherever the files are from
}
ROOT = Path(batchnorm.__file__).parent
# Checks that do count: those that stood there when all of them did, until 2026-11-28.
# Without them every claim and every recorded run would have drawn new seeds.
COUNTED = json.loads(Path(__file__).with_name("counted.json").read_text("utf-8"))


def digest(*parts):
    """Hash of texts, as 16 hexadecimal digits."""
    joined = "\0".join(parts)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def reached(module, name, words=()):
    """Source of all that a function of a module uses, by full name, in their order.

    It is without comments, docstrings and white space. The decorators of the function
    itself are left out: they are the definition of a claim and not its code.

    Of a table that is only looked up, ``NORMS[norm]``, it uses the entries whose keys
    stand as strings in ``words``, what it is called with, or in what it uses; of any
    other table all.
    """
    start = _defined(module, name)
    if start is None:
        raise ValueError(f"name is {name!r}; allowed is what {module} defines")
    found, tables, todo = {}, {}, [(module, name)]
    words, whole = set(words), set()  # what tables are looked up for; what is not only
    while todo:
        place = _defined(*todo.pop())
        if place is not None and place not in found and not _is_end(place):
            tables[place] = _table(place)
            parts = [] if tables[place] else place.nodes
            read = [_read(place.module, n, place != start) for n in parts]
            found[place] = [part.text for part in read]
            for part in read:
                todo += part.used
                words |= part.strings
                whole |= part.whole
        for place, entries in tables.items() if not todo else ():
            for key in [k for k in entries if k in words or place in whole]:
                entry = _entry(place.module, entries.pop(key))
                found[place].append(f"{key}:{entry.text}")
                todo += entry.used
                words |= entry.strings
    return {f"{p.module}.{p.name}": "".join(sorted(found[p])) for p in sorted(found)}


class _Place(NamedTuple):
    """Where a name is defined: its module and the statements that bind it."""

    module: str
    name: str

    @property
    def nodes(self):
        return _statements(self.module)[self.name]


class _Part(NamedTuple):
    """What a statement says: its bare text, and what `reached` follows from there."""

    text: str
    used: list
    strings: set
    whole: set


@cache
def _read(module, node, decorators):
    """A statement, read once for all claims that reach it -> `_Part`."""
    nodes = list(_inside(module, node, decorators))
    return _Part(
        _bare(module, node, decorators),
        _used(module, node, nodes),
        {n.value for n in nodes if _is_string(n)},
        {_defined(module, n) for n in _not_looked_up(nodes)},
    )


@cache
def _entry(module, node):
    """An entry of a table, read once likewise -> `_Part`."""
    nodes = list(ast.walk(node))
    strings = {n.value for n in nodes if _is_string(n)}
    return _Part(_segment(module, node), _used(module, node, nodes), strings, set())


def _is_end(place):
    return bool({place.module, f"{place.module}.{place.name}"} & ENDS)


# ---------------------------------------------------------------------------
# One module: its statements by name, and its text


@cache
def _source(module):
    """Text and syntax tree of a module of the package, or None if it is none."""
    folder = ROOT.joinpath(*module.split(".")[1:])
    for path in (folder / "__init__.py", folder.with_suffix(".py")):
        if _in_package(module) and path.is_file():
            text = path.read_text("utf-8")
            return text, ast.parse(text)
    return None


@cache
def _statements(module):
    """Top-level statements of a module by the names that they bind."""
    bound = {}
    for node in _source(module)[1].body:
        for name in _binds(node):
            bound.setdefault(name, []).append(node)
    return bound


def _binds(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return [
            n.id
            for n in ast.walk(node)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
    return []


@cache
def _defined(module, name):
    """Where a name of a module is defined, through imports -> `_Place`.

    None if that is not a statement of the package: a module, or another package.
    """
    while name is not None and _source(module) is not None:
        nodes = _statements(module).get(name)
        if nodes is None:
            return None
        origin = _origin(module, nodes[-1], name)
        if origin is None:
            return _Place(module, name)
        module, name = origin
    return None


def _origin(module, node, name):
    """What an import statement brings under a name -> (module, name), or None.

    The second name is None if it brings a module.
    """
    if isinstance(node, ast.ImportFrom):
        package = module if _is_package(module) else module.rpartition(".")[0]
        source = resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                if _in_package(inner := f"{source}.{alias.name}") and _source(inner):
                    return inner, None
                return source, alias.name
    if isinstance(node, ast.Import):
        for alias in node.names:
            if (alias.asname or alias.name.split(".")[0]) == name:
                return (alias.name if alias.asname else name), None
    return None


def _is_package(module):
    return ROOT.joinpath(*module.split(".")[1:], "__init__.py").is_file()


def _in_package(module):
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def _inside(module, node, decorators):
    """The nodes of a statement, without its docstrings, checks, or own decorators."""
    left_out, todo = _no_code(module, node), [node]
    if not decorators:
        left_out += _decorators(node)
    while todo:
        yield (n := todo.pop(0))
        todo += [inner for inner in ast.iter_child_nodes(n) if inner not in left_out]


def _used(module, node, nodes):
    """Names of the package among the nodes of a statement -> [(module, name)]."""
    used, local = [], _imports_inside(node)
    for n in nodes:
        if isinstance(n, ast.Name):
            used.append((module, n.id))
            if n.id in local:
                used.append(local[n.id])
        elif isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name):
            target = _module_of(module, n.value.id)
            if target is not None:
                used.append((target, n.attr))
    return [(m, n) for m, n in used if n is not None and _in_package(m)]


# ---------------------------------------------------------------------------
# Tables, of which a claim uses some entries


def _table(place):
    """The entries of a dictionary whose keys are all written as strings, else {}."""
    value = getattr(place.nodes[-1], "value", None)
    if len(place.nodes) > 1 or not isinstance(value, ast.Dict):
        return {}
    if not all(_is_string(key) for key in value.keys):
        return {}
    return {k.value: v for k, v in zip(value.keys, value.values, strict=True)}


def _is_string(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _not_looked_up(nodes):
    """Names that stand elsewhere than in ``TABLE[key]`` and in checks of arguments."""
    looked_up = set()
    for n in nodes:
        if isinstance(n, ast.Subscript):
            looked_up.add(n.value)
        elif isinstance(n, ast.Call) and "_checks" in ast.dump(n.func):
            looked_up |= set(ast.walk(n))
    return [n.id for n in nodes if isinstance(n, ast.Name) and n not in looked_up]


def _segment(module, node):
    return "".join(ast.get_source_segment(_source(module)[0], node).split())


def _imports_inside(node):
    """Names that a function imports for itself -> {name: (module, name)}."""
    return {
        (alias.asname or alias.name): (n.module, alias.name)
        for n in ast.walk(node)
        if isinstance(n, ast.ImportFrom) and n.module and not n.level
        for alias in n.names
    }


def _module_of(module, name):
    """The module of the package that a name stands for in a module, or None."""
    nodes = _statements(module).get(name)
    if not nodes:
        return None
    origin = _origin(module, nodes[-1], name)
    if origin is None or not _in_package(origin[0]):
        return None
    return origin[0] if origin[1] is None else None


def _decorators(node):
    return getattr(node, "decorator_list", [])


def _docstrings(node):
    """The statements in it that are docstrings of functions and classes."""
    return [
        n.body[0]
        for n in ast.walk(node)
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(n)
    ]


def _no_code(module, node):
    """The statements in it that are docstrings, or that only check an argument."""
    return _docstrings(node) + [
        n
        for n in ast.walk(node)
        if isinstance(n, ast.Expr)
        and _only_checks(module, n.value)
        and _alone(module, n)
        and _segment(module, n) not in COUNTED
    ]


def _alone(module, node):
    """Whether nothing else stands in the lines of a statement."""
    lines = _source(module)[0].splitlines()
    behind = slice(node.end_col_offset, _comments(module).get(node.end_lineno))
    beside = (
        lines[node.lineno - 1][: node.col_offset],
        lines[node.end_lineno - 1][behind],
    )
    return not "".join(beside).strip()


def _only_checks(module, call):
    """Whether an expression is a call of `_checks` that does nothing besides."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    owner = call.func.value
    if not isinstance(owner, ast.Name) or _module_of(module, owner.id) != CHECKS:
        return False
    # What its arguments call or bind may draw a number, or change one.
    inner = [n for n in ast.walk(call) if isinstance(n, ast.Call | ast.NamedExpr)]
    return all(n is call or ast.unparse(n).startswith("len(") for n in inner)


def _bare(module, node, decorators):
    """The text of a statement without comments, docstrings, checks, white space."""
    lines, comments = _source(module)[0].splitlines(), _comments(module)
    first = (_decorators(node) if decorators else [])[:1] or [node]
    numbers = set(range(first[0].lineno, node.end_lineno + 1))
    for said in _no_code(module, node):
        numbers -= set(range(said.lineno, said.end_lineno + 1))
    kept = [lines[number - 1][: comments.get(number)] for number in sorted(numbers)]
    return "".join("".join(kept).split())


@cache
def _comments(module):
    """Where the comments of a module begin: line to column."""
    tokens = tokenize.generate_tokens(io.StringIO(_source(module)[0]).readline)
    return {t.start[0]: t.start[1] for t in tokens if t.type == tokenize.COMMENT}
