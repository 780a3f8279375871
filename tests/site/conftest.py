"""The browser of the tests of the site."""

import pytest

from booktools import check_site


@pytest.fixture(scope="module")
def browser():
    executable = check_site.find_browser()
    if executable is None:
        pytest.skip(check_site.NO_BROWSER)
    with check_site.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=check_site.FLAGS
        )
        yield browser
        browser.close()
