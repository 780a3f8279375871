"""Where a verdict sends a reader: to a section that is there, and has the fault in it.

Beside each mistake stand words of its section that say how it is done rightly, or
what is wrong with it. A mistake that is added needs some too.
"""

import re
from textwrap import indent

import pytest

from batchnorm import graph
from batchnorm.exercises import diagnose
from batchnorm.exercises.graded import KNOWN
from batchnorm.exercises.mistakes.graph import SHOWN
from batchnorm.exercises.sections import SECTIONS
from booktools.notebooks import chapters, read

MEAN, SPREAD = r"\mu_{\mathcal B}", r"\sqrt{\sigma^2_{\mathcal B}+\epsilon}"
LAST = r"y_i=\gamma\,\hat x_i+\beta"
COVARIANCE = r"\frac1m(X-\mu)^\top(X-\mu)=C"
ROOT = r"W_{\mathrm{ZCA}}=U\Lambda^{-1/2}U^\top"
MERGED = r"\sigma^2=\frac1n\sum_k n_k\bigl(\sigma_k^2+(\mu_k-\mu)^2\bigr)"
FOLDED = r"b'_c=\beta_c+\frac{\gamma_c}{\sqrt{\sigma_c^2+\epsilon}}\,(b_c-\mu_c)"
MATRIX = r"dx=\gamma v\,B\,dy"
POPULATION = r"y=\gamma\,\frac{x-\mathrm E[x]}{\sqrt{\mathrm{Var}[x]+\epsilon}}+\beta"
MOVING = r"\mu\leftarrow(1-w)\,\mu+w\,\mu_{\mathcal B}"
RELATED = r"dx=v\,\Bigl(P\,g-\hat x\,\frac1n\sum_j g_j\,\hat x_j\Bigr)"
SHARED = r"\mu_c=\frac1{m'}\sum_{n,h,w}x_{nchw}"
DGAMMA = r"d\gamma=\sum_i dz_i\,\hat x_i"
SHIFTED = "What is left, $d=x-s$, has a mean of its own"
REDRAWN = "Each unit draws a mean $\\mu$ and a factor $\\sigma$ at each step"

