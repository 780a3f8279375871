"""Claims of the chapter on feature maps: what one mean per map is worth."""

import numpy as np

from batchnorm.claims.networks import (
    PERFECT,
    accuracies,
    points_ahead,
    testing_part,
    trained,
)
from batchnorm.claims.registry import identity
from batchnorm.claims.tuning import SWEEPS, best, versus
from batchnorm.ensemble import Recorder, evaluate

# ---------------------------------------------------------------------------
# What follows from the sharing

TESTS = "tests/unit/test_identities_feature_maps.py::"

identity(
    "shift-per-map",
    "With fixed statistics, one mean per feature map and circular padding, a layer "
    "that convolves and normalizes commutes with every shift of its input.",
    source="ioffe2015batch, section 3.2",
    test=f"{TESTS}test_one_mean_per_map_commutes_with_a_shift",
)
identity(
    "shift-per-activation",
    "With fixed statistics and one mean per activation, normalizing commutes with a "
    "shift of the feature maps if and only if scale and offset are the same at places "
    "that the shift takes into each other.",
    source="ioffe2015batch, section 3.2",
    test=f"{TESTS}test_what_one_mean_per_activation_adds_to_a_shift",
)
identity(
    "bias-before-normalization",
    "A bias that is added before batch normalization changes no output, and its "
    "gradient is zero.",
    source="ioffe2015batch, section 3.2",
    test=f"{TESTS}test_a_bias_before_normalization_does_nothing",
)

# ---------------------------------------------------------------------------
# A small convolutional network, trained


SWEEP = SWEEPS["cnn"]
PLAIN, PER_MAP = best("cnn", None), best("cnn", "batch")
PER_ACTIVATION, AFTER = best("cnn", "per-activation"), best("cnn", "batch", "after")


@points_ahead(
    "mean accuracy of steps 10 to 60, with less without",
    source="ioffe2015batch, section 4.2",
    **versus(SWEEP, PER_MAP, PLAIN),
)
def cnn_early_accuracy(seeds, *, first, second, **setting):
    """Over its first 60 steps, a small convolutional network is on average more
    accurate with batch normalization, learning rate and initial scale tuned for both.
    """
    with_it, without = (read(seeds, arm, **setting) for arm in (first, second))
    return with_it.mean(axis=1) - without.mean(axis=1)


@points_ahead(
    "accuracy after 60 steps, one mean per map less one per activation",
    id="per-map-accuracy",
    statement="On digits that all stand in the same place, the network is more "
    "accurate after 60 steps with one mean per feature map than with one per "
    "activation, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, sections 3.2 and 4.2.3",
    **versus(SWEEP, PER_MAP, PER_ACTIVATION),
)
@points_ahead(
    "accuracy after 60 steps, normalized before the ReLU less after it",
    id="order-with-nonlinearity",
    statement="The network is more accurate after 60 steps with batch normalization "
    "before the ReLU than after it, learning rate and initial scale tuned for both.",
    source="ioffe2015batch, section 3.2",
    **versus(SWEEP, PER_MAP, AFTER),
)
def final_difference(seeds, *, first, second, **setting):
    """How much more accurate one arm is than another after the last step."""
    a, b = (read(seeds, arm, **setting)[:, -1] for arm in (first, second))
    return a - b


def read(seeds, arm, *, steps, **setting):
    """Test accuracy of an arm at every tenth step but step 0 -> (S, steps / 10)."""
    recorder = Recorder(every=10)
    accuracy, _ = accuracies(seeds, arm, steps=steps, recorder=recorder, **setting)
    return accuracy[:, -(steps // 10) :]  # one column only if the arm is `PERFECT`


@points_ahead(
    "accuracy on digits moved by a pixel, one mean per map less one per activation",
    source="ioffe2015batch, section 3.2",
    # Planted is a loss by moving, in place of a rival that has learned less.
    **versus(SWEEP, PER_MAP, PER_ACTIVATION, first_by=1, second_by=1)
    | {"positive": {"second_by": 3}},
)
def per_map_accuracy_moved(seeds, *, first, second, first_by, second_by, **setting):
    """Trained on digits that all stand in the same place, the network reads digits
    moved by one pixel to either side better with one mean per feature map than with
    one per activation, learning rate and initial scale tuned for both."""
    return read_moved(seeds, first, first_by, **setting) - read_moved(
        seeds, second, second_by, **setting
    )


def read_moved(seeds, arm, by, *, net, **setting):
    """Final accuracy on test digits moved by so many pixels, mean of both sides."""
    if arm == PERFECT:
        return np.ones(len(seeds))
    run = trained(seeds, arm, net, recorder=Recorder(every=10), **setting)
    x, y = testing_part(seeds)
    scores = [
        evaluate(run.network, run.theta, moved(x, pixels), y, run.running)
        for pixels in (-by, by)
    ]
    return np.mean([score.accuracy for score in scores], axis=0)


def moved(x, pixels):
    """Images (..., 64) moved to the right, or left if negative, before blank paper."""
    columns = np.arange(8) - pixels
    kept = (columns >= 0) & (columns < 8)
    images = x.reshape(*x.shape[:-1], 8, 8)[..., columns.clip(0, 7)]
    return (images * kept).reshape(x.shape)
