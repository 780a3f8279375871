"""The examination: its sums, what it rests on, and each number of its answers."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from batchnorm import ensemble, reference
from batchnorm.claims import estimates
from batchnorm.claims.types import above, within
from batchnorm.datasets import digits
from batchnorm.folding import fold_linear
from batchnorm.gradcheck import numerical_gradient
from batchnorm.layer import batch_norm
from batchnorm.statistics import RunningStatistics
from booktools.notebooks import ROOT, chapters, read

PAGE = (ROOT / "back" / "exam.md").read_text("utf-8")
QUESTION = re.compile(
    r"^### (\d+)\. (.+)\n\n\*([\w ]+) · (\d+) points · (\d+) minutes\.\*"
    r" \*\*Tests\*\* (.+) \*\*Rests on\*\* (.+)\n((?:.*\n)*?)"
    r"```\{admonition\} Answer\n:class: dropdown\n\n((?:.*\n)*?)```$",
    re.MULTILINE,
)
FOUND = [m.groups() for m in QUESTION.finditer(PAGE)]
ASKED = {int(number): text for number, *_, text, _ in FOUND}
ANSWER = {int(number): text for number, *_, text in FOUND}
POINTS = {int(number): int(points) for number, _, _, points, *_ in FOUND}
MINUTES = {int(number): int(minutes) for number, _, _, _, minutes, *_ in FOUND}

X = np.array([[1.0], [3.0], [5.0], [7.0]])
GAMMA, BETA, EPS = np.array([2.0]), np.array([1.0]), 4.0
GRADIENTS = {"A": [3, 0, 0, -3], "B": [5, 2, 2, -1], "C": [3, 0, 0, 3]}


# ---------------------------------------------------------------------------
# Form


def test_each_question_has_all_its_parts_and_points_that_add_up():
    assert len(FOUND) == len(re.findall("^### ", PAGE, re.MULTILINE)) == 16
    assert list(POINTS) == [*range(1, 17)]
    kinds = {kind for _, _, kind, *_ in FOUND}
    assert kinds == {
        *("By hand", "Derive", "Find the fault", "Predict", "Read a table", "Decide")
    }
    for number in POINTS:
        parts = re.findall(r"^\d\. .*", ASKED[number], re.MULTILINE)
        given = [int(n) for n in re.findall(r"\((\d) points?\)", ASKED[number])]
        total = sum(given) if given else 2 * len(parts)  # "Two points each."
        assert total == POINTS[number], number
        answers = re.findall(r"^\d\. .*", ANSWER[number], re.MULTILINE)
        assert len(answers) == len(parts), number


def test_the_papers_have_the_points_and_minutes_of_their_questions():
    papers = re.findall(r"^\| .* \| ([\d, ]+) \| (\d+) \| (\d+) \|$", PAGE, re.M)
    assert len(papers) == 3
    for named, points, minutes in papers:
        numbers = [int(n) for n in named.split(", ")]
        assert sum(POINTS[n] for n in numbers) == int(points)
        assert sum(MINUTES[n] for n in numbers) == int(minutes)


def test_nine_questions_rest_on_what_two_lectures_show():
    lectures = (ROOT / "back" / "paths.md").read_text("utf-8")
    lectures = lectures.split("## Two lectures\n")[1].split("\n## ")[0]
    shown = set(re.findall(r"<(ch-[\w-]+)>", lectures))
    early = PAGE.split("## After two lectures")[1].split("## After six lectures")[0]
    assert len(re.findall("^### ", early, re.MULTILINE)) == 9
    rests = re.findall(r"\*\*Rests on\*\* (.+)", early)
    assert set(re.findall(r"<([\w-]+)>", " ".join(rests))) <= shown


def test_no_question_has_the_title_or_the_program_of_an_exercise():
    sources = "\n".join(c.source for path in chapters() for c in read(path).cells)
    for _, title, *_ in FOUND:
        assert f"{{exercise}} {title}\n" not in sources
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        lines = [line for line in block.splitlines() if len(line) > 20]
        assert sum(line in sources for line in lines) < len(lines)


# ---------------------------------------------------------------------------
# Numbers, as the answers write them


def tex(value):
    """A number as a fraction: 5, -\\frac13, \\frac{16}{125}."""
    exact = Fraction(float(value)).limit_denominator(1000)
    assert abs(exact - Fraction(float(value))) < 1e-9
    sign, a, b = "-" * (exact < 0), abs(exact.numerator), exact.denominator
    if b == 1:
        return f"{sign}{a}"
    short = rf"\frac{a}{b}" if max(a, b) < 10 else rf"\frac{{{a}}}{{{b}}}"
    short = rf"\frac{a}{{{b}}}" if a < 10 <= b else short
    return sign + short


def tuple_of(values):
    return f"({','.join(map(tex, np.ravel(values)))})"


def both_modes():
    y, cache = reference.forward(X, GAMMA, BETA, eps=EPS)
    x_hat = (y - BETA) / GAMMA
    stored = np.array([4.0]), np.array([12.0])
    later = reference.inference(X[3:], GAMMA, BETA, *stored, eps=EPS)
    yield rf"The mean is {tex(cache.mean[0])} and the variance {tex(cache.var[0])}"
    yield rf"\hat x={tuple_of(x_hat)}$ and $y={tuple_of(y)}"
    yield rf"\sigma^2/(\sigma^2+\epsilon)={tex(x_hat.var())}$"
    yield rf"\sqrt{{12+4}}+1={tex(later[0, 0])}$"


def gradients_of(dy, eps=EPS):
    _, cache = reference.forward(X, GAMMA, BETA, eps=eps)
    return reference.backward(np.array(dy, float)[:, None], cache)


def three_gradients():
    dx = {name: gradients_of(dy)[0] for name, dy in GRADIENTS.items()}
    assert np.allclose(dx["A"], dx["B"])
    x_hat = (X - 4) / 3
    along = gradients_of(np.ravel(x_hat))[0] / (GAMMA / 3)
    free = np.ravel(X - 4) / np.sqrt(5)
    assert np.allclose(gradients_of(free, eps=1e-300)[0], 0)
    yield rf"dy+\frac32\hat x)={tuple_of(dx['A'])}"
    yield rf"so $dx={tuple_of(dx['C'])}"
    yield rf"\epsilon/(\sigma^2+\epsilon)={tex((along / x_hat)[0, 0])}$ of $\hat x$"


def batch_of_two():
    def first(x):
        return reference.forward(x, None, None, eps=EPS)[0][0, 0]

    x = np.array([[3.0], [0.0]])
    _, cache = reference.forward(x, None, None, eps=EPS)
    slope = reference.backward(np.array([[1.0], [0.0]]), cache)[0][0, 0]
    assert np.isclose(slope, numerical_gradient(first, x)[0, 0], atol=1e-7)
    v = 1 / np.sqrt(cache.var[0] + EPS)
    equal = reference.forward(np.zeros((2, 1)), None, None, eps=EPS)[1]
    equal = reference.backward(np.array([[1.0], [0.0]]), equal)[0][0, 0]
    assert np.isclose(equal, 1 / (2 * np.sqrt(EPS)))
    yield rf"$16/25^{{3/2}}={tex(slope)}$"
    yield rf"\sigma^2=\delta^2/4={tex(cache.var[0])}"
    yield rf"={tex(v)}$"
    yield rf"={tex(EPS / (cache.var[0] + EPS))}$ does"
    yield rf"={tex(slope / v)}$, and $v\,B_{{11}}={tex(slope)}"


def learned_epsilon():
    dy = np.array(GRADIENTS["A"], float)[:, None]

    def loss(eps):
        return np.sum(dy * reference.forward(X, GAMMA, BETA, eps=eps)[0])

    measured = (loss(EPS + 1e-5) - loss(EPS - 1e-5)) / 2e-5
    _, dgamma, _ = gradients_of(GRADIENTS["A"])
    derived = -GAMMA / 2 / 9 * dgamma
    assert np.allclose(measured, derived, atol=1e-8)
    yield rf"d\gamma={tex(dgamma[0])}$"
    yield rf"={tex(derived[0])}$."


def running_mean():
    lines = re.search(r"```python\n(.*?)return", ASKED[5], re.DOTALL)[1]
    names = {"np": np, "momentum": 0.1, "eps": 0, "running": np.zeros(1)}
    names["x"] = np.array([[8.0], [12.0]])  # mean 10, standard deviation 2
    means = []
    for _ in range(50):
        exec(lines, names)
        means.append(names["x_hat"].mean())
    assert np.isclose(names["x_hat"].std(), 1)
    yield f"$(10-1)/2={means[0]:.1f}$; the standard deviation is 1"
    yield f"from step {1 + np.flatnonzero(np.array(means) < 0.1)[0]} on"


def copies():
    seeds = range(10)
    network = ensemble.Network((64,), (64,) * 3, norm="batch")
    theta = ensemble.init_parameters(network, seeds, 2**0.5)
    run = ensemble.train(network, digits, seeds, theta=theta, lr=0.1, steps=150)
    splits = [digits(seed) for seed in seeds]
    x, y = (np.stack([getattr(s, n) for s in splits]) for n in ("x_test", "y_test"))

    def read(x, y, *given):
        return ensemble.evaluate(network, run.theta, x, y, *given).accuracy

    assert 0.85 < np.median(read(x, y, run.running)) < 0.9
    assert 0.7 < np.median(read(x, y, None, 8)) < 0.8
    count = read(x.repeat(8, 1), y.repeat(8, 1), None, 8) * y.shape[1]
    for each, labels in zip(count, y, strict=True):  # all of one class, none else
        assert round(each) in np.bincount(labels)
    assert np.all(abs(100 * count / y.shape[1] - 10) < 2)
    yield "about 10 of 100"


def every_batch_twice():
    factors = []
    for m in (2, 8):
        x = np.random.default_rng(m).normal(size=(m, 1))
        x_twice, dy = np.repeat(x, 2, axis=0), x**2 / m
        (y, cache), (y_twice, cache_twice) = (
            reference.forward(each, GAMMA, BETA) for each in (x, x_twice)
        )
        assert np.allclose(y.repeat(2, 0), y_twice)
        once = reference.backward(dy, cache)
        twice = reference.backward(np.repeat(dy, 2, axis=0) / 2, cache_twice)
        assert np.allclose(once[0], twice[0].reshape(m, 2).sum(1)[:, None])
        assert np.allclose(once[1], twice[1])
        stored = [RunningStatistics(1, momentum=1.0) for _ in range(2)]
        stored[0].update(x), stored[1].update(x_twice)
        assert np.allclose(stored[0].mean, stored[1].mean)
        factors.append((stored[1].var / stored[0].var)[0])
    yield rf"${tex(factors[0])}$ for $m=2$ and ${tex(factors[1])}$ for $m=8$"


def the_report():
    points = 100 * (222 - 219) / 250
    yield f"The difference is {points:.1f} points, three images of 250"


def five_verdicts():
    rows = re.findall(
        r"^\| (\w) \| .* \| \S+ \((\S+) to (\S+)\) \| (.*) \|$", ASKED[9], re.MULTILINE
    )
    assert len(rows) == 5
    said = []
    for name, low, high, asked in rows:
        low, high, *bar = (
            float(n.replace("−", "-").replace("∞", "inf"))
            for n in (low, high, *re.findall(r"−?[\d.]+", asked))
        )
        region = within(*bar) if asked.startswith("between") else above(*bar)
        verdict = region.verdict(estimates.Estimate(low, low, high))
        said.append(f"{name} {verdict}")
    yield f"1. {', '.join(said)}."


def a_fold():
    values = {"weight": [[2.0]], "bias": [1.0], "gamma": [4.0], "beta": [5.0]}
    values |= {"mean": [3.0], "var": [3.0]}
    given = {name: np.array(value) for name, value in values.items()}
    weight, bias = fold_linear(*given.values(), eps=1.0)
    right = 2 * weight[0, 0] + bias[0]
    program = re.search(r"```python\n(.*?)return", ASKED[10], re.DOTALL)[1]
    mended = re.search(r"third: `(.*?)`", ANSWER[10])[1]
    found = []
    for line in (mended, "bias = bias - mean + beta"):
        names = {"np": np, "eps": 1.0, **given}
        exec(program.replace("bias = bias - mean + beta", line), names)
        found.append((names["weight"][0, 0], names["bias"][0]))
    (w, b), (w_faulty, b_faulty) = found
    assert 2 * w + b == right
    yield rf"+5={right:g}$"
    yield f"the weight is {w_faulty:g} and the bias {b_faulty:g}"
    yield f"which gives {2 * w_faulty + b_faulty:g}"


def two_frameworks():
    batch = np.array([[2.0], [6.0]])
    ours = RunningStatistics(1, momentum=0.1)
    theirs = torch.nn.BatchNorm1d(1, momentum=0.1)
    theirs(torch.tensor(batch, dtype=torch.float32)), ours.update(batch)
    assert np.isclose(theirs.running_var.item(), ours.var[0])
    mean, var = ours.mean[0], ours.var[0]
    steps = 1
    while ours.mean[0] < 0.95 * batch.mean():
        ours.update(batch)
        steps += 1
    yield rf"={mean:.1f}$ and $0.9\cdot1+0.1\cdot8={var:.1f}$"
    yield rf"$0.9+0.4={0.9 + 0.1 * batch.var():.1f}$"
    yield f"first at $n={steps}$"


def homogeneous():
    rng = np.random.default_rng(0)
    x, w, t = (torch.tensor(rng.normal(size=n)) for n in ((30, 5), (4, 5), (30, 4)))
    both = [torch.tensor(rng.normal(size=5)).requires_grad_() for _ in range(2)]

    def product(f=torch.relu, normalized=True, skip=0):
        h = f(batch_norm(x, *both, 1e-12)) @ w.T + skip * x[:, :4]
        out = batch_norm(h, None, None, 1e-12) if normalized else h
        grads = torch.autograd.grad(torch.mean((out - t) ** 2), both)
        return sum((p * g).sum().item() for p, g in zip(both, grads, strict=True))

    assert abs(product()) < 1e-9
    for ended in {"f": torch.sigmoid}, {"normalized": False}, {"skip": 1}:
        assert abs(product(**ended)) > 1e-3
    yield "All three."


def thirty_times():
    """What is said of lengths and of images may be off by as little as other CPUs."""
    network = ensemble.Network((64,), (64,) * 3, norm="batch")

    def hidden(theta):
        layers = ensemble.unpack(network, theta)[:-1]
        return np.concatenate([layer.weight for layer in layers], axis=1)

    def length(weights):
        return np.linalg.norm(weights, axis=-1).mean()

    def run(factor):
        theta = ensemble.init_parameters(network, range(10), 2**0.5)
        for layer in ensemble.unpack(network, theta)[:-1]:
            layer.weight[:] *= factor
        options = {"lr": 1.0, "recorder": ensemble.Recorder(every=60)}
        first, last = (
            ensemble.train(network, digits, range(10), theta=start, steps=n, **options)
            for n, start in ((1, theta.copy()), (60, theta.copy()))
        )
        before, after = hidden(theta), hidden(first.theta)
        read = 100 * np.median(last.accuracy[:, -1])
        return length(before), length(after - before), length(after), read

    short, tuned, long = map(run, (1 / 30, 1, 30))
    assert tuned[:2] == pytest.approx((1.4, 0.15), rel=0.05)
    assert (short[2], long[2]) == pytest.approx((4.5, 42), rel=0.1)
    said = r"are (\d+) of 100 images for the short start, (\d+) as tuned and (\d+)"
    said = [int(n) for n in re.search(said, ANSWER[13]).groups()]
    assert said == pytest.approx([short[3], tuned[3], long[3]], abs=1)
    yield rf"(4.5/1.4)^2\approx{(4.5 / 1.4) ** 2:.0f}$ times smaller, and {30**2} times"


def counts():
    rows = r"^\| (\w) \| (\d+) of (\d+) \| (\S+) \| (\S+) to (\S+) \|$"
    said = []
    for name, k, n, *given in re.findall(rows, ASKED[14], re.MULTILINE):
        found = estimates.share(np.arange(int(n)) < int(k))
        assert [f"{each:.2f}" for each in found] == given
        said.append(f"{name} {above(0.75).verdict(found)}")
    assert len(said) == 3
    yield f"1. {', '.join(said)}."
    yield f"Up to {100 * (1 - found.low):.0f} percent"


COMPUTED = {
    1: both_modes,
    2: three_gradients,
    3: batch_of_two,
    4: learned_epsilon,
    5: running_mean,
    6: copies,
    7: every_batch_twice,
    8: the_report,
    9: five_verdicts,
    10: a_fold,
    11: two_frameworks,
    12: homogeneous,
    13: thirty_times,
    14: counts,
}


@pytest.mark.parametrize("number", COMPUTED, ids=lambda n: COMPUTED[n].__name__)
def test_the_numbers_of_an_answer_are_those_of_the_package(number):
    for said in COMPUTED[number]():
        assert said in ANSWER[number], said


@pytest.mark.parametrize("number", sorted(set(ANSWER) - set(COMPUTED)))
def test_an_answer_that_nothing_computes_has_no_number(number):
    text = re.sub(r"^\d\. |`[^`]*`", "", ANSWER[number], flags=re.MULTILINE)
    assert set(re.findall(r"\d+", text)) <= set(re.findall(r"\d+", ASKED[number]))
