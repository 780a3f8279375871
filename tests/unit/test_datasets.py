"""The data: what they promise, and MNIST when everything goes wrong."""

import gzip
import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression

from batchnorm import datasets
from batchnorm.datasets import (
    DataUnavailableError,
    colored_digits,
    cubic,
    cubic_shift,
    density_ratio,
    digits,
    digits_by_style,
    digits_to_tune,
    ink,
    mnist,
    mnist_available,
    relabeled_digits,
    slant,
    used_cars,
)

# ---------------------------------------------------------------------- digits, cars


@pytest.mark.parametrize(
    ("split", "train", "test"), [(digits, 768, 250), (digits_to_tune, 639, 123)]
)
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_digits_are_scikit_learns_without_overlap(split, train, test, seed):
    parts = split(seed)
    assert parts.x_train.shape == (train, 64)
    assert parts.x_test.shape == (test, 64)
    assert parts.x_train.dtype == np.float64
    both = np.concatenate([parts.x_train, parts.x_test])
    labels = np.concatenate([parts.y_train, parts.y_test])
    source = load_digits()
    ours = set(map(bytes, np.column_stack([both * 16, labels])))
    theirs = set(map(bytes, np.column_stack([source.data, source.target])))
    assert len(ours) == train + test  # no two images of the file are alike
    assert ours <= theirs
    assert (both.min(), both.max()) == (0, 1)
    assert set(parts.y_train) == set(parts.y_test) == set(range(10))
    image = parts.images(parts.x_test)[7, 0]
    assert np.array_equal(image.ravel(), parts.x_test[7])
    assert parts.images(parts.x_test).shape == (test, 1, 8, 8)


def test_digits_depend_on_the_seed_alone():
    assert np.array_equal(digits(1).x_train, digits(1).x_train)
    assert not np.array_equal(digits(1).x_train, digits(2).x_train)


def test_changing_a_split_changes_no_later_one():
    before = digits(0).x_train.copy()
    digits(0).x_train[:] = 7
    assert np.array_equal(digits(0).x_train, before)


def condition(x: np.ndarray) -> float:
    return np.linalg.cond(x.T @ x / len(x))


@pytest.mark.parametrize("seed", range(5))
def test_used_cars_are_plausible_and_badly_scaled(seed):
    cars = used_cars(seed)
    assert cars.x.shape == (500, 2)
    age, km = cars.x.T
    assert age.min() >= 1
    assert age.max() <= 12
    assert km.min() > 0
    assert (cars.y > 0).all()
    correlation = np.corrcoef(age, km)[0, 1]
    assert 0.5 < correlation < 0.8
    standard = (cars.x - cars.x.mean(0)) / cars.x.std(0)
    # For two standardized features κ = (1 + r)/(1 − r).
    wanted = (1 + correlation) / (1 - correlation)
    assert abs(condition(standard) - wanted) < 1e-9
    raw = np.column_stack([np.ones(500), cars.x])
    assert 3e10 < condition(raw) < 3e11
    assert (LinearRegression().fit(cars.x, cars.y).coef_ < 0).all()


def test_used_cars_refuses_too_few():
    with pytest.raises(ValueError, match="n must be at least 3, got 2"):
        used_cars(0, n=2)


# ---------------------------------------------------------------- shifted distributions


def scores(shift) -> tuple[float, float]:
    """Accuracy of a linear classifier, trained on the source, on test and target."""
    model = LogisticRegression(max_iter=3000).fit(shift.x_train, shift.y_train)
    return (
        model.score(shift.x_test, shift.y_test),
        model.score(shift.x_target, shift.y_target),
    )


def test_colored_digits_change_color_and_nothing_else():
    shift = colored_digits(0)
    plain = digits(0)
    red, green, blue = np.moveaxis(shift.images(shift.x_test), 1, 0)
    assert np.array_equal(red.reshape(250, 64), plain.x_test)
    assert not green.any()
    assert not blue.any()
    target = shift.images(shift.x_target)
    assert np.array_equal(target.max(1).reshape(250, 64), plain.x_test)
    lit = target.any((2, 3))
    assert {tuple(row) for row in lit.tolist()} == {
        (False, True, False),
        (False, False, True),
        (True, True, False),
    }
    assert np.array_equal(shift.y_target, plain.y_test)
    test, met = scores(shift)
    assert test > 0.85
    assert met < test - 0.2


