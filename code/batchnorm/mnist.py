"""MNIST: found on this machine or downloaded, verified, and cached."""

import contextlib
import gzip
import hashlib
import io
import os
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np

from batchnorm.datasets import Split

DIRECTORY = "BATCHNORM_MNIST_DIR"  # the environment variable

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


def load(*, binary: bool = False) -> Split:
    """MNIST, 60,000 images of 28×28 to train on and 10,000 to test on.

    The files are looked for in the directory that ``BATCHNORM_MNIST_DIR`` names
    (packed or not), or else in the cache, or else downloaded from a public mirror
    and cached; where the cache cannot be written, a warning says so and the data are
    returned all the same. Their sha256 is checked every time.

    Parameters
    ----------
    binary : bool
        Whether pixels are uint8, 1 where the gray level is at least 128 and else 0,
        which takes 55 MB and is what the paper trains on; else they are float32 in
        [0, 1], which takes 220 MB.

    Returns
    -------
    Split
        Of shape (1, 28, 28).

    Raises
    ------
    DataUnavailableError
        If a file cannot be had, or its contents are not those of MNIST; it says what to
        do.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"; Ioffe
    and Szegedy (2015), section 4.1, for the binary input.
    """
    x_train, y_train, x_test, y_test = (_read_idx(_contents(n)) for n in SHA256)
    return Split(
        _pixels(x_train, binary),
        y_train.astype(np.int64),
        _pixels(x_test, binary),
        y_test.astype(np.int64),
        (1, 28, 28),
    )


def available() -> bool:
    """Whether `load` would succeed without a network: all four files, undamaged.

    Returns
    -------
    bool
    """
    try:
        for name in SHA256:
            if _local(name) is None:
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


def _unpacked(file: Path | bytes) -> bytes | None:
    """The contents of a file, unpacked if it is a .gz; None if it cannot be read."""
    try:
        packed = file if isinstance(file, bytes) else file.read_bytes()
        return gzip.decompress(packed)
    except gzip.BadGzipFile:
        return packed
    except (OSError, EOFError, zlib.error):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that cannot be entered
        return False


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


def _local(name: str) -> bytes | None:
    """The verified file without a network, or None if it is not on this machine."""
    if directory := os.environ.get(DIRECTORY):
        for path in (Path(directory) / name, Path(directory) / f"{name}.gz"):
            if _is_file(path):
                data = _verified(name, _unpacked(path))
                if data is None:
                    raise DataUnavailableError(
                        f"{path} cannot be read, is damaged or is not MNIST: unpacked, "
                        f"its sha256 has to be {SHA256[name]}. Replace the file, or "
                        f"unset {DIRECTORY} to download MNIST."
                    )
                return data
        raise DataUnavailableError(
            f"{DIRECTORY} is {directory}, which has neither {name} nor {name}.gz, or "
            "cannot be read. Put the four files of MNIST there, or unset "
            f"{DIRECTORY} to download them."
        )
    cached = _cache_dir() / name
    return _verified(name, _unpacked(cached)) if _is_file(cached) else None


def _contents(name: str) -> bytes:
    """A file's contents, verified by every way; here the fingerprints of runs end."""
    data = _local(name)
    return _download(name) if data is None else data


def _download(name: str) -> bytes:
    """Fetch one file from the first mirror that has it whole, and cache it unpacked."""
    import requests

    pooch, failures = _pooch(), []
    for mirror in MIRRORS:
        url, packed = f"{mirror}/{name}.gz", io.BytesIO()
        try:
            pooch.HTTPDownloader(timeout=30)(url, packed, None)
        except (requests.RequestException, OSError) as error:
            failures.append(f"{url}: {type(error).__name__}")
            continue
        data = _verified(name, _unpacked(packed.getvalue()))
        if data is None:
            failures.append(f"{url}: incomplete or not MNIST (wrong sha256)")
            continue
        _keep(name, data)
        return data
    with contextlib.suppress(OSError):
        (_cache_dir() / name).unlink()  # what lies there failed its check
    raise DataUnavailableError(
        f"MNIST is not on this machine and could not be downloaded ({name}).\n"
        + "".join(f"  {failure}\n" for failure in failures)
        + f"Connect to the network and try again, or put the four files "
        f"({', '.join(SHA256)}; .gz or unpacked) into a directory and set "
        f"{DIRECTORY} to it."
    )


def _keep(name: str, data: bytes) -> None:
    """Cache a file, whole or not at all; where that cannot be, warn."""
    cache_dir = _cache_dir()
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
            whole = Path(scratch) / name
            whole.write_bytes(data)
            os.replace(whole, cache_dir / name)  # so the cache never holds a part
    except OSError as error:
        warnings.warn(
            f"{name} is not cached and will be downloaded again: {cache_dir} cannot "
            f"be written ({type(error).__name__}); put the files of MNIST into a "
            f"directory and set {DIRECTORY} to it",
            stacklevel=2,
        )