EXPLAINED = {
    "ch-whitening-columns": {"standardized-only": "What remains is the correlation"},
    "ch-whitening-together": {
        "pca-for-zca": "{term}`ZCA whitening` then turns back",
        "pca-not-rescaled": "rescales each axis",
        "not-centred": "$(X-\\mu)W$ has covariance",
        "covariance-not-centred": COVARIANCE,
        "covariance-unbiased": COVARIANCE,
        "covariance-by-features": COVARIANCE,
        "variance-in-place-of-std": ROOT,
        "multiplied-by-std": ROOT,
        "cholesky-for-zca": "of all matrices that whiten given data, it moves them",
        "rotated": "of all matrices that whiten given data, it moves them least",
    },
    "ch-transform-outside": {"mean-constant": "With the mean held constant"},
    "ch-transform-scale-outside": {"variance-constant": "hold both statistics const"},
    "ch-transform-algorithm": {
        "statistics-per-example": "the mean of each feature",
        "statistics-over-everything": "each of the $d$ features",
        "one-spread-for-all": "each of the $d$ features",
        "second-moment": rf"(x_i-{MEAN})^2",
        "about-running-mean": rf"(x_i-{MEAN})^2",
        "variance-about-zero": rf"(x_i-{MEAN})^2",
        "divides-by-variance": SPREAD,
        "multiplies-by-std": SPREAD,
        "mean-not-subtracted": rf"\frac{{x_i-{MEAN}}}",
        "not-normalized": rf"\hat x_i=\frac{{x_i-{MEAN}}}{{{SPREAD}}}",
        "gamma-missing": LAST,
        "beta-missing": LAST,
        "gamma-beta-swapped": LAST,
        "gamma-scales-beta": LAST,
        "writes-to-input": "`x -= mean` would change the array",
    },
    "ch-transform-companions": {"nothing-left": "Of a batch of one nothing is left"},
    "ch-transform-epsilon": {
        "eps-missing": "$\\epsilon$ does more than guard against division by zero",
        "eps-outside-root": "The constant $\\epsilon$ stands under the root",
    },
    "ch-transform-practice": {"one-pass-variance": "{term}`one-pass variance`"},
    "ch-backward-scale": {
        "dgamma-from-x": DGAMMA,
        "dgamma-from-centered": DGAMMA,
        "dgamma-dbeta-swapped": DGAMMA,
        "gamma-in-parameter-gradients": DGAMMA,
        "parameter-gradients-averaged": "so its gradient is the sum",
        "parameter-gradients-not-summed": "so its gradient is the sum",
        "parameter-gradients-keep-axis": ".sum(axis=0)",
        "parameter-gradients-over-everything": ".sum(axis=0)",
        "parameters-averaged": "so its gradient is the sum",
        "parameters-by-example": "The one $\\gamma$ serves all examples",
        "parameters-over-features": "The one $\\gamma$ serves all examples",
    },
    "ch-backward-inverse": {
        "power-of-root": r"d\sigma_\epsilon=-\frac{dv}{\sigma_\epsilon^2}",
        "eps-missing-in-inverse": r"d\sigma_\epsilon=-\frac{dv}{\sigma_\epsilon^2}",
        "eps-missing-in-both": r"d\sigma_\epsilon=-\frac{dv}{\sigma_\epsilon^2}",
    },
    "ch-backward-root": {
        "half-missing": r"d\sigma^2=\frac{d\sigma_\epsilon}{2\sigma_\epsilon}",
        "eps-missing-in-root": r"here at $u=\sigma^2+\epsilon$",
    },
    "ch-backward-variance": {"variance-term-summed": r"ds_i=\frac{d\sigma^2}{m}"},
    "ch-backward-square": {"two-missing": r"dc_i^{(2)}=2c_i\,ds_i"},
    "ch-backward-mean": {"mean-term-summed": r"dx_i^{(2)}=\frac{d\mu}{m}"},
    "ch-backward-hunt": {"direct-path-missing": "`dc = dc_2`"},
    "ch-closed-form-two-lines": {
        "wrong-sign-mean": r"B=P-\frac1m\,\hat x\hat x^\top",
        "wrong-sign-variance": r"B=P-\frac1m\,\hat x\hat x^\top",
        "x_hat-from-y": r"B=P-\frac1m\,\hat x\hat x^\top",
        "gamma-missing": MATRIX,
        "std-missing": MATRIX,
        "variance-in-place-of-std": MATRIX,
    },
    "ch-closed-form-code": {
        "sum-in-place-of-mean": "the two means of the closed form are $d\\beta/m$"
    },
    "ch-closed-form-practice": {
        "statistics-constant": "backpropagation through mean and variance",
        "inference-gradient": "`torch.no_grad()`",
    },
    "ch-convolution-elements": {
        "per-activation": "one mean for each activation",
        "per-image": "over examples and places alike",
        "per-example": "takes one per *channel*",
        "statistics-over-everything": SHARED,
        "divided-by-images": r"$m'=N\cdot H\cdot W$",
        "between-images-missing": "lies *between* the means of images",
    },
    "ch-convolution-axis": {
        "channels-last": "put them last",
        "reshape-mixes-channels": "`reshape` moves nothing",
        "reshape-back-mixes": "Transpose before it and after it",
    },
    "ch-inference-constants": {
        "batch-statistics-used": "the paper replaces both by constants",
        "batch-mean-used": "the paper replaces both by constants",
        "batch-variance-used": "the paper replaces both by constants",
        "mean-var-swapped": POPULATION,
        "mean-added": POPULATION,
    },
    "ch-inference-layer": {
        "running-statistics-used": "takes the statistics from the batch",
        "graph-kept": "would hold the graph of all batches before it",
        "statistics-not-saved": "would not be saved with the model",
        "eps-stored": "self.running_var.lerp_(x.var(0), self.momentum)",
    },
    "ch-inference-algorithm": {
        "corrected-again": r"\mathrm{Var}[x]\leftarrow\frac{m}{m-1}",
    },
    "ch-inference-factor": {
        "corrected-twice": "so $\\sigma^2_{\\mathcal B}$ is too small, by the factor",
        "correction-inverted": "so $\\sigma^2_{\\mathcal B}$ is too small, by the fac",
    },
    "ch-inference-exact": {
        "unweighted": r"\mu=\frac1n\sum_k n_k\mu_k",
        "mean-unweighted": r"\mu=\frac1n\sum_k n_k\mu_k",
        "within-unweighted": MERGED,
        "between-shards-missing": MERGED,
        "within-shards-missing": MERGED,
        "distance-not-squared": MERGED,
        "std-averaged": MERGED,
        "sums-in-place-of-means": MERGED,
        "unbiased-total": "mean and biased variance, merge without loss",
        "count-of-shards": "with its count $n_k$",
        "last-shard-left-out": "{term}`Shards <shard>` of any size",
        "between-parts-missing": MERGED,
        "parts-unweighted": MERGED,
        "parts-apart": MERGED,
        "parts-std": MERGED,
        "parts-std-and-between": MERGED,
        "parts-std-with-eps": MERGED,
        "parts-unbiased": "mean and biased variance, merge without loss",
        "squares-not-divided": MERGED,
        "variance-for-squares": MERGED,
    },
    "ch-inference-lag": {
        "old-forgotten": MOVING,
        "no-decay": MOVING,
        "mean-not-updated": "initial value, 0 for the mean",
        "variance-not-updated": "0 for the mean and 1 for the variance",
        "never-updates": "initial value, 0 for the mean and 1 for the variance",
    },
    "ch-inference-biased": {
        "variance-unbiased": "*normalizes* a mini-batch with the biased one",
        "variance-biased": "*stores* the unbiased one",
    },
    "ch-inference-frameworks": {
        "eps-default": "the default of $\\epsilon$",
        "momentum-swapped": "0.1 in PyTorch and 0.9 in ONNX are the same update",
        "std-averaged": "var = (1 - w) * var + w * new_var",
    },
    "ch-inference-folding": {
        "bias-unscaled": FOLDED,
        "bias-dropped": FOLDED,
        "mean-dropped": FOLDED,
        "mean-unscaled": FOLDED,
        "mean-added": FOLDED,
        "beta-missing": FOLDED,
        "beta-scaled": FOLDED,
        "gamma-missing": FOLDED,
        "root-missing": FOLDED,
        "eps-missing": FOLDED,
        "eps-outside-root": FOLDED,
        "eps-default": "$\\epsilon$ is the layer's own, not a default",
        "wrong-axis": "on axis 1 of the weight, not on axis 0",
        "weight-not-scaled": r"W'_c=\frac{\gamma_c}{\sqrt{\sigma_c^2+\epsilon}}\,W_c",
    },
    "ch-inference-no-grad": {
        "updates-in-eval": 'print(f"in {mode}(): mean before',
        "mode-from-gradient": "`torch.no_grad()` stops gradients, not buffers",
    },
    "ch-why-shift": {
        "both-parts": "each value of the unit then gets a shift",
        "value-part-alone": "each value of the unit then gets a shift",
        "each-value": REDRAWN,
        "each-example": REDRAWN,
        "one-for-all-units": REDRAWN,
        "one-draw": REDRAWN,
        "same-at-each-step": REDRAWN,
        "generator-not-used": REDRAWN,
        "arrays": REDRAWN,
        "swapped": r"$\mu\sim U(-\tfrac12,\tfrac12)$ and $\sigma\sim U(1,\tfrac54)$",
        "factor-around-zero": r"$\sigma\sim U(1,\tfrac54)$",
        "factor-on-both-sides": r"$\sigma\sim U(1,\tfrac54)$",
        "factor-missing": r"$\sigma\sim U(1,\tfrac54)$",
        "shift-of-one-sign": r"$\mu\sim U(-\tfrac12,\tfrac12)$",
        "shift-missing": r"$\mu\sim U(-\tfrac12,\tfrac12)$",
        "four-times-as-strong": "the noise four times as strong",
    },
    "ch-relatives-axes": {
        "statistics-over-batch": "{term}`layer normalization`",
        "statistics-over-everything": "{term}`layer normalization`",
        "rms-in-place-of-std": "{term}`RMS normalization`",
        "one-group": "one example, all channels, all pixels",
        "each-channel": "one example, one channel, all pixels",
        "over-the-batch": "one example, $C/G$ channels, all pixels",
        "channels-dealt": "split = maps.reshape(3, 2, 3, 4, 5)  # two groups of three",
    },
    "ch-relatives-gradient": {
        "gamma-in-front": "$\\gamma$ has to meet $dy$ *before* the means",
        "mean-constant": RELATED,
        "variance-constant": RELATED,
        "statistics-constant": RELATED,
        "sum-in-place-of-mean": RELATED,
        "gradient-means-over-batch": RELATED,
        "wrong-sign-mean": RELATED,
        "wrong-sign-variance": RELATED,
        "x_hat-from-y": RELATED,
        "gamma-missing": "with $g=\\gamma\\,dy$",
        "std-missing": RELATED,
        "variance-in-place-of-std": RELATED,
    },
    "ch-workers-own": {"statistics-local": "Worker $k$ computes a loss in which they"},
    "ch-workers-forward": {
        "statistics-unweighted": r"\mu=\frac1n\sum_k n_k\,\mu_k",
        "between-shards-missing": r"n_k(\mu_k-\mu)^2",
    },
    "ch-workers-backward": {
        "sums-local": "that way leads to the rows of the other workers too",
        "count-local": r"\frac1n\sum_{j}dy_j\,\hat x_j",
        "shards-unweighted": r"\frac1n\sum_{j}dy_j\,\hat x_j",
        "mean-constant": r"what is left of the way through $\mu$ and $\sigma^2$",
        "variance-constant": r"what is left of the way through $\mu$ and $\sigma^2$",
        "gamma-missing": r"dx_i=\gamma v\,\Bigl(dy_i",
    },
    "ch-workers-average": {
        "parameter-gradients-averaged": "are sums over rows",
        "parameter-gradients-local": "each worker leaves them",
    },
    "ch-machine-variance": {
        "mean-of-the-shifted": "subtract before squaring",
        "variance-about-the-first": SHIFTED,
        "first-for-mean": SHIFTED,
        "first-for-both": SHIFTED,
    },
}

