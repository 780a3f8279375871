"""Less memory, less time: what is made again, undone, kept or folded away."""

from batchnorm import _checks
from batchnorm.cost.counts import Cost, extents, of_pass, sizes, widths


def recompute(shape, dtype):
    r"""Cost of making the output of layer and ReLU again, from x and its statistics.

    .. math:: z_i = \max(0,\ (x_i - \mu)\,(\gamma v) + \beta)

    Reads n activations and 4 C numbers per channel, writes n; 4 n + C operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    References
    ----------
    Rota Bulò, Porzi and Kontschieder (2018), section 3, on checkpointing.
    """
    return of_pass(shape, dtype, reads=(1, 4), writes=(1, 0), operations=(4, 1))


def in_place_backward(shape, dtype):
    r"""Cost of the backward pass from the output z of a leaky ReLU, without x.

    A leaky ReLU can be undone, and so can the affine map where gamma is not zero:

    .. math::

       y_i = z_i \text{ or } z_i/a, \quad dy_i = dz_i \text{ or } a\,dz_i, \quad
       \hat x_i = (y_i - \beta)/\gamma

    5 n operations in each of two readings; sums 3 n, dx 4 n, and 4 C per channel.
    Reads 4 n activations and 3 C numbers per channel (gamma, beta and v), writes n and
    2 C; 17 n + 4 C operations.

    Parameters
    ----------
    shape, dtype
        As in `forward`.

    Returns
    -------
    Cost

    References
    ----------
    Rota Bulò, Porzi and Kontschieder (2018), section 3.
    """
    return of_pass(shape, dtype, reads=(4, 3), writes=(1, 2), operations=(17, 4))


def stored(shape, dtype, *, scheme="kept"):
    """Bytes that wait from the forward to the backward pass, of layer and ReLU.

    =============  ===========================================  ===============
    scheme         what waits                                   bytes
    =============  ===========================================  ===============
    ``kept``       x, the output z for the next layer, mean, v  2 n s + 2 C v
    ``recompute``  x, mean, v; z is made again                  n s + 2 C v
    ``in place``   z, v; x is never needed                      n s + C v
    =============  ===========================================  ===============

    Parameters
    ----------
    shape, dtype
        As in `forward`.
    scheme : {"kept", "recompute", "in place"}
        What is kept.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        As in `forward`, and if there is no such scheme.
    """
    n, channels, s, v = sizes(shape, dtype)
    tensors = {"kept": (2, 2), "recompute": (1, 2), "in place": (1, 1)}
    maps, vectors = tensors[_checks.one_of("scheme", scheme, tuple(tensors))]
    return maps * n * s + vectors * channels * v


def fold(shape, dtype):
    r"""Cost of folding the layer into the weight before it, once and for all.

    .. math::

       g_c = \gamma_c/\sqrt{\sigma_c^2 + \epsilon}, \quad W'_c = g_c W_c, \quad
       b'_c = (b_c - \mu_c)\,g_c + \beta_c

    Reads and writes W and b, and reads 4 C numbers per channel; one operation for each
    weight and 7 C. A call of the network then has no normalization, and no cost for it.

    Parameters
    ----------
    shape : tuple of int
        Of the weight, the output channels first.
    dtype
        Of the weight.

    Returns
    -------
    Cost
    """
    s, v = widths(dtype)
    size, channels = extents(shape)
    moved = (size + channels) * s
    return Cost(moved + 4 * channels * v, moved, size + 7 * channels)
