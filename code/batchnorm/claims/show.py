"""What a chapter shows of its claims: every seed, the interval, the verdict."""

import textwrap

from batchnorm.claims import ledger, protocol, registry

WIDTH = 72  # of what is printed


def show(*ids, seeds=protocol.CHAPTER_SEEDS):
    """Run claims, draw a strip with a row for each, and print what came out.

    Parameters
    ----------
    *ids : str
    seeds : sequence of int
        Those of a chapter unless given.

    Raises
    ------
    ValueError
        If there is no such claim, or a seed is one of those that settings were chosen
        on.
    """
    # Imported here so that running claims needs no graphics.
    from batchnorm import figures

    seeds = protocol.explored(seeds)
    records = ledger.read()
    results = [registry.get(id).run(seeds) for id in ids]
    figures.strips(results)
    print("\n".join(text(result, records) for result in results))


def text(result, records):
    """A `Result` in words: statement, effect, interval, verdict, confirmation.

    The records are those of the ledger.
    """
    claim = result.claim
    said = {"Claim": claim.statement}
    if claim.claimed is not None:
        said = {"Written": f"“{claim.claimed}”", "Measured": claim.statement}
    elif claim.question is not None:
        said = {"Question": claim.question, "Measured": claim.statement}
    said["Here"] = (
        f"{quantity(claim)}: {short(result.estimate, claim.kind)} on "
        f"{len(result.seeds)} seeds; asked {claim.asked}: {result.verdict}"
    )
    said["Confirmed"] = _confirmed(claim, records)
    return "\n".join(
        textwrap.fill(f"{label + ':':11}{text}", WIDTH, subsequent_indent=" " * 11)
        for label, text in said.items()
    )


def _confirmed(claim, records):
    kept = ledger.confirmation(claim, records)
    if kept is None:
        return "not yet, as it now stands"
    estimate = short(ledger.number(kept["estimate"]), claim.kind)
    return f"{estimate} on {len(kept['seeds'])} seeds drawn anew: {kept['verdict']}"


def quantity(claim):
    """What the estimate of a claim is of, in words."""
    ratio = "measured over predicted, " if claim.kind == "prediction" else ""
    return ratio + claim.effect


def short(estimate, kind="experiment"):
    """An estimate in two digits: "3.2 [2.9, 4.0]".

    Parameters
    ----------
    estimate : Estimate or sequence of 3 floats
    kind : {"experiment", "prediction"}
        Of a prediction three digits are shown, for its estimate is near 1.

    Returns
    -------
    str
    """
    digits = 3 if kind == "prediction" else 2
    value, low, high = (_digits(number, digits) for number in estimate)
    return f"{value} [{low}, {high}]"


def _digits(number, digits):
    """A number with few significant digits and no sign of a zero."""
    text = f"{float(number):.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    text = f"{mantissa}e{int(exponent)}" if e else text
    return {"-0": "0", "inf": "∞", "-inf": "−∞"}.get(text, text).replace("-", "−")
