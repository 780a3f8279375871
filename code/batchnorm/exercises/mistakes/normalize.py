"""Mistakes in the transform: rows, feature maps, and one example (layer norm).

One program, `TRANSFORM`, over different axes. What can go wrong in its arithmetic is
`ARITHMETIC`, for all of them; what can go wrong with the axes follows, task by task.
"""

from dataclasses import replace

import numpy as np

from batchnorm.exercises.lines import Lines, Mistake, mistake

TRANSFORM = Lines(
    data=lambda x: x,
    axes=lambda: (0,),
    count=lambda data, axes: data.size // np.sum(data, axis=axes).size,
    mean=lambda data, axes: data.mean(axes, keepdims=True),
    deviation=lambda data, mean: data - mean,
    squares=lambda deviation, axes: (deviation**2).sum(axes, keepdims=True),
    divisor=lambda count: count,
    var=lambda squares, divisor: np.divide(squares, divisor),
    shifted=lambda var, eps: var + eps,
    std=lambda shifted: np.sqrt(shifted),
    centered=lambda data, mean: data - mean,
    x_hat=lambda centered, std: centered / std,
    scale=lambda gamma: gamma,
    shift=lambda beta: beta,
    scaled=lambda scale, x_hat: scale * x_hat,
    result=lambda scaled, shift: scaled + shift,
    y=lambda result: result,
)

# ---------------------------------------------------------------------------
# The arithmetic

VARIANCE = [
    mistake(
        "variance-unbiased",
        "The variance that normalizes is divided by m − 1; Algorithm 1 divides by m.",
        "torch.var and pandas divide by m − 1 unless told otherwise.",
        "All outputs shrink by the root of (m − 1)/m: 13 % at a batch of four.",
        "ch-inference-biased",
        "karpathy/nn-zero-to-hero#44",
        divisor=lambda count: count - 1,
    ),
    mistake(
        "one-pass-variance",
        "The variance is the mean of the squares less the squared mean: digits cancel.",
        "It is the same number on paper, and needs one pass over the data.",
        "Far from zero the variance comes out as 0, or negative: then NaN.",
        "ch-transform-practice",
        "google/flax#1491",
        squares=lambda data, mean, count, axes: (
            (data**2).sum(axes, keepdims=True) - count * mean**2
        ),
    ),
    mistake(
        "second-moment",
        "The variance is taken about zero: the mean is not subtracted before squaring.",
        "For data that is centered already it makes no difference.",
        "Channels far from zero are squeezed: their differences go down.",
        "ch-transform-algorithm",
        deviation=lambda data: data,
    ),
]

EPSILON = [
    mistake(
        "eps-missing",
        "ε is not added to the variance.",
        "Where the variance is 1, an ε of 0.00001 cannot be seen.",
        "A channel that is constant in one batch gives 0/0, and NaN spreads from it.",
        "ch-transform-epsilon",
        "chainer/chainer#2214",
        shifted=lambda var: var,
    ),
    mistake(
        "eps-default",
        "ε is fixed at 0.00001: the argument eps is not used.",
        "It is the usual value, so usual tests pass.",
        "A model trained with another ε gives other outputs where variances are small.",
        "ch-inference-frameworks",
        "PaddlePaddle/Paddle#5548",
        shifted=lambda var: var + 1e-5,
    ),
    mistake(
        "eps-outside-root",
        "ε is added to the standard deviation; it belongs inside the root.",
        "Either keeps the denominator away from zero.",
        "Channels of small variance are scaled otherwise than their gradient says.",
        "ch-transform-epsilon",
        "pytorch/pytorch#1804",
        std=lambda var, eps: np.sqrt(var) + eps,
    ),
    mistake(
        "divides-by-variance",
        "The root is missing: the variance divides in place of the standard deviation.",
        "Where the variance is near 1, so is its root.",
        "A channel of standard deviation σ comes out at 1/σ: nothing is normalized.",
        "ch-transform-algorithm",
        "jax-ml/jax#442",
        std=lambda shifted: shifted,
    ),
]