def test_colored_digits_refuse_an_unknown_color():
    with pytest.raises(ValueError, match=r"color must be one of red.*got 'mauve'"):
        colored_digits(0, target=("mauve",))


@pytest.mark.parametrize(("style", "measure"), [("ink", ink), ("slant", slant)])
def test_digits_by_style_are_selected_by_x_alone(style, measure):
    shift = digits_by_style(0, style)
    source = np.concatenate([shift.x_train, shift.x_test])
    assert measure(source).max() <= measure(shift.x_target).min()
    # A third of 768 to train on, of 250 to test on, and of these 250 the target.
    assert len(shift.x_train) == 256
    assert len(shift.x_test) == len(shift.x_target) == 83
    everything = {
        bytes(row): label for row, label in zip(*datasets._all_digits(), strict=True)
    }
    labels = np.concatenate([shift.y_train, shift.y_test, shift.y_target])
    rows = np.concatenate([source, shift.x_target])
    assert len({bytes(row) for row in rows}) == len(rows)
    assert [everything[bytes(row)] for row in rows] == list(labels)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_slant_that_was_not_learned_is_read_worse(seed):
    """Of the ink nothing is promised: digits with more of it are often read better."""
    test, met = scores(digits_by_style(seed, "slant"))
    assert met < test - 0.1


def test_slant_measures_the_lean():
    upright, right = np.zeros((2, 8, 8))
    upright[:, 3] = 1
    right[np.arange(8), 7 - np.arange(8)] = 1
    found = slant(np.stack([upright, right]).reshape(2, 64))
    assert np.allclose(found, [0, 1], atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "font"}, "style must be one of ink, slant, got 'font'"),
        ({"share": 0.6}, "share"),
        ({"share": 0.0}, "share"),
    ],
)
def test_digits_by_style_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        digits_by_style(0, **settings)


def test_relabeled_digits_leave_the_images_alone():
    shift = relabeled_digits(0, pairs=[(1, 7)])
    assert np.array_equal(shift.x_test, shift.x_target)
    changed = shift.y_test != shift.y_target
    assert set(shift.y_test[changed]) == {1, 7}
    assert np.array_equal(changed, np.isin(shift.y_test, [1, 7]))
    assert (shift.y_test[changed] + shift.y_target[changed] == 8).all()


@pytest.mark.parametrize("pairs", [[(1, 7), (7, 3)], [(3, 10)], [(4, 4)]])
def test_relabeled_digits_refuse(pairs):
    with pytest.raises(ValueError, match="pairs"):
        relabeled_digits(0, pairs)


def test_density_ratio_is_the_ratio_of_the_two_normals():
    x = np.linspace(-2, 2, 41)

    def normal(mean, std):
        return np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))

    wanted = normal(*datasets.TARGET) / normal(*datasets.SOURCE)
    assert np.allclose(density_ratio(x), wanted, rtol=1e-13)


def test_weighted_fit_repairs_the_shift():
    """On average over draws; the population slopes are exact integrals."""
    plain, weighted = [], []
    for seed in range(40):
        data = cubic_shift(seed, n=400)
        assert data.x.shape == data.y_target.shape == (400,)
        for slopes, weights in ((plain, None), (weighted, density_ratio(data.x))):
            fit = LinearRegression().fit(data.x[:, None], data.y, weights)
            slopes.append(fit.coef_[0])

    # cov(x, −x + x³)/var(x) = −1 + 3(μ² + σ²) for x ~ N(μ, σ²)
    def slope(mean, std):
        return -1 + 3 * (mean**2 + std**2)

    assert abs(np.mean(plain) - slope(*datasets.SOURCE)) < 0.1
    assert abs(np.mean(weighted) - slope(*datasets.TARGET)) < 0.1


