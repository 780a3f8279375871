"""Mistakes in the noise of chapter 12 whose distribution is redrawn at each step.

Two right programs need not draw the same numbers. So `observe` lets a program draw, and
writes down what holds for all of them: ends to two digits, counts, and yes or no.
"""

import numpy as np

from batchnorm.exercises.lines import Lines, mistake
from batchnorm.exercises.properties import Property

# What is seen from outside, and what it is for μ ~ U(−½, ½) and σ ~ U(1, 5/4).
OBSERVED = {
    "factors_a_unit": 1,  # at most, over the examples
    "shifts_a_unit": 1,
    "units_with_the_first_factor": 1,
    "units_with_the_first_shift": 1,
    "lowest_factor": 1.0,
    "highest_factor": 1.25,
    "lowest_shift": -0.5,
    "highest_shift": 0.5,
    "evenly_spread": 2,  # of the two, over their own range
    "tied": 0,  # 1 if one tells the other
    "same_in_next_step": 0,
    "same_from_same_seed": 1,
    "tensors": 2,
}


def right(seed, examples, units):
    """What is seen of every right program."""
    return tuple(OBSERVED.values())


def observe(program):
    """A program that lets the reader's draw for two steps, and once more."""
    import torch

    def draws(seed, examples, units):
        rng = np.random.default_rng(seed)
        pair, then = program(rng, examples, units), program(rng, examples, units)
        several = isinstance(pair, (tuple, list, np.ndarray, torch.Tensor))
        if not several or len(pair) != 2:
            return pair  # what came is told, and how many were asked for
        if any(part is ... for part in pair):
            raise NotImplementedError
        once_more = program(np.random.default_rng(seed), examples, units)
        shape = examples, units  # what acts alike, counts alike
        values, next_step, again = (
            np.array([np.broadcast_to(np.asarray(part), shape) for part in parts])
            for parts in (pair, then, once_more)
        )
        factor, shift = values
        return (
            *(_most_in_a_column(part) for part in values),
            *((part[0] == part[0, 0]).sum() for part in values),
            *(end(part).round(2) for part in values for end in (np.min, np.max)),
            sum(map(_is_even, values)),
            _is_tied(factor[0], shift[0]),
            np.array_equal(values, next_step) + 0,
            np.array_equal(values, again) + 0,
            sum(isinstance(part, torch.Tensor) for part in pair),
        )

    return draws


def _most_in_a_column(array):
    """How many different numbers a column holds at most."""
    return 1 + (np.diff(np.sort(array, axis=0), axis=0) > 0).sum(0).max()


def _is_even(array):
    """Whether numbers are spread evenly: their distribution is 0.05 off at most."""
    values = np.sort(array, axis=None)
    if values[0] == values[-1]:
        return False
    values = (values - values[0]) / (values[-1] - values[0])
    return bool(np.abs(values - np.linspace(0, 1, len(values))).max() < 0.05)


def _is_tied(first, second):
    """Whether two vectors go together, 1 or 0: a correlation of a half or more."""
    first, second = first - first.mean(), second - second.mean()
    return int(abs(first @ second) > 0.5 * np.sqrt(first @ first * (second @ second)))


# Of some mistakes a part of what is seen depends on the draw, and is not compared.


def _of_few_draws(results):
    """Not the ends, the evenness, or what goes together."""
    return results[:4] + results[-3:]


def _of_normal_draws(results):
    """Of the ends, those of the shift alone, which is not normal, to one digit."""
    return *results[:4], *np.round(results[6:8], 1), *results[-3:]


NOISE = Lines(
    generator=lambda rng: rng,
    shape=lambda units: (1, units),
    mu=lambda generator, shape: generator.uniform(-0.5, 0.5, shape),
    sigma=lambda generator, shape: generator.uniform(1, 1.25, shape),
    factor=lambda sigma: sigma,
    shift=lambda mu: mu,
    first=lambda factor: factor,
    second=lambda shift: shift,
    made=lambda: lambda torch, array: torch.tensor(array),
)


def build(program):
    """The function that draws by the lines of a program, right or wrong."""

    def redrawn_noise(rng, examples, units):
        import torch

        given = {"rng": rng, "examples": examples, "units": units}
        first, second, made = program.run(["first", "second", "made"], given)
        return made(torch, first), made(torch, second)

    return redrawn_noise


def _both_parts(rng, examples, units):
    """The noise of the chapter."""
    mu, sigma = rng.uniform(-0.5, 0.5, units), rng.uniform(1, 1.25, units)
    shift = rng.uniform(mu - 0.1, mu + 0.1, (examples, units))
    return rng.normal(sigma, 0.1, (examples, units)), shift


def _value_part(rng, examples, units):
    shift = rng.uniform(-0.1, 0.1, (examples, units))
    return rng.normal(1, 0.1, (examples, units)), shift


# What two mistakes share that draw factor and shift together.
_DRAWN = {
    "factor": lambda drawn: drawn[0],
    "shift": lambda drawn: drawn[1],
    "like": _of_normal_draws,
}

