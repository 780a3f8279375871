"""MNIST when everything goes wrong.

Small stand-ins with sha256 of their own go through the whole machinery; the real
files do in the last test, where they are at hand.
"""

import errno
import gzip
import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from batchnorm import mnist
from batchnorm.mnist import DataUnavailableError


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
    contents = {name: idx(a) for name, a in zip(mnist.SHA256, arrays, strict=True)}
    for name, data in contents.items():
        monkeypatch.setitem(mnist.SHA256, name, hashlib.sha256(data).hexdigest())
    return contents


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and no directory named."""
    monkeypatch.delenv(mnist.DIRECTORY, raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    return tmp_path / "batchnorm" / "mnist"


@pytest.fixture
def given(monkeypatch, tmp_path) -> Path:
    """The directory that is named; it is not there yet."""
    monkeypatch.setenv(mnist.DIRECTORY, str(tmp_path / "given"))
    return tmp_path / "given"


NOBODY = "http://127.0.0.1:9/nobody"


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
    monkeypatch.setattr(mnist, "MIRRORS", (server.url,))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offline(monkeypatch):
    """A mirror that nobody answers for."""
    monkeypatch.setattr(mnist, "MIRRORS", (NOBODY,))


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data) for name, data in files.items()}


def fill(directory: Path, contents: dict[str, bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (directory / name).write_bytes(data)


def check(files: dict[str, bytes]) -> None:
    """That what ``load`` returns is what the files say."""
    raw = [np.frombuffer(data, np.uint8) for data in files.values()]
    split = mnist.load()
    assert split.x_train.dtype == np.float32
    assert split.shape == (1, 28, 28)
    assert np.array_equal(np.round(split.x_train * 255).ravel(), raw[0][16:])
    assert np.array_equal(split.y_train, raw[1][8:])
    assert np.array_equal(np.round(split.x_test * 255).ravel(), raw[2][16:])
    assert np.array_equal(split.y_test, raw[3][8:])
    binary = mnist.load(binary=True)
    assert np.array_equal(binary.x_test.ravel(), raw[2][16:] >= 128)


def test_downloads_once_and_caches_unpacked(files, cache, mirror):
    mirror.contents = packed(files)
    assert not mnist.available()
    check(files)
    assert mirror.requests == [f"{name}.gz" for name in files]
    assert sorted(p.name for p in cache.iterdir()) == sorted(files)
    assert mnist.available()
    check(files)
    assert len(mirror.requests) == 4


def test_a_second_mirror_steps_in(files, mirror, monkeypatch):
    mirror.contents = packed(files)
    monkeypatch.setattr(mnist, "MIRRORS", (NOBODY, mirror.url))
    check(files)


@pytest.mark.usefixtures("files", "mirror", "offline")
def test_without_network_and_cache_the_error_says_what_to_do(cache):
    with pytest.raises(DataUnavailableError) as caught:
        mnist.load()
    message = str(caught.value)
    assert f"{NOBODY}/train-images-idx3-ubyte.gz" in message
    assert "Connect to the network" in message
    assert "set BATCHNORM_MNIST_DIR" in message
    assert not cache.exists()


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "bad-length": lambda data: data[:-4] + b"\0\0\0\0",
    "html": lambda data: b"<html>moved</html>",
    "empty": lambda data: b"",
    "other-contents": lambda data: gzip.compress(b"another file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_download_is_not_used_and_not_kept(files, cache, mirror, damage):
    mirror.contents = packed(files)
    name = "train-labels-idx1-ubyte"
    mirror.contents[f"{name}.gz"] = DAMAGES[damage](mirror.contents[f"{name}.gz"])
    with pytest.raises(DataUnavailableError, match="incomplete or not MNIST"):
        mnist.load()
    assert not (cache / name).exists()
    assert {p.name for p in cache.iterdir()} <= set(files)
    assert not mnist.available()


def test_a_connection_cut_short_leaves_nothing(files, cache, mirror, monkeypatch):
    mirror.contents = packed(files)

    def cut(self):
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b only a part")

    monkeypatch.setattr(Handler, "do_GET", cut)
    with pytest.raises(DataUnavailableError, match=r"train-images-idx3-ubyte\.gz: "):
        mnist.load()
    assert not cache.exists()


def test_a_damaged_cache_is_replaced(files, cache, mirror):
    mirror.contents = packed(files)
    name = "t10k-labels-idx1-ubyte"
    fill(cache, {**files, name: files[name][:-3]})
    assert not mnist.available()
    check(files)
    assert mirror.requests == [f"{name}.gz"]
    assert (cache / name).read_bytes() == files[name]


def test_a_damaged_cache_without_a_network_is_removed(files, cache, mirror):
    name = "t10k-labels-idx1-ubyte"
    fill(cache, {**files, name: files[name][:-3]})
    with pytest.raises(DataUnavailableError, match=name):
        mnist.load()
    assert not (cache / name).exists()


@pytest.mark.parametrize("pack", [True, False], ids=["gz", "unpacked"])
def test_a_directory_needs_no_network(files, cache, mirror, given, pack):
    fill(given, packed(files) if pack else files)
    assert mnist.available()
    check(files)
    assert mirror.requests == []
    assert not cache.exists()


def test_a_damaged_file_in_the_directory_is_an_error(files, mirror, given):
    mirror.contents = packed(files)  # which must not step in silently
    name = "train-images-idx3-ubyte.gz"
    fill(given, {**mirror.contents, name: mirror.contents[name][:-100]})
    assert not mnist.available()
    with pytest.raises(DataUnavailableError, match="damaged or is not MNIST") as caught:
        mnist.load()
    assert str(given / name) in str(caught.value)
    assert "Replace the file, or unset BATCHNORM_MNIST_DIR" in str(caught.value)
    assert (given / name).exists()  # it is the reader's, not ours to remove


@pytest.mark.parametrize("way", ["directory", "packed", "cache", "download"])
def test_no_other_contents_come_by_any_way(files, cache, mirror, way, request):
    """Fingerprints of recorded runs end at `_contents`, which has to be sure."""
    name = "t10k-images-idx3-ubyte"
    other = files[name][:-1] + bytes([files[name][-1] ^ 1])
    if way in ("directory", "packed"):
        contents = {name: other} if way == "directory" else packed({name: other})
        fill(request.getfixturevalue("given"), contents)
    elif way == "cache":
        fill(cache, {name: other})
    else:
        mirror.contents = packed({name: other})
    with pytest.raises(DataUnavailableError):
        mnist._contents(name)


@pytest.mark.usefixtures("files", "given")
def test_a_file_missing_in_the_directory_is_an_error():
    assert not mnist.available()
    with pytest.raises(DataUnavailableError, match="has neither train-images"):
        mnist.load()


REAL = os.environ.get(mnist.DIRECTORY)


@pytest.mark.skipif(
    REAL is None,
    reason=f"{mnist.DIRECTORY} does not name a directory with the four files",
)
def test_the_real_files(monkeypatch):
    """Against the facts on the files' own page, and the historical md5s."""
    monkeypatch.setenv(mnist.DIRECTORY, REAL)
    assert mnist.available()
    md5s = [hashlib.md5(mnist._contents(name)).hexdigest() for name in mnist.SHA256]
    assert md5s == [
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ]
    split = mnist.load(binary=True)
    assert split.x_train.shape == (60_000, 784)
    assert split.x_test.shape == (10_000, 784)
    assert list(split.y_train[:5]) == [5, 0, 4, 1, 9]
    assert list(split.y_test[:5]) == [7, 2, 1, 0, 4]
    assert set(np.unique(split.x_train)) == {0, 1}


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fault", ["not a folder", "full disk"])
def test_a_cache_that_cannot_be_written_costs_a_warning(
    files, cache, mirror, monkeypatch, fault
):
    mirror.contents = packed(files)
    if fault == "full disk":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        cache.parent.write_text("in the way")
    with pytest.warns(UserWarning, match=f"cannot be written .*set {mnist.DIRECTORY}"):
        check(files)
    assert len(mirror.requests) == 8  # it was loaded twice


@pytest.mark.usefixtures("files", "offline")
def test_without_a_cache_and_a_network_the_error_is_the_documented_one(cache):
    cache.parent.write_text("in the way")
    with pytest.raises(DataUnavailableError, match="could not be downloaded"):
        mnist.load()
    assert not mnist.available()


@pytest.mark.parametrize("step", ["is_file", "read_bytes"])
def test_files_that_cannot_be_read_are_an_error_that_says_so(
    files, given, monkeypatch, step
):
    fill(given, files)

    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, step, refused)
    says = "or cannot be read" if step == "is_file" else "cannot be read"
    with pytest.raises(DataUnavailableError, match=says):
        mnist.load()
