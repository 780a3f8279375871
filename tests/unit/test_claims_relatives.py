"""Transformers that copy: the networks, their training and their arms."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from batchnorm.claims import copying, relatives
from batchnorm.claims.copying import Placed, tuned
from batchnorm.claims.protocol import TUNING_SEEDS


def alone(theta, lines, place):
    """One network, with torch's attention and norms, line by line."""
    sizes = [a * b for a, b in copying.shapes()]
    pairs = zip(theta.split(sizes), copying.shapes(), strict=True)
    letters, positions, *blocks, last = (w.reshape(shape) for w, shape in pairs)
    x = letters[lines] + positions

    def norm(h):
        if place == "none":
            return h
        if place == "batch":
            flat = F.batch_norm(h.flatten(0, 1), None, None, training=True)
            return flat.reshape(h.shape)
        return F.layer_norm(h, h.shape[-1:])

    def attend(h, query, key, value, out):
        parts = h @ query, h @ key, h @ value
        return F.scaled_dot_product_attention(*parts, is_causal=True) @ out

    for i in range(copying.BLOCKS):
        *heads, wide, narrow = blocks[6 * i : 6 * i + 6]
        for branch in (
            lambda h, heads=heads: attend(h, *heads),
            lambda h, a=wide, b=narrow: F.relu(h @ a) @ b,
        ):
            x = norm(x + branch(x)) if place == "post" else x + branch(norm(x))
    x = x if place == "post" else norm(x)
    return x[:, copying.WORD :] @ last


@pytest.mark.parametrize("place", ["post", "pre", "batch", "none"])
def test_each_network_is_that_of_torch(place):
    theta = copying.initial([3, 4])
    generators = [np.random.default_rng(seed) for seed in (5, 6)]
    lines, _ = copying.words(generators, 7)
    found = copying.logits(theta, lines, place)
    for k in range(2):
        expected = alone(theta[k], lines[k], place)
        torch.testing.assert_close(found[k], expected, rtol=1e-9, atol=1e-9)


def test_a_line_is_a_word_a_mark_and_the_word_but_its_last_letter():
    lines, told = copying.words([np.random.default_rng(0)], 5)
    word = copying.WORD
    assert lines.shape == (1, 5, copying.LENGTH)
    assert torch.equal(lines[..., :word], told)
    assert torch.equal(lines[..., word + 1 :], told[..., :-1])
    assert (lines[..., word] == copying.LETTERS).all()


def test_no_answer_sees_the_letters_behind_it():
    """But for batch normalization, which normalizes with them."""
    lines, _ = copying.words([np.random.default_rng(0)], 4)
    other = lines.clone()
    other[..., -1] = (other[..., -1] + 1) % copying.LETTERS
    theta = copying.initial([0])
    for place in ("post", "pre", "none", "batch"):
        before, after = (copying.logits(theta, x, place) for x in (lines, other))
        gap = (before - after)[:, :, :-1].abs().max()
        assert (gap > 1e-6) == (place == "batch"), place


def test_a_warm_up_of_one_step_is_none_and_a_network_is_its_own():
    """A network of an ensemble is that of its seed alone."""
    arm = Placed("post", 0.003)
    both = copying.run((7, 8), arm, 0.003, every=50)
    assert both.shape == (2, 2)
    np.testing.assert_allclose(copying.run((8,), arm, 0.003, every=50), both[1:])
    np.testing.assert_allclose(
        copying.run((7, 8), arm._replace(warm=1), 0.003, every=50), both
    )
    warmed = copying.run((7, 8), arm._replace(warm=25), 0.003, every=50)
    assert not np.array_equal(warmed, both)


def test_all_arms_are_tuned_on_one_grid_and_no_rate_is_on_its_edge():
    stored = json.loads(copying.FILE.read_text("utf-8"))
    assert set(stored) == {copying.key(arm) for arm in copying.ARMS}
    assert (np.diff(np.log10(copying.RATES)) < 0.51).all()
    for arm in copying.ARMS:
        found = stored[copying.key(arm)]
        assert len(found) == len(copying.RATES)
        rate = tuned(arm.place, arm.warm).rate
        assert rate not in (copying.RATES[0], copying.RATES[-1]), arm
        assert found[copying.RATES.index(rate)] == max(found)


def test_a_stored_accuracy_comes_out_again():
    arm = tuned("pre")
    found = copying.accuracies(TUNING_SEEDS, arm)[:, -1].mean()
    stored = copying.stored()[copying.key(arm)]
    assert found == pytest.approx(stored[copying.RATES.index(arm.rate)], abs=2e-3)


def test_the_ratio_of_last_gradients_has_the_exponent_of_a_power():
    """On gradients that are powers of the depth."""
    made = {"post": lambda depth: 3.0, "pre": lambda depth: 2 * depth**-0.4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            relatives, "gradients", lambda seed, place, depth: [made[place](depth)]
        )
        found = relatives.exponent(
            (1, 2), first="post", second="pre", depths=(2, 4, 8), draw=0
        )
    np.testing.assert_allclose(found, 0.4)