def test_cubic_shift_draws_what_it_says():
    data = cubic_shift(0, n=20_000)
    assert np.allclose(
        [data.x.mean(), data.x.std(), data.x_target.mean(), data.x_target.std()],
        [*datasets.SOURCE, *datasets.TARGET],
        atol=0.02,
    )
    assert abs((data.y - cubic(data.x)).std() - datasets.NOISE) < 0.01
    with pytest.raises(ValueError, match="n must be at least 2"):
        cubic_shift(0, n=1)


# ----------------------------------------------------------------------------- MNIST
#
# Small stand-ins with sha256 of their own go through the whole machinery; the real
# files do in the last test, where they are at hand.


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def files(monkeypatch) -> dict[str, bytes]:
    """Four files in MNIST's format, 30 and 20 images, declared to be MNIST."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(256, size=(30, 28, 28)),
        rng.integers(10, size=30),
        rng.integers(256, size=(20, 28, 28)),
        rng.integers(10, size=20),
    ]
    contents = {name: idx(a) for name, a in zip(datasets.SHA256, arrays, strict=True)}
    for name, data in contents.items():
        monkeypatch.setitem(datasets.SHA256, name, hashlib.sha256(data).hexdigest())
    return contents


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and no directory named."""
    monkeypatch.delenv(datasets.MNIST_DIR, raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    return tmp_path / "batchnorm" / "mnist"


class Mirror(http.server.ThreadingHTTPServer):
    """A local mirror that serves ``contents`` and counts the requests."""

    def __init__(self):
        self.contents, self.requests = {}, []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mnist"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.requests.append(name)
        body = self.server.contents.get(name)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(monkeypatch):
    for variable in list(os.environ):
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    server = Mirror()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(datasets, "MIRRORS", (server.url,))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data) for name, data in files.items()}


def fill(directory: Path, contents: dict[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (directory / name).write_bytes(data)


def check(files: dict[str, bytes]) -> None:
    """That what ``mnist`` returns is what the files say."""
    raw = [np.frombuffer(data, np.uint8) for data in files.values()]
    split = mnist()
    assert split.x_train.dtype == np.float32
    assert split.shape == (1, 28, 28)
    assert np.array_equal(np.round(split.x_train * 255).ravel(), raw[0][16:])
    assert np.array_equal(split.y_train, raw[1][8:])
    assert np.array_equal(np.round(split.x_test * 255).ravel(), raw[2][16:])
    assert np.array_equal(split.y_test, raw[3][8:])
    binary = mnist(binary=True)
    assert np.array_equal(binary.x_test.ravel(), raw[2][16:] >= 128)


def test_downloads_once_and_caches_unpacked(files, cache, mirror):
    mirror.contents = packed(files)
    assert not mnist_available()
    check(files)
    assert mirror.requests == [f"{name}.gz" for name in files]
    assert sorted(p.name for p in cache.iterdir()) == sorted(files)
    assert mnist_available()
    check(files)
    assert len(mirror.requests) == 4


def test_a_second_mirror_steps_in(files, cache, mirror, monkeypatch):
    mirror.contents = packed(files)
    monkeypatch.setattr(datasets, "MIRRORS", ("http://127.0.0.1:9/nobody", mirror.url))
    check(files)


def test_without_network_and_cache_the_error_says_what_to_do(
    files, cache, mirror, monkeypatch
):
    monkeypatch.setattr(datasets, "MIRRORS", ("http://127.0.0.1:9/nobody",))
    with pytest.raises(DataUnavailableError) as caught:
        mnist()
    message = str(caught.value)
    assert "http://127.0.0.1:9/nobody/train-images-idx3-ubyte.gz" in message
    assert "Connect to the network" in message
    assert "set BATCHNORM_MNIST_DIR" in message
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4] + b"\0\0\0\0",
        lambda data: b"<html>moved</html>",
        lambda data: b"",
        lambda data: gzip.compress(b"another file"),
    ],
    ids=["truncated", "bad-length", "html", "empty", "other-contents"],
)
def test_a_damaged_download_is_not_used_and_not_kept(files, cache, mirror, damage):
    mirror.contents = packed(files)
    name = "train-labels-idx1-ubyte"
    mirror.contents[f"{name}.gz"] = damage(mirror.contents[f"{name}.gz"])
    with pytest.raises(DataUnavailableError, match="incomplete or not MNIST"):
        mnist()
    assert not (cache / name).exists()
    assert {p.name for p in cache.iterdir()} <= set(files)
    assert not mnist_available()