AFFINE = [
    mistake(
        "gamma-missing",
        "The scale γ is missing.",
        "γ starts at 1, so that nothing is seen before the first step of training.",
        "The network cannot choose the spread of a channel; γ never learns.",
        "ch-transform-algorithm",
        scaled=lambda x_hat: x_hat,
    ),
    mistake(
        "beta-missing",
        "The shift β is missing.",
        "β starts at 0, so that nothing is seen before the first step of training.",
        "Every channel keeps the mean 0: the layer cannot move a ReLU's threshold.",
        "ch-transform-algorithm",
        result=lambda scaled: scaled,
    ),
    mistake(
        "gamma-beta-swapped",
        "γ and β have changed places.",
        "Both are vectors of one length.",
        "With γ = 1 and β = 0 at the start every output is 1, whatever the input.",
        "ch-transform-algorithm",
        "qualcomm/aimet#85",
        scaled=lambda shift, x_hat: shift * x_hat,
        result=lambda scaled, scale: scaled + scale,
    ),
    mistake(
        "gamma-scales-beta",
        "γ multiplies β as well: the shift comes after the scale, not before.",
        "γ(x̂ + β) has the same parts as γx̂ + β.",
        "A channel whose γ goes to 0 loses its shift too.",
        "ch-transform-algorithm",
        result=lambda scaled, scale, shift: scaled + scale * shift,
    ),
]

CENTERING = [
    mistake(
        "mean-not-subtracted",
        "The mean is not subtracted from what is normalized.",
        "The spread is right, and for centered data so is everything.",
        "The mean of the layer before drifts through; large ones swamp the signal.",
        "ch-transform-algorithm",
        centered=lambda data: data,
    ),
    mistake(
        "multiplies-by-std",
        "The centered values are multiplied by the standard deviation, not divided.",
        "Where the standard deviation is near 1, both are the same.",
        "Large channels grow, small ones vanish, and more so with every layer.",
        "ch-transform-algorithm",
        "mosaicml/llm-foundry#371",
        x_hat=lambda centered, std: centered * std,
    ),
]

WRITES = Mistake(
    "writes-to-input",
    "The result is right, but an argument was written to: work on a copy.",
    "x -= mean saves a line and memory.",
    "Whoever holds the same array, a skip connection or the backward pass, reads junk.",
    "ch-transform-algorithm",
    "tenstorrent/tt-metal#45578",
    damage=lambda argument, *_: np.add(argument, 1, out=argument),
)

ARITHMETIC = [*VARIANCE, *EPSILON, *AFFINE, *CENTERING]

# ---------------------------------------------------------------------------
# Rows, (m, d)

EVERYTHING = mistake(
    "statistics-over-everything",
    "One mean and one variance serve all; each channel has its own.",
    "x.mean() without an axis runs, and broadcasts.",
    "Channels keep their different means and spreads: the problem is still there.",
    "ch-transform-algorithm",
    axes=lambda data: tuple(range(data.ndim)),
)

FORWARD = [
    mistake(
        "statistics-per-example",
        "The statistics are taken along each example; they belong along the batch.",
        "Axis 1 instead of 0 runs as well; it is layer normalization.",
        "Nothing depends on the batch any more, and features of one example mix.",
        "ch-transform-algorithm",
        axes=lambda: (1,),
    ),
    EVERYTHING,
    *ARITHMETIC,
    mistake(
        "not-normalized",
        "Nothing is normalized: γ and β are applied to x itself.",
        "Shapes fit, and the network runs.",
        "It is a layer of scales and shifts, and trains as one without normalization.",
        "ch-transform-algorithm",
        x_hat=lambda data: data,
    ),
    WRITES,
]

# ---------------------------------------------------------------------------
# Feature maps, (N, C, H, W)

MAPS = TRANSFORM.replaced(
    axes=lambda: (0, 2, 3),
    scale=lambda gamma: gamma[:, None, None],
    shift=lambda beta: beta[:, None, None],
)

