"""The registry: a claim is a function, its name the id, its docstring the statement.

    @experiment(
        "steps to 85 %, without over with",
        above(1.2),
        source="ioffe2015batch, section 4.2",
        setting={"first": PLAIN, "second": NORMALIZED},
        negative={"second": PLAIN},
        positive={"first": SLOW},
    )
    def sigmoid_steps(seeds, *, first, second):
        \"\"\"Three sigmoid layers need more steps without batch normalization.\"\"\"

A decorator returns the function as it was, so that several claims on one measure
stack; each then says its `id` and `statement` itself.
"""

import difflib
import inspect
import re
import sys

from batchnorm.claims.types import Experiment, Identity, Prediction

_REFERENCE = re.compile(r"([a-z]+\d{4}\w+), (\S.*)")
_claims: dict[str, Experiment | Prediction] = {}
_identities: dict[str, Identity] = {}


def experiment(effect, region, **fields):
    """Register the decorated function as the measure of an `Experiment`.

    ``fields`` are the other ones of `Experiment`; ``id`` and ``statement`` are the
    function's name and docstring unless they are given. Raises ValueError if the id is
    taken, a field is missing or not allowed, or the setting or a control does not fit
    the function.
    """
    return _registering(Experiment, {"effect": effect, "region": region, **fields})


def prediction(effect, *, over, tolerance, **fields):
    """As `experiment`, of a `Prediction`."""
    fields |= {"effect": effect, "over": over, "tolerance": tolerance}
    return _registering(Prediction, fields)


def identity(id, statement, *, source, test):
    """Register an `Identity` of the chapter whose module calls this.

    Raises ValueError if the id is taken.
    """
    _free(id)
    # Not inspect.stack, which reads source files and takes seconds for all identities.
    chapter = sys._getframe(1).f_globals["__name__"].rpartition(".")[2]
    _identities[id] = Identity(id, statement, source, test, chapter)


def claims():
    """All experiments and predictions, in the order of the book.

    Returns
    -------
    tuple of Experiment or Prediction
    """
    return tuple(_claims.values())


def identities():
    """All identities, in the order of the book.

    Returns
    -------
    tuple of Identity
    """
    return tuple(_identities.values())


def chapter(claim):
    """The chapter of a claim: "why" for those of ``why`` and of ``why_controls``."""
    return claim.measure.__module__.rpartition(".")[2].removesuffix("_controls")


def get(id):
    """The experiment or prediction of that id.

    Parameters
    ----------
    id : str

    Returns
    -------
    Experiment or Prediction

    Raises
    ------
    ValueError
        If there is none; it names those that are spelled nearly so.
    """
    if id in _claims:
        return _claims[id]
    near = difflib.get_close_matches(str(id), _claims, n=4, cutoff=0.4)
    raise ValueError(f"id is {id!r}; near ones are {', '.join(near) or 'none'}")


def references(source):
    """What a source, or a claimed_by, refers to -> list of (key, place).

    It is written "key, place" for each work, with "; " between them, where a key is one
    of references.bib: "ioffe2015batch, section 3.3; he2015delving, section 2.2". Raises
    ValueError if a part is not of that form.
    """
    found = []
    for part in source.split("; "):
        match = _REFERENCE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"source has the part {part!r}; "
                'allowed is "key, place", with "; " between works'
            )
        found.append((match[1], match[2]))
    return found


def _registering(kind, fields):
    def register(measure):
        named = {
            "id": measure.__name__.replace("_", "-"),
            "statement": " ".join((inspect.getdoc(measure) or "").split()),
        }
        try:
            entry = kind(measure=measure, **{**named, **fields})
        except TypeError as error:
            raise ValueError(f"claim {named['id']!r}: {error}") from error
        _free(entry.id)
        _check(entry)
        _claims[entry.id] = entry
        return measure

    return register


def _free(id):
    if id in _claims or id in _identities:
        raise ValueError(f"id is {id!r}, which is taken; ids are unique")


def _check(entry):
    """Refuse what would fail only when the claim is run, or read."""
    asked = {"": {}}
    if entry.kind == "experiment":
        for name in ("negative", "positive", "oracle"):
            asked[f"{name} control of "] = getattr(entry, name) or {}
    for of, changed in asked.items():
        try:
            inspect.signature(entry.measure).bind((), **{**entry.setting, **changed})
        except TypeError as error:
            raise ValueError(
                f"setting of the {of}{entry.id!r} does not fit its function: {error}"
            ) from error
    if not entry.statement.endswith("."):
        raise ValueError(
            f"statement of {entry.id!r} is no sentence: {entry.statement!r}"
        )
    references(entry.source)
    if (entry.claimed is None) != (entry.claimed_by is None):
        raise ValueError(
            f"claimed of {entry.id!r} needs claimed_by, and so the reverse"
        )
    if entry.claimed is not None and (words := len(entry.claimed.split())) > 25:
        raise ValueError(f"claimed of {entry.id!r} has {words} words; allowed are 25")
    if entry.kind == "experiment" and entry.estimator not in (
        "median",
        "share",
        "mean",
    ):
        raise ValueError(
            f"estimator of {entry.id!r} is {entry.estimator!r}; allowed are median, "
            "share and mean"
        )
