"""What chapters 4 to 6, their claims and their errata say, against other oracles."""

import re

import numpy as np
import pytest
import torch
from claim_helpers import Page

from batchnorm import claims, layer, reference
from batchnorm.claims import transform
from booktools.notebooks import ROOT, chapters

PAGES = {path.stem: Page(path.stem) for path in chapters()[4:8]}
TEXTS = {name: page.prose for name, page in PAGES.items()} | {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "back/errata.md", "back/glossary.md")
}


# ------------------------------------------------------- statistics outside the step


def weights_behind(batch, steps, through=False, seeds=tuple(range(6))):
    u, targets = transform._data(seeds, 256)
    given = u, targets, 0.1, steps, batch
    return transform.descend_behind(seeds, *given, through=through)


def test_gamma_and_beta_stop_the_weight_on_the_full_batch_only():
    full, mini = weights_behind(256, 2000), weights_behind(16, 4000)
    np.testing.assert_allclose(full[2000], full[1000], rtol=1e-6)
    assert np.all((full[-1] > 1.4) & (full[-1] < 2.2))
    np.testing.assert_allclose(np.median(mini[1000]), 7.1, atol=0.3)
    np.testing.assert_allclose(np.median(mini[4000]), 14.1, atol=0.5)


def test_the_true_gradient_leaves_the_weight_where_it_is():
    np.testing.assert_allclose(weights_behind(16, 500, through=True), 0.7, rtol=1e-12)


def test_arms_without_the_effect_do_not_pass_as_weights_that_grow():
    entry = claims.get("weight-grows-behind-gamma-and-beta")
    setting = {**entry.setting, "batch": (16,)}
    predicted, _ = entry.measure((0, 1), **setting | {"steps": 10})
    assert predicted == pytest.approx((0.7**2 + 0.8 * 10 / 16 * 240 / 255) ** 0.5)
    predicted, measured = entry.measure(range(6), **setting)
    assert entry.judge(measured / predicted)[1] == "supported"
    for arm in (weights_behind(256, 1000), weights_behind(16, 100, through=True)):
        assert entry.judge(arm[-1:].T / predicted)[1] == "opposed"


def test_a_weight_that_has_to_fall_jumps_across_zero():
    rng = np.random.default_rng(0)
    u = rng.normal(size=256)
    targets = 2 * u + 1.5 + 0.5 * rng.normal(size=256)
    here = {"np": np, "u": u, "targets": targets}
    exec(PAGES["04_transform"].cell("a slope of 0.5").source, here)
    path = here["path"]
    assert all(np.diff(path) < 0)
    assert path[5] > 0 > -0.5 > path[6]