FEATURE_MAPS = [
    mistake(
        "per-activation",
        "Each pixel has a mean of its own; all pixels of a feature map share one.",
        "Axis 0 is the batch, as for a matrix.",
        "A shifted image no longer gives a shifted output; each mean sees few values.",
        "ch-convolution-elements",
        "Nico-Curti/NumPyNet#7",
        axes=lambda: (0,),
    ),
    mistake(
        "per-image",
        "Each image has a mean of its own; all images of the batch share one.",
        "It is instance normalization, and the output looks normalized.",
        "How bright a map is in one image against others is erased.",
        "ch-convolution-elements",
        "apache/tvm#18609",
        axes=lambda: (2, 3),
    ),
    mistake(
        "per-example",
        "All maps of an example share a mean; each feature map has its own.",
        "It is layer normalization, and the output looks normalized.",
        "Differences between maps stay, and the batch plays no part.",
        "ch-convolution-elements",
        axes=lambda: (1, 2, 3),
    ),
    replace(
        EVERYTHING,
        section="ch-convolution-elements",
        source="ap229997/Conditional-Batch-Norm#5",
    ),
    mistake(
        "channels-last",
        "The last axis is taken for the channels; here they are on axis 1.",
        "Other frameworks keep the channels last.",
        "Each column of the images has a mean of its own, mixed over all feature maps.",
        "ch-convolution-axis",
        "intel/ipex-llm#2981",
        axes=lambda: (0, 1, 2),
    ),
    mistake(
        "reshape-mixes-channels",
        "reshape(-1, C) without a transpose cuts the maps up and mixes channels.",
        "The shape is right: as many rows as pixels, C columns.",
        "Statistics belong to no map, and γ scales neighboring pixels differently.",
        "ch-convolution-axis",
        data=lambda x: x.reshape(-1, x.shape[1]),
        axes=lambda: (0,),
        scale=lambda gamma: gamma,
        shift=lambda beta: beta,
        y=lambda result, x: result.reshape(x.shape),
    ),
    mistake(
        "reshape-back-mixes",
        "The rows are right, but reshaped to (N, C, H, W) without a transpose back.",
        "The shape is right, and mean and deviation over all are too.",
        "Values end up in other maps and at other places than they came from.",
        "ch-convolution-axis",
        data=lambda x: x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1]),
        axes=lambda: (0,),
        scale=lambda gamma: gamma,
        shift=lambda beta: beta,
        y=lambda result, x: result.reshape(x.shape),
    ),
    mistake(
        "divided-by-images",
        "The sum of squares is divided by the number of images, not of pixels too.",
        "m is the size of the batch in Algorithm 1.",
        "The variance is H·W times too large, and all outputs are almost β.",
        "ch-convolution-elements",
        divisor=lambda x: len(x),
    ),
    mistake(
        "between-images-missing",
        "The variance is the mean of the images' own; what lies between is missing.",
        "The mean of the images' means is the right mean.",
        "The variance is too small wherever images differ in brightness.",
        "ch-convolution-elements",
        deviation=lambda data: data - data.mean((2, 3), keepdims=True),
    ),
    *ARITHMETIC,
    WRITES,
]

# ---------------------------------------------------------------------------
# One example at a time: layer normalization, (m, d)

EXAMPLES = TRANSFORM.replaced(axes=lambda: (1,))

LAYER_NORM = [
    mistake(
        "statistics-over-batch",
        "The statistics are taken over the batch; here each example has its own.",
        "Axis 0 is what batch normalization does.",
        "An example's output depends on its companions; at a batch of one it is β.",
        "ch-relatives-axes",
        axes=lambda: (0,),
    ),
    replace(
        EVERYTHING,
        says="One mean and one variance serve all; here each example has its own.",
        training="Examples keep their different spreads, and depend on each other.",
        section="ch-relatives-axes",
    ),
    *ARITHMETIC,
    mistake(
        "rms-in-place-of-std",
        "No mean is subtracted anywhere: this is RMS normalization.",
        "It is cheaper, and trains about as well.",
        "A constant added to all features of an example no longer drops out.",
        "ch-relatives-axes",
        centered=lambda data: data,
        deviation=lambda data: data,
        joins=("mean-not-subtracted", "second-moment"),
    ),
    WRITES,
]