def test_a_connection_cut_short_leaves_nothing(files, cache, mirror, monkeypatch):
    mirror.contents = packed(files)

    def cut(self):
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b only a part")

    monkeypatch.setattr(Handler, "do_GET", cut)
    with pytest.raises(DataUnavailableError, match=r"train-images-idx3-ubyte\.gz: "):
        mnist()
    assert list(cache.iterdir()) == []


def test_a_damaged_cache_is_replaced(files, cache, mirror):
    mirror.contents = packed(files)
    name = "t10k-labels-idx1-ubyte"
    fill(cache, {**files, name: files[name][:-3]})
    assert not mnist_available()
    check(files)
    assert mirror.requests == [f"{name}.gz"]
    assert (cache / name).read_bytes() == files[name]


def test_a_damaged_cache_without_a_network_is_removed(files, cache, mirror):
    name = "t10k-labels-idx1-ubyte"
    fill(cache, {**files, name: files[name][:-3]})
    with pytest.raises(DataUnavailableError, match=name):
        mnist()
    assert not (cache / name).exists()


@pytest.mark.parametrize("pack", [True, False], ids=["gz", "unpacked"])
def test_a_directory_needs_no_network(
    files, cache, mirror, monkeypatch, tmp_path, pack
):
    directory = tmp_path / "given"
    fill(directory, packed(files) if pack else files)
    monkeypatch.setenv(datasets.MNIST_DIR, str(directory))
    assert mnist_available()
    check(files)
    assert mirror.requests == []
    assert not cache.exists()


def test_a_damaged_file_in_the_directory_is_an_error(
    files, cache, mirror, monkeypatch, tmp_path
):
    mirror.contents = packed(files)  # which must not step in silently
    directory = tmp_path / "given"
    contents = packed(files)
    name = "train-images-idx3-ubyte.gz"
    fill(directory, {**contents, name: contents[name][:-100]})
    monkeypatch.setenv(datasets.MNIST_DIR, str(directory))
    assert not mnist_available()
    with pytest.raises(DataUnavailableError, match="damaged or is not MNIST") as caught:
        mnist()
    assert str(directory / name) in str(caught.value)
    assert "Replace the file, or unset BATCHNORM_MNIST_DIR" in str(caught.value)
    assert (directory / name).exists()  # it is the reader's, not ours to remove


def test_a_file_missing_in_the_directory_is_an_error(
    files, cache, monkeypatch, tmp_path
):
    monkeypatch.setenv(datasets.MNIST_DIR, str(tmp_path / "nowhere"))
    assert not mnist_available()
    with pytest.raises(DataUnavailableError, match="has neither train-images"):
        mnist()


@pytest.mark.skipif(
    datasets.MNIST_DIR not in os.environ,
    reason=f"{datasets.MNIST_DIR} does not name a directory with the four files",
)
def test_the_real_files():
    """Against the facts on the files' own page, and the historical md5s."""
    assert mnist_available()
    md5s = [
        hashlib.md5(datasets._mnist_bytes(name)).hexdigest() for name in datasets.SHA256
    ]
    assert md5s == [
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ]
    split = mnist(binary=True)
    assert split.x_train.shape == (60_000, 784)
    assert split.x_test.shape == (10_000, 784)
    assert list(split.y_train[:5]) == [5, 0, 4, 1, 9]
    assert list(split.y_test[:5]) == [7, 2, 1, 0, 4]
    assert set(np.unique(split.x_train)) == {0, 1}