# The equation of each node: what a mistake there has instead.
AT_NODE = {
    "d_z": "dz_i=dy_i",
    "d_beta": r"d\beta=\sum_i dy_i",
    "d_gamma": DGAMMA,
    "d_x_hat": r"d\hat x_i=\gamma\,dz_i",
    "d_v": r"dv=\sum_i d\hat x_i\,c_i",
    "d_c_1": r"dc_i^{(1)}=v\,d\hat x_i",
    "d_std": r"d\sigma_\epsilon=-\frac{dv}{\sigma_\epsilon^2}",
    "d_var": r"d\sigma^2=\frac{d\sigma_\epsilon}{2\sigma_\epsilon}",
    "d_s": r"ds_i=\frac{d\sigma^2}{m}",
    "d_c_2": r"dc_i^{(2)}=2c_i\,ds_i",
    "d_c": r"dc_i=dc_i^{(1)}+dc_i^{(2)}",
    "d_x_1": "dx_i^{(1)}=dc_i",
    "d_mu": r"d\mu=-\sum_i dc_i",
    "d_x_2": r"dx_i^{(2)}=\frac{d\mu}{m}",
    "d_x": "dx_i=dx_i^{(1)}+dx_i^{(2)}",
}

HEADING = re.compile(r"^\(([\w-]+)\)=\n(#+) (.*)$", re.MULTILINE)
MISTAKES = [
    pytest.param(task, mistake, id=f"{name}-{mistake.id}")
    for name, task in KNOWN.items()
    for mistake in (*task.mistakes, *task.shown)
]