MISTAKES = [
    mistake(
        "both-parts",
        "The part of each value is still in it: this is the noise of the chapter.",
        "It has the redrawn part, too.",
        "Both parts act, and what each of them costs is not told apart.",
        "ch-why-shift",
        **_DRAWN,
        drawn=_both_parts,
    ),
    mistake(
        "value-part-alone",
        "This is the other part, that of each value; μ and σ are not redrawn.",
        "Either part alone is a control.",
        "The distribution of a unit is the same at each step.",
        "ch-why-shift",
        **_DRAWN,
        drawn=_value_part,
    ),
    mistake(
        "each-value",
        "Each value draws a factor and a shift; all examples of a unit share them.",
        "The activations have this shape.",
        "Over many examples the distribution of a unit is the same at each step.",
        "ch-why-shift",
        shape=lambda examples, units: (examples, units),
    ),
    mistake(
        "each-example",
        "Each example has a factor and a shift for all its units; each unit has them.",
        "(examples, 1) broadcasts as well.",
        "Examples differ by their noise, and the units do not.",
        "ch-why-shift",
        shape=lambda examples: (examples, 1),
        like=_of_few_draws,
    ),
    mistake(
        "one-for-all-units",
        "One factor and one shift serve all units; each unit draws its own.",
        "A single number broadcasts.",
        "All units of a layer move together: one draw in place of fifty.",
        "ch-why-shift",
        shape=lambda: (1, 1),
        like=_of_few_draws,
    ),
    mistake(
        "swapped",
        "Factor and shift have changed places: the factor comes first.",
        "μ comes before σ in the text.",
        "Activations are multiplied by numbers around 0: half of them change sign.",
        "ch-why-shift",
        first=lambda shift: shift,
        second=lambda factor: factor,
    ),
    mistake(
        "factor-around-zero",
        "The factor is drawn like the shift; σ lies between 1 and 1.25.",
        "One line was copied.",
        "Activations are multiplied by numbers around 0: half of them change sign.",
        "ch-why-shift",
        sigma=lambda generator, shape: generator.uniform(-0.5, 0.5, shape),
    ),
    mistake(
        "factor-on-both-sides",
        "The factor is drawn from both sides of 1; σ lies between 1 and 1.25.",
        "A factor around 1 looks neutral.",
        "It is another noise: on average it does not widen the activations.",
        "ch-why-shift",
        sigma=lambda generator, shape: generator.uniform(0.75, 1.25, shape),
    ),
    mistake(
        "shift-of-one-sign",
        "The shift has one sign; μ lies between −0.5 and 0.5.",
        "A half is the number that is remembered.",
        "On average every unit moves up, as by a larger β.",
        "ch-why-shift",
        mu=lambda generator, shape: generator.uniform(0, 0.5, shape),
    ),
    mistake(
        "four-times-as-strong",
        "This is the noise four times as strong: μ up to 2, σ up to 2.",
        "The chapter has this noise as well.",
        "At this strength the whole noise takes more of the lead, how much is open.",
        "ch-why-shift",
        mu=lambda generator, shape: generator.uniform(-2, 2, shape),
        sigma=lambda generator, shape: generator.uniform(1, 2, shape),
    ),
    mistake(
        "factor-missing",
        "The factor is 1 everywhere: σ is not drawn.",
        "A shift alone moves the distribution, too.",
        "The spread of a unit stays what γ makes of it.",
        "ch-why-shift",
        factor=lambda shift: np.ones_like(shift),
    ),
    mistake(
        "shift-missing",
        "The shift is 0 everywhere: μ is not drawn.",
        "A factor alone moves the distribution, too.",
        "Where β is 0, the means of the units do not move.",
        "ch-why-shift",
        shift=lambda factor: np.zeros_like(factor),
    ),
    mistake(
        "one-draw",
        "Factor and shift come from one draw: where one is large, so is the other.",
        "One draw a unit is enough for both.",
        "Mean and spread of a unit move together.",
        "ch-why-shift",
        sigma=lambda mu: 1.125 + mu / 4,
    ),
    mistake(
        "same-at-each-step",
        "Each step draws the same: a generator is made anew in every call.",
        "A seed makes a run repeatable.",
        "The distribution of a unit is another one, but it never moves.",
        "ch-why-shift",
        generator=lambda: np.random.default_rng(0),
    ),
    mistake(
        "generator-not-used",
        "The generator that is handed over is not the one that draws.",
        "np.random is at hand.",
        "The seed of the run no longer decides what is drawn.",
        "ch-why-shift",
        generator=lambda: np.random.default_rng(),
    ),
    mistake(
        "arrays",
        "What comes back are arrays of NumPy; the activations are tensors.",
        "The generator draws arrays.",
        "It stops at once: an array times a tensor with a gradient is an error.",
        "ch-why-shift",
        made=lambda: lambda torch, array: array,
    ),
]


def _seen(says, *names):
    """A property: some of what is observed is what it is for every right program."""
    places = [list(OBSERVED).index(name) for name in names]
    return Property(
        names[0], says, lambda run, probe: np.array([run()[k] for k in places])
    )


PROPERTIES = [
    _seen(
        "All examples of a unit have one factor and one shift.",
        "factors_a_unit",
        "shifts_a_unit",
    ),
    _seen(
        "Each unit draws its own.",
        "units_with_the_first_factor",
        "units_with_the_first_shift",
    ),
    _seen("The next step draws other numbers.", "same_in_next_step"),
    _seen("The same generator draws the same numbers.", "same_from_same_seed"),
    _seen("Both are spread evenly between their ends.", "evenly_spread"),
    _seen("The factor lies between 1 and 1.25.", "lowest_factor", "highest_factor"),
    _seen("The shift lies between −0.5 and 0.5.", "lowest_shift", "highest_shift"),
    _seen("Factor and shift are drawn apart.", "tied"),
    _seen("Both are tensors.", "tensors"),
]
