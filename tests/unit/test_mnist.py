"""What chapter 8 says of MNIST, where MNIST is; `test_figure1` has chapter 7's part."""

import pytest
from claim_helpers import Page

from batchnorm import mnist


@pytest.mark.usefixtures("needs_mnist")
def test_the_network_of_chapter_8_reads_mnist():
    names = "small_network", "train_network", "read_right"
    found = Page("09_feature_maps").defined(*names)
    small_network, train_network, read_right = (found[name] for name in names)
    data, reader = mnist.load(), small_network(pixels=28).float()
    assert read_right(reader, data) < 0.5
    train_network(reader, data, steps=150, lr=0.1)
    assert read_right(reader, data) >= 0.9


@pytest.mark.parametrize(
    ("folder", "outcome", "says"),
    [
        ("", pytest.skip.Exception, "no MNIST, so nothing was compared"),
        ("/nowhere", pytest.fail.Exception, "'/nowhere', which does not hold MNIST"),
    ],
    ids=["not set", "wrong"],
)
def test_nothing_passes_that_compared_nothing(
    request, monkeypatch, folder, outcome, says
):
    monkeypatch.setenv(mnist.DIRECTORY, folder)
    monkeypatch.setattr(mnist, "available", lambda: False)
    with pytest.raises(outcome, match=says):
        request.getfixturevalue("needs_mnist")
