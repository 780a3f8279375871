"""The data of the book: digits, used cars, shifted sets, MNIST.

Every draw comes from ``numpy.random.default_rng(seed)``, so a seed gives the same
data on every machine. Images are rows of pixels in channel, row, column order;
``split.images(x)`` shapes them for a convolution.
"""

import gzip
import hashlib
import os
import tempfile
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

# --------------------------------------------------------------------------- splits


@dataclass(frozen=True)
class Split:
    """A classification set, divided into a part to train on and a part to test on.

    Symbols: ``x_train`` (n, d) and ``x_test`` (n', d), pixels in [0, 1];
    ``y_train`` (n,) and ``y_test`` (n',), integer classes; ``shape`` the shape of
    one example, ``d = prod(shape)``.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    shape: tuple[int, ...]

    def images(self, x: np.ndarray) -> np.ndarray:
        """Rows of pixels (n, d) as images (n, C, H, W); a view, not a copy."""
        return x.reshape(-1, *self.shape)


@dataclass(frozen=True)
class Shift(Split):
    """A split with a third part, drawn from another distribution: the target.

    Symbols: as in ``Split``, where train and test share one distribution;
    ``x_target`` (n'', d) and ``y_target`` (n'',) come from the shifted one.
    """

    x_target: np.ndarray
    y_target: np.ndarray


# The digits stand in the file sheet by sheet: each writer filled in the same form,
# which begins 0123456789 0123456789. A sheet begins at each of these rows but the last.
SHEETS = (
    0,
    130,
    256,
    386,
    516,
    646,
    776,
    906,
    1029,
    1157,
    1287,
    1415,
    1545,
    1667,
    1797,
)
TUNING_SHEETS = (1, 3, 5, 7, 9, 11)  # settings are chosen on these
REPORTED_SHEETS = (0, 2, 4, 6, 8, 10, 12, 13)  # and everything else is seen on these


@cache
def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # slow to import, so only when asked

    digits = load_digits()
    # Gray levels are 0..16, so the division is exact.
    x, y = digits.data / 16.0, digits.target.astype(np.int64)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def digits(seed: int) -> Split:
    """8×8 handwritten digits of writers apart: 768 to train, 250 to test.

    A writer's digits look alike, so a split by image tests on hands that were learned
    from: here ``seed`` draws two of eight sheets to test on and trains on the other
    six. No image of them is one that a setting was chosen on (`digits_to_tune`).

    Parameters
    ----------
    seed : int

    Returns
    -------
    Split
        float64 pixels in [0, 1], ten classes, shape (1, 8, 8).

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; the
    1797 images that scikit-learn ships.
    """
    return _by_sheet(seed, REPORTED_SHEETS, tested=2, sizes=(768, 250))


def digits_to_tune(seed: int) -> Split:
    """Digits of six other sheets, to choose settings on: 639 to train, 123 to test.

    Parameters
    ----------
    seed : int

    Returns
    -------
    Split
        As `digits`; one sheet is tested on and five train.
    """
    return _by_sheet(seed, TUNING_SHEETS, tested=1, sizes=(639, 123))


def _by_sheet(seed, sheets, tested, sizes):
    """A split whose test part is ``tested`` whole sheets, both cut to their sizes."""
    x, y = _all_digits()
    rng = np.random.default_rng(seed)
    rows = [np.arange(SHEETS[i], SHEETS[i + 1]) for i in rng.permutation(sheets)]
    # Sheets differ by some images, and all seeds are to have parts of one size.
    test = rng.permutation(np.concatenate(rows[:tested]))[: sizes[1]]
    train = rng.permutation(np.concatenate(rows[tested:]))[: sizes[0]]
    return Split(x[train], y[train], x[test], y[test], (1, 8, 8))


# ------------------------------------------------------------------------ used cars


@dataclass(frozen=True)
class UsedCars:
    """Made-up offers: ``x`` (n, 2) is age in years and km driven, ``y`` (n,) the price.

    The price is in euros; ``names`` are the labels of the two columns of ``x``.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, str] = ("age in years", "km driven")