# ----------------------------------------------------------- the backward pass


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_of_squares_is_a_constant_for_every_gamma_and_beta(seed):
    rng = np.random.default_rng(seed)
    x, gamma, beta = rng.normal(3, 2, (32, 5)), *rng.uniform(-6, 6, (2, 5))
    y, cache = reference.forward(x, gamma, beta)
    share = cache.var / (cache.var + 1e-5)
    np.testing.assert_allclose(np.mean(y**2, 0), gamma**2 * share + beta**2)
    dx = reference.backward(2 * y, cache)[0]
    v = 1 / np.sqrt(cache.var + 1e-5)
    law = 2 * gamma**2 * v * (1 - share) * cache.x_hat
    np.testing.assert_allclose(dx, law, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_forgotten_path_leaves_is_orthogonal_to_the_truth(seed):
    x, dy = np.random.default_rng(seed).normal(size=(2, 8, 3))
    _, cache = reference.forward(x, None, None, eps=1e-30)
    dx, v = reference.backward(dy, cache)[0], 1 / np.sqrt(cache.var)
    through_mean = v * dy.mean(0)
    through_var = v * cache.x_hat * np.mean(dy * cache.x_hat, axis=0)
    for a, b in ((1, 0), (0, 1), (1, 1), (0, 2), (2, 2)):
        error = a * through_mean + b * through_var
        np.testing.assert_allclose(np.sum(error * dx, axis=0), 0, atol=1e-12)


def test_the_layer_returns_its_output_and_the_moments_it_met():
    x = torch.linspace(-1, 2, 12, dtype=torch.double).reshape(6, 2).requires_grad_()
    weight, bias = (torch.ones(2, dtype=torch.double) for _ in range(2))
    y, mean, rest, var = layer.BatchNormalizingTransform.apply(x, weight, bias, 1e-5)
    assert y.requires_grad
    assert not any(t.requires_grad for t in (mean, rest, var))
    torch.testing.assert_close(var, x.detach().var(0, correction=0))
    said = PAGES["06_backward_closed"].prose
    assert "returns $\\hat x$ and $v$ as outputs" not in said


def test_two_inputs_are_one_apart_from_their_mean_unless_they_are_equal():
    equal, _ = reference.forward(np.full((2, 1), 3.0), None, None, eps=1e-12)
    apart, _ = reference.forward(np.array([[3.0], [3.5]]), None, None, eps=1e-12)
    np.testing.assert_array_equal(equal, 0)
    np.testing.assert_allclose(apart.ravel(), [-1, 1])


def test_who_notices_statistics_without_gradient():
    names = "closed_form", "normalize", "train_neurons"
    train = PAGES["06_backward_closed"].defined(*names)["train_neurons"]
    with_both, grown = train(through=False, learned=True, size=1)
    assert with_both > 0.99
    assert 1.3 < grown[-1] < 2.2
    without, shrunk = train(through=False, learned=False, size=1)
    assert 0.6 < without < 0.8
    assert shrunk[-1] < 0.25
    assert train(through=True, learned=False, size=1)[0] > 0.99
    assert train(through=False, learned=False, size=3)[0] > 0.99


# ------------------------------------------------------------------- sentences


def sentences(text):
    text = re.sub(r"\s+", " ", text)
    return re.split(r"(?<=[.:;?|]) (?=[A-Z*|$(\[-])", text)


FALSE = {
    "γ and β stop the weight": r"growth stops|both stop(?!ped)(?!.*jitter)",
    "±1 even for equal inputs": r"the normalized values are \$\\pm1\$",
    "squares blind for γ = 1 only": r"as blind when|nearly as blind",
    "a hidden layer is hardly helped": r"in a hidden layer hardly any",
    "somebody says it, nobody knows who": r"[Oo]ften (?:said|recommended)|often made",
    "a fault that cannot be noticed": r"more or less the right way|without anybody",
}


@pytest.mark.parametrize("fault", FALSE)
def test_what_was_wrong_does_not_come_back(fault):
    for name, text in TEXTS.items():
        found = [s for s in sentences(text) if re.search(FALSE[fault], s)]
        assert not found, name


def test_that_weights_are_never_shorter_is_said_for_epsilon_zero():
    said = 0
    for name, text in TEXTS.items():
        for sentence in sentences(text):
            if re.search(r"never (?:shorten|shrink)|cannot fall", sentence):
                where = text.split("\n\n")
                (block,) = {b for b in where if sentence[-40:] in " ".join(b.split())}
                assert re.search(r"ε|\\epsilon", block), (name, sentence)
                said += 1
    assert said >= 4


@pytest.mark.parametrize("part", ["The transform", "The gradient"])
def test_an_erratum_quotes_with_a_place_or_asks(part):
    section = rf"^## {part}\n\n(.*?)(?=^## )"
    (text,) = re.findall(section, TEXTS["back/errata.md"], re.M | re.DOTALL)
    entries = re.findall(r"^(\S[^\n]*)\n: (.*?)(?=\n\n)", text, re.M | re.DOTALL)
    assert len(entries) >= 8
    for head, body in entries:
        if head.startswith('"'):
            assert len(head.split()) <= 25, head
            written = re.search(r"\*Written:\*(.{0,400})", body, re.DOTALL)
            assert re.search(r"\{cite|\]\(https://", written[1]), head
        else:
            assert head.endswith("?"), head
