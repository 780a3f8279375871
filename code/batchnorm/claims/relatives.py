"""Claims of the chapter on the relatives: batch sizes, and where a norm stands."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy, layer_norm

from batchnorm.claims import copying, tuning
from batchnorm.claims.copying import RIGHT, WARM, accuracies
from batchnorm.claims.networks import DRAWS, POINTS, final_accuracy, points_ahead
from batchnorm.claims.registry import experiment, identity
from batchnorm.claims.tuning import SWEEPS, tuned
from batchnorm.claims.types import above, within
from batchnorm.ensemble import Recorder, Rounded

# ---------------------------------------------------------------------------
# What follows from the axes

TESTS = "tests/unit/test_identities_relatives.py::"

identity(
    "one-line-for-all-relatives",
    "The gradient of a normalization is v (Pg − x̂ mean(g x̂)) with g = γ dy for every "
    "group of entries and every symmetric projection P that leaves x̂ as it is.",
    source="ba2016layer, section 3; zhang2019root, section 4",
    test=f"{TESTS}test_one_line_serves_every_projection",
)
identity(
    "invariances-of-the-relatives",
    "For ε = 0 weights times a > 0 change no output of batch, layer, group, instance "
    "or RMS normalization; one row times a > 0 changes none of the last four's; and a "
    "constant added to a row none of the three that center a row.",
    source="ba2016layer, section 5.1, table 1",
    test=f"{TESTS}test_invariances",
)
identity(
    "batch-norm-sees-the-future",
    "Normalized over examples and positions, an output depends on inputs at later "
    "positions; normalized over features, it does not.",
    source="wu2021rethinking, section 6",
    test=f"{TESTS}test_causality",
)

# ---------------------------------------------------------------------------
# The crossover with the batch size


# In batches of two a last bit decides the path: rounded, it is gone.
ROUNDED = Rounded(5)


def versus(sweep, first, second, **setting):
    """Fields of a claim that one norm is more accurate than another in a sweep."""
    arms = tuned(sweep, first), tuned(sweep, second)
    return tuning.versus(SWEEPS[sweep], *arms, **setting)


@points_ahead(
    "accuracy after 3200 images with batches of 32, batch less group normalization",
    id="batch-norm-before-group-at-32",
    statement="With mini-batches of 32, a network is more accurate after 3200 images "
    "with batch normalization than with group normalization, four groups of eight "
    "units, learning rate and initial scale tuned for both.",
    source="wu2018group, section 4.1",
    question="Does batch normalization lead group normalization at large batches?",
    **versus("crossover at 32", "batch", ("group", 4)),
)
@points_ahead(
    "accuracy after 3200 images with batches of 2, group less batch normalization",
    id="group-norm-at-batches-of-2",
    statement="With mini-batches of two, a network is more accurate after 3200 images "
    "with group normalization, four groups of eight units, than with batch "
    "normalization, learning rate and initial scale tuned for both.",
    source="wu2018group, section 4.1",
    question="Does group normalization win where a mini-batch has two examples?",
    **versus("crossover at 2", ("group", 4), "batch", optimizer=ROUNDED),
)
@points_ahead(
    "accuracy after 100 steps with batches of 32, batch less layer normalization",
    id="batch-norm-at-batches-of-32",
    statement="With mini-batches of 32, a network is more accurate after 100 steps "
    "with batch normalization than with layer normalization, learning rate and initial "
    "scale tuned for both.",
    source="wu2018group, section 4.1",
    question="Does batch normalization keep a lead where its batches are large?",
    **versus("batches of 32", "batch", "layer"),
)
@points_ahead(
    "accuracy after 300 steps with batches of 2, layer less batch normalization",
    id="layer-norm-at-batches-of-2",
    statement="With mini-batches of two, a network is more accurate after 300 steps "
    "with layer normalization than with batch normalization, learning rate and initial "
    "scale tuned for both.",
    source="wu2018group, section 4.1",
    question="Does layer normalization win where a mini-batch has two examples?",
    **versus("batches of 2", "layer", "batch", optimizer=ROUNDED),
)
def difference(seeds, *, first, second, net, steps, **options):
    """How much more accurate one arm is than another after the last step."""
    options |= {"steps": steps, "recorder": Recorder(every=steps)}
    return final_accuracy(seeds, first, net, **options) - final_accuracy(
        seeds, second, net, **options
    )


# ---------------------------------------------------------------------------
# Where the norm stands in a transformer


@experiment(
    "gradient of the last block's last weights, norm behind over norm before",
    above(1.5),
    source="xiong2020layer, section 3.3, theorem 1",
    setting={"first": "post", "second": "pre", "depth": 6, "draw": 0},
    # The same place twice, but for the draw of weights; a deeper network, in which
    # theory has the effect grow like the root of the depth.
    negative={"second": "post", "draw": 1},
    positive={"depth": 16},
    seeds=59,
    question="Do gradients near the output depend on where the norm stands?",
)
def post_norm_has_larger_last_gradients(seeds, *, first, second, depth, draw):
    """In an untrained transformer of six blocks the last block's gradient is larger
    with layer normalization behind each residual sum than at the start of each branch.
    """
    effects = [
        gradients(seed, first, depth)[-1]
        / gradients(seed + DRAWS * draw, second, depth)[-1]
        for seed in seeds
    ]
    return np.array(effects)


def attention(x, query, key, value, out):
    """Causal self-attention of one head, (N, L, d) -> (N, L, d)."""
    length, width = x.shape[1:]
    scores = (x @ query) @ (x @ key).mT / width**0.5
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -torch.inf), -1)
    return weights @ (x @ value) @ out


def gradients(seed, place, depth, width=24):
    """Length of the gradient of each block's last weights, at initialization."""
    rng = np.random.default_rng(seed)
    shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    shapes = [*shapes * depth, (width, 10)]
    weights = [rng.normal(size=s) / s[0] ** 0.5 for s in shapes]
    weights = [torch.tensor(w, requires_grad=True) for w in weights]
    x = torch.tensor(rng.normal(size=(4, 8, width)))
    for i in range(depth):
        *heads, wide, narrow = weights[6 * i : 6 * i + 6]
        for branch in (
            lambda h, heads=heads: attention(h, *heads),
            lambda h, a=wide, b=narrow: torch.relu(h @ a) @ b,
        ):
            if place == "post":
                x = layer_norm(x + branch(x), x.shape[-1:])
            else:
                x = x + branch(layer_norm(x, x.shape[-1:]))
    x = x if place == "post" else layer_norm(x, x.shape[-1:])
    labels = torch.tensor(rng.integers(10, size=x.shape[0] * x.shape[1]))
    loss = cross_entropy((x @ weights[-1]).flatten(0, 1), labels)
    found = torch.autograd.grad(loss, weights[5:-1:6])
    return [float(gradient.norm()) for gradient in found]