def used_cars(seed: int, n: int = 500) -> UsedCars:
    """Draw ``n`` used cars whose two features differ in scale by four orders.

    ``age ~ U(1, 12)``, ``km = 13000 · age · exp(N(0, 0.5²))`` and
    ``price = 28000 · exp(−0.11 · age − 2.5e-6 · km + N(0, 0.15²))``, so that age and
    km are correlated (about 0.64) as they are on a real market.

    Raises ``ValueError`` if ``n`` is below 3, which leaves no line to fit.
    """
    if n < 3:
        raise ValueError(f"n must be at least 3, got {n}")
    rng = np.random.default_rng(seed)
    age = rng.uniform(1, 12, n)
    km = 13_000 * age * np.exp(rng.normal(0, 0.5, n))
    price = 28_000 * np.exp(-0.11 * age - 2.5e-6 * km + rng.normal(0, 0.15, n))
    return UsedCars(np.column_stack([age, km]), price)


# ---------------------------------------------------------------- shifted distributions

COLORS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}


def _colored(
    x: np.ndarray, palette: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    for color in palette:
        if color not in COLORS:
            raise ValueError(f"color must be one of {', '.join(COLORS)}, got {color!r}")
    rgb = np.array([COLORS[color] for color in palette])
    chosen = rgb[rng.integers(len(rgb), size=len(x))]
    return (chosen[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def colored_digits(
    seed: int,
    source: Sequence[str] = ("red",),
    target: Sequence[str] = ("green", "blue", "yellow"),
) -> Shift:
    """Digits of some colors to learn from, the same kind of digits in others to meet.

    A classifier that has seen one color alone meets the others. ``p(x)`` changes;
    ``P(y | x)``, read off the shape, does not: this is covariate shift. Each example's
    color is drawn from ``source`` (train, test) or ``target`` (target); the target
    shows the test images once more, recolored.

    Returns a ``Shift`` of shape (3, 8, 8): red, green and blue channels.
    Raises ``ValueError`` for a color that is not in ``COLORS``.
    """
    split = digits(seed)
    rng = np.random.default_rng([seed, 1])
    return Shift(
        _colored(split.x_train, source, rng),
        split.y_train,
        _colored(split.x_test, source, rng),
        split.y_test,
        (3, 8, 8),
        _colored(split.x_test, target, rng),
        split.y_test,
    )


def ink(x: np.ndarray) -> np.ndarray:
    """Total ink of each 8×8 image, ``Σ_ij x_ij``: (n, 64) to (n,)."""
    return x.sum(axis=1)


def slant(x: np.ndarray) -> np.ndarray:
    """Slant of each 8×8 image, ``−Σ x_ij Δi Δj / Σ x_ij Δi²``: (n, 64) to (n,).

    ``Δi`` and ``Δj`` are row and column less the center of the ink. Upright strokes
    have 0, strokes that lean to the right are positive.
    """
    pixels = x.reshape(-1, 8, 8)
    total = pixels.sum(axis=(1, 2))
    row, column = np.mgrid[:8, :8]
    di = row - ((pixels * row).sum(axis=(1, 2)) / total)[:, None, None]
    dj = column - ((pixels * column).sum(axis=(1, 2)) / total)[:, None, None]
    return -(pixels * di * dj).sum(axis=(1, 2)) / (pixels * di * di).sum(axis=(1, 2))


STYLES = {"ink": ink, "slant": slant}


def digits_by_style(seed: int, style: str = "ink", share: float = 1 / 3) -> Shift:
    """Real digits of one style to learn from, those of the opposite style to meet.

    The images are ranked by ``style``, a function of ``x`` alone: the lowest
    ``share`` of each part trains and tests, the highest of the test part is the target.
    Selection by ``x`` alone leaves ``P(y | x)`` as it was, so this is covariate shift
    with no pixel touched. "ink" hardly depends on the class; "slant" does (sevens
    lean), so the share of each class moves too.

    Raises ``ValueError`` for an unknown style or a share outside (0, 1/2].
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
    if not 0 < share <= 0.5:
        raise ValueError(f"share must lie in (0, 1/2], got {share}")
    split = digits(seed)

    def ends(x):
        """Rows with the lowest values of the style, and those with the highest."""
        ranked = np.argsort(STYLES[style](x), kind="stable")
        count = int(share * len(x))
        return ranked[:count], ranked[-count:]

    train, _ = ends(split.x_train)
    test, target = ends(split.x_test)
    return Shift(
        split.x_train[train],
        split.y_train[train],
        split.x_test[test],
        split.y_test[test],
        split.shape,
        split.x_test[target],
        split.y_test[target],
    )


def relabeled_digits(
    seed: int, pairs: Sequence[tuple[int, int]] = ((1, 7), (3, 5))
) -> Shift:
    """The same images under another rule: concept shift, for contrast.

    The target shows the very images of the test part, with the labels of each pair
    exchanged: ``p(x)`` is the same, ``P(y | x)`` is not. No look at ``x`` alone can
    tell that anything happened.

    Raises ``ValueError`` if a pair names a class outside 0 to 9 or one twice.
    """
    named = [label for pair in pairs for label in pair]
    if len(set(named)) != len(named) or not set(named) <= set(range(10)):
        raise ValueError(f"pairs must name classes 0 to 9, each once, got {pairs}")
    rule = np.arange(10)
    for a, b in pairs:
        rule[a], rule[b] = b, a
    split = digits(seed)
    return Shift(
        split.x_train,
        split.y_train,
        split.x_test,
        split.y_test,
        split.shape,
        split.x_test,
        rule[split.y_test],
    )


SOURCE = (0.5, 0.5)  # mean and standard deviation of x where we learn
TARGET = (0.0, 0.3)  # and where we predict
NOISE = 0.3  # standard deviation of y given x


@dataclass(frozen=True)
class RegressionShift:
    """Pairs (x, y) from a source and a target density, each array (n,)."""

    x: np.ndarray
    y: np.ndarray
    x_target: np.ndarray
    y_target: np.ndarray


def cubic(x: np.ndarray) -> np.ndarray:
    """The regression function of ``cubic_shift``, ``E[y | x] = −x + x³``."""
    return -x + x**3


def density_ratio(x: np.ndarray) -> np.ndarray:
    """Density ratio of ``cubic_shift``, ``r(x) = p_target(x) / p_source(x)``.

    These are the weights that make the source sample an unbiased stand-in for the
    target: ``E_target[f(x)] = E_source[r(x) f(x)]``.
    """
    (m0, s0), (m1, s1) = SOURCE, TARGET
    return s0 / s1 * np.exp(((x - m0) / s0) ** 2 / 2 - ((x - m1) / s1) ** 2 / 2)


def cubic_shift(seed: int, n: int = 100) -> RegressionShift:
    """Regression under covariate shift with a known density ratio.

    ``y = −x + x³ + N(0, 0.3²)``; ``x ~ N(0.5, 0.5²)`` in the source and
    ``N(0, 0.3²)`` in the target, ``n`` pairs of each. A straight line fitted to the
    source goes wrong on the target; the same fit weighted by ``density_ratio`` does
    not.

    Raises ``ValueError`` if ``n`` is below 2.

    Source: H. Shimodaira, J. Statist. Plann. Inference 90 (2000) 227–244.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    rng = np.random.default_rng(seed)
    x, x_target = rng.normal(*SOURCE, n), rng.normal(*TARGET, n)
    y = cubic(x) + rng.normal(0, NOISE, n)
    y_target = cubic(x_target) + rng.normal(0, NOISE, n)
    return RegressionShift(x, y, x_target, y_target)


def excess_error(fit):
    r"""Squared error on the target of `cubic_shift`, beyond that of the noise.

    .. math:: \mathbb E\,(p(x) - f(x))^2

    with :math:`f` the true cubic and :math:`x` drawn from the target. The noise of the
    targets, which no fit can avoid, does not enter.

    Parameters
    ----------
    fit : array, shape (..., degree + 1)
        Coefficients of the polynomials :math:`p`, highest power first; degree at most
        4.

    Returns
    -------
    array, shape (...)
        The expectations, exact up to rounding: Gauss and Hermite's rule with 8 nodes
        integrates polynomials up to degree 15.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    mean, deviation = TARGET
    x = mean + deviation * nodes
    powers = np.vander(x, np.shape(fit)[-1])
    wrong = (np.asarray(fit) @ powers.T - cubic(x)) ** 2
    return wrong @ weights / weights.sum()


# ---------------------------------------------------------------------------- MNIST

MNIST_DIR = "BATCHNORM_MNIST_DIR"

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)

# Of the unpacked files: a mirror may pack them anew, and gzip stores a time stamp.
SHA256 = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


class DataUnavailableError(RuntimeError):
    """The data are neither in the named directory, nor in the cache, nor online."""


def mnist(*, binary: bool = False) -> Split:
    """MNIST, 60,000 images of 28×28 to train on and 10,000 to test on.

    Returns a ``Split`` of shape (1, 28, 28). Pixels are float32 in [0, 1], which
    takes 220 MB; with ``binary`` they are uint8, 1 where the gray level is at least
    128 and else 0, which takes 55 MB and is what the paper trains on.

    The files are looked for in the directory that ``BATCHNORM_MNIST_DIR`` names
    (packed or not), or else in the cache, or else downloaded from a public mirror
    and cached. Their sha256 is checked every time.

    Raises ``DataUnavailableError``, which says what to do, if a file cannot be had
    or its contents are not those of MNIST.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten
    digits"; Ioffe and Szegedy (2015), section 4.1, for the binary input.
    """
    x_train, y_train, x_test, y_test = (_read_idx(_mnist_bytes(n)) for n in SHA256)
    return Split(
        _pixels(x_train, binary),
        y_train.astype(np.int64),
        _pixels(x_test, binary),
        y_test.astype(np.int64),
        (1, 28, 28),
    )


def mnist_available() -> bool:
    """Whether ``mnist`` would succeed without a network: all four files, undamaged."""
    try:
        for name in SHA256:
            if _mnist_local(name) is None:
                return False
    except DataUnavailableError:
        return False
    return True


def _pixels(images: np.ndarray, binary: bool) -> np.ndarray:
    rows = images.reshape(len(images), -1)
    if binary:
        return (rows >= 128).astype(np.uint8)
    return rows.astype(np.float32) / np.float32(255)


def _read_idx(data: bytes) -> np.ndarray:
    # Big-endian header: two zero bytes, the type (8: unsigned byte), the number of
    # dimensions, then the dimensions as 32-bit integers.
    ndim = data[3]
    shape = np.frombuffer(data, ">i4", count=ndim, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _unpacked(path: Path) -> bytes | None:
    """The contents of a file, unpacked if it is a .gz; None if it is damaged."""
    try:
        return gzip.decompress(path.read_bytes())
    except gzip.BadGzipFile:
        return path.read_bytes()
    except (EOFError, zlib.error):
        return None


def _verified(name: str, data: bytes | None) -> bytes | None:
    if data is None or hashlib.sha256(data).hexdigest() != SHA256[name]:
        return None
    return data


def _pooch():
    """pooch, imported late and without the remark that tqdm makes in notebooks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import pooch
    return pooch


def _cache_dir() -> Path:
    return Path(_pooch().os_cache("batchnorm")) / "mnist"


def _mnist_local(name: str) -> bytes | None:
    """The verified file without a network, or None if it is not on this machine."""
    if directory := os.environ.get(MNIST_DIR):
        for path in (Path(directory) / name, Path(directory) / f"{name}.gz"):
            if path.is_file():
                data = _verified(name, _unpacked(path))
                if data is None:
                    raise DataUnavailableError(
                        f"{path} is damaged or is not MNIST: unpacked, its sha256 has "
                        f"to be {SHA256[name]}. Replace the file, or unset "
                        f"{MNIST_DIR} to download MNIST."
                    )
                return data
        raise DataUnavailableError(
            f"{MNIST_DIR} is {directory}, which has neither {name} nor {name}.gz. "
            f"Put the four files of MNIST there, or unset {MNIST_DIR} to download them."
        )
    cached = _cache_dir() / name
    return _verified(name, _unpacked(cached)) if cached.is_file() else None


def _mnist_bytes(name: str) -> bytes:
    data = _mnist_local(name)
    return _download(name) if data is None else data


def _download(name: str) -> bytes:
    """Fetch one file from the first mirror that has it whole, and cache it unpacked."""
    import requests

    pooch, cache_dir = _pooch(), _cache_dir()
    cache_dir.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in MIRRORS:
        url = f"{mirror}/{name}.gz"
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            packed, whole = Path(scratch) / "packed", Path(scratch) / name
            try:
                pooch.HTTPDownloader(timeout=30)(url, str(packed), None)
            except (requests.RequestException, OSError) as error:
                failures.append(f"{url}: {type(error).__name__}")
                continue
            data = _verified(name, _unpacked(packed))
            if data is None:
                failures.append(f"{url}: incomplete or not MNIST (wrong sha256)")
                continue
            whole.write_bytes(data)
            os.replace(whole, cache_dir / name)  # so the cache never holds a part
            return data
    (cache_dir / name).unlink(missing_ok=True)  # what lies there failed its check
    raise DataUnavailableError(
        f"MNIST is not on this machine and could not be downloaded ({name}).\n"
        + "".join(f"  {failure}\n" for failure in failures)
        + f"Connect to the network and try again, or put the four files "
        f"({', '.join(SHA256)}; .gz or unpacked) into a directory and set "
        f"{MNIST_DIR} to it."
    )