def sections():
    """Of each labeled section: number of the chapter, depth, title, and text with code.

    A section has its subsections in it, and none of the exercises.
    """
    found = {}
    for path in chapters():
        text = "\n\n".join(
            cell.source if cell.cell_type == "markdown" else indent(cell.source, "    ")
            for cell in read(path).cells
        )
        text = text.split("\n## Exercises")[0]
        for heading in HEADING.finditer(text):
            label, hashes, title = heading.groups()
            rest = text[heading.end() :]
            end = re.search(rf"^#{{1,{len(hashes)}}} \S", rest, re.MULTILINE)
            body = rest[: end.start()] if end else rest
            found[label] = (int(path.name[:2]), len(hashes), title, body)
    return found


@pytest.fixture(scope="module")
def book():
    return sections()


def test_a_section_is_what_it_is_called_and_no_whole_chapter(book):
    for label, words in SECTIONS.items():
        chapter, depth, title, _ = book[label]
        number, said = re.fullmatch(r"chapter (\d+), (.*)", words).groups()
        assert int(number) == chapter, label
        assert depth > 1, f"{label} is a whole chapter"
        whole, said = title.replace('"', ""), said.strip("“”")
        assert whole == said or whole.startswith(f"{said},"), label


def test_every_section_is_pointed_at():
    used = {mistake.section for _, mistake in (param.values for param in MISTAKES)}
    assert used == SECTIONS.keys()


@pytest.mark.parametrize(("task", "mistake"), MISTAKES)
def test_a_verdict_points_at_a_section_that_has_the_fault_in_it(book, task, mistake):
    if task.answer:
        words = AT_NODE[task.name.removeprefix("graph.")]
    else:
        words = EXPLAINED[mistake.section][mistake.id]
    text = " ".join(book[mistake.section][-1].split())
    assert " ".join(words.split()) in text


def test_a_verdict_ends_with_its_section_and_one_mark():
    task = KNOWN["forward"]
    named = {mistake.id: task.planted(mistake) for mistake in task.mistakes}
    ends = {
        "variance-unbiased": "Read chapter 10, Biased or unbiased?",
        "eps-outside-root": "Read chapter 4, What ε is for.",
    }
    for id, end in ends.items():
        assert diagnose("forward", named[id]).message.endswith(f"\n{end}")


def test_every_node_has_its_equation():
    assert AT_NODE.keys() == {SHOWN.get(n, n) for n in graph.Gradients._fields[1:]}