@experiment(
    "exponent of the number of blocks in that ratio",
    within(0.25, 0.75),
    id="last-gradients-part-with-depth",
    statement="From 2 to 16 blocks that ratio grows about like the root of the "
    "number of blocks: as a power of it between 1/4 and 3/4.",
    source="xiong2020layer, section 3.3, theorem 1",
    setting={"first": "post", "second": "pre", "depths": (2, 4, 8, 16), "draw": 0},
    # As above; and depths at which what theory leaves out has less weight.
    negative={"second": "post", "draw": 1},
    positive={"depths": (4, 8, 16, 32)},
    estimator="mean",
    seeds=29,
    question="How does the difference grow with the number of blocks?",
)
def exponent(seeds, *, first, second, depths, draw):
    """Slope of the logarithm of the ratio of last gradients over that of the depth."""
    ratios = [
        [
            gradients(seed, first, depth)[-1]
            / gradients(seed + DRAWS * draw, second, depth)[-1]
            for depth in depths
        ]
        for seed in seeds
    ]
    return np.polyfit(np.log(depths), np.log(np.transpose(ratios)), 1)[0]


# ---------------------------------------------------------------------------
# Where it stands while a transformer learns


def versus_placed(first, second):
    """Fields of a claim that one transformer copies better than another."""
    return {
        "setting": {"first": first, "second": second},
        # As in `versus`.
        "negative": {"second": first._replace(draw=1)},
        "positive": {"second": second._replace(rate=second.rate / 100)},
        "oracle": {"second": RIGHT},
        "estimator": "mean",
    }


