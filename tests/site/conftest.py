"""What the tests of the site share: a browser, and a page for each explorable."""

import pytest
from explorable_page import NAMES, SCREEN, Figure, build

from booktools import check_site


@pytest.fixture(scope="session")
def browser():
    if check_site.find_browser() is None:
        pytest.skip(check_site.NO_BROWSER)
    with check_site.browser() as chromium:
        yield chromium


@pytest.fixture(scope="session", params=NAMES)
def shared(request, browser, tmp_path_factory):
    """One page for each explorable, which its tests share."""
    folder = tmp_path_factory.mktemp(request.param)
    build(folder, request.param)
    with (
        check_site.serve(folder) as origin,
        check_site.Visit(browser, f"{origin}/index.html", viewport=SCREEN) as visit,
    ):
        yield Figure(request.param, visit, f"{origin}/index.html", folder)


@pytest.fixture
def figure(shared):
    """The page, on which nothing may go wrong during a test."""
    shared.visit.problems.clear()
    yield shared
    assert shared.visit.problems == []