COPIED = "share of letters copied after 100 steps"
SAME_RATE = copying.tuned("post")._replace(rate=copying.tuned("pre").rate)


@experiment(
    f"{COPIED}, norm before less norm behind",
    above(POINTS),
    id="pre-norm-copies-sooner",
    statement="A transformer of four blocks copies more after 100 steps of Adam with "
    "the norm at the start of each branch than behind each sum, the constant learning "
    "rate tuned for both.",
    source="xiong2020layer, section 4",
    question="Does pre-norm learn sooner, with each at the rate that is best for it?",
    **versus_placed(copying.tuned("pre"), copying.tuned("post")),
)
@experiment(
    f"{COPIED}, norm before less norm behind, at one rate",
    above(POINTS),
    id="pre-norm-copies-sooner-at-its-rate",
    statement="At the rate that is best for pre-norm a transformer copies less after "
    "100 steps with post-norm.",
    source="xiong2020layer, section 4",
    question="Does post-norm stand the rate that is best for pre-norm?",
    **versus_placed(copying.tuned("pre"), SAME_RATE),
)
@experiment(
    f"{COPIED}, norm behind, with warm-up less without",
    above(POINTS),
    id="warm-up-helps-post-norm",
    statement="With post-norm a transformer copies more after 100 steps if the rate "
    "grows from 0 over the first 25 of them, tuned with and without.",
    source="xiong2020layer, section 4",
    question="Does warm-up help post-norm, with each at the rate that is best for it?",
    **versus_placed(copying.tuned("post", WARM), copying.tuned("post")),
)
@experiment(
    f"{COPIED}, norm behind, with warm-up less without, at one rate",
    above(POINTS),
    id="warm-up-helps-post-norm-at-that-rate",
    statement="At the rate that is best for pre-norm, a transformer with post-norm "
    "copies more after 100 steps if the rate grows from 0 over the first 25 of them.",
    source="xiong2020layer, section 4",
    question="Does warm-up let post-norm stand the rate that is best for pre-norm?",
    **versus_placed(SAME_RATE._replace(warm=WARM), SAME_RATE),
)
@experiment(
    f"{COPIED}, norm before less norm behind with warm-up",
    above(POINTS),
    id="pre-norm-copies-sooner-than-with-warm-up",
    statement="A transformer copies more after 100 steps with pre-norm at a constant "
    "rate than with post-norm and warm-up, tuned for both.",
    source="xiong2020layer, section 4",
    question="Does warm-up close the gap between post-norm and pre-norm?",
    **versus_placed(copying.tuned("pre"), copying.tuned("post", WARM)),
)
@experiment(
    f"{COPIED}, layer less batch normalization",
    above(POINTS),
    id="layer-norm-copies-sooner-than-batch-norm",
    statement="A transformer copies more after 100 steps with layer normalization at "
    "the start of each branch than with batch normalization over all letters there, "
    "tuned for both and tested with the statistics of the test lines.",
    source="shen2020powernorm, section 3",
    question="Is it in learning that batch normalization is behind in a transformer?",
    **versus_placed(copying.tuned("pre"), copying.tuned("batch")),
)
def copied_more(seeds, *, first, second):
    """How much more of the words one transformer copies than another."""
    return accuracies(seeds, first)[:, -1] - accuracies(seeds, second)[:, -1]
