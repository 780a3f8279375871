"""How images, tables, sources, formulas and code are written: a page of each, built."""

import re

import pytest
from PIL import Image

from tools import python

CONFIG = """
extensions = ["booktools.katex", "booktools.markup"]
html_theme = "basic"
html_math_renderer = "prerendered"
katex_prerender = True
"""
PAGE = r"""
A page
======

.. math:: x = y
   :label: a

.. math:: z

====  ====
\     mean
====  ====
a     1
====  ====

.. code-block:: python

   for x in (3,):

.. image:: drawing.png
   :alt: Two blue lines.
   :width: 350px

.. figure:: drawing.png
   :alt: A line of figure two.

   The gray line, and the light band

.. figure:: drawing.png
   :alt: A black line of figure three.

.. image:: drawing.png
   :alt: A gray line before a paragraph.

White noise.

.. figure:: dark.png
   :alt: A photograph.

.. image:: strip.png
   :alt: A strip with a wide region.

.. [A] A source, of [B]_.
.. [B] Another, of [A]_.
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "conf.py").write_text(CONFIG)
    (folder / "index.rst").write_text(PAGE)
    # Drawn on white, two pixels for each one shown.
    drawing = Image.new("RGB", (1400, 600), "white")
    drawing.paste("#0072B2", (100, 100, 300, 200))
    drawing.save(folder / "drawing.png")
    Image.new("L", (100, 100), 30).save(folder / "dark.png")
    drawing.paste("#e5f3fb", (0, 0, 1200, 600))  # a region of what is of interest
    drawing.save(folder / "strip.png")
    python("sphinx", "-qW", "-b", "html", folder, folder / "x", check=True)
    return (folder / "x" / "index.html").read_text(encoding="utf-8")


def images(page):
    return re.findall(r"<img [^>]*>", page)


def test_number_of_an_equation_is_the_link_to_it(page):
    numbers = re.findall(r'<a class="eqno"[^<]*</a>', page)
    assert numbers == ['<a class="eqno" href="#equation-a">(1)</a>']
    equation = page.partition('id="equation-a"')[2].partition("</div>")[0]
    assert "headerlink" not in equation


def test_what_may_scroll_can_be_reached_from_the_keyboard(page):
    assert page.count('<span class="katex-display" tabindex="0">') == 2
    assert page.count('<div class="scroll" tabindex="0"><table') == 1
    assert page.count('<pre tabindex="0">') == page.count("<pre") == 1


def test_an_empty_cell_at_the_head_is_no_header(page):
    head = page.partition("<thead>")[2].partition("</thead>")[0]
    assert re.findall(r"<t[dh]\b", head) == ["<td", "<th"]
    assert "<td></td>" in head


def test_sources_are_items_of_one_list(page):
    assert page.count('role="list"') == 1
    assert page.count('role="listitem"') == 2
    assert "doc-biblioentry" not in page


def test_plain_tokens_of_code_lose_their_element_and_the_others_keep_theirs(page):
    code = page.partition("<pre")[2].partition("</pre>")[0]
    assert '<span class="k">for</span> x <span class="ow">in</span> (' in code
    assert '<span class="mi">3</span>,):' in code


def test_images_get_their_size_and_all_but_the_first_load_late(page):
    first, *others = images(page)
    assert 'width="350"' in first
    assert 'height="150"' in first
    assert "lazy" not in first
    assert "style" not in first
    assert all('loading="lazy"' in image for image in others)


def test_an_image_without_a_width_is_shown_at_half_its_pixels(page):
    second = images(page)[1]
    assert 'width="700"' in second
    assert 'height="300"' in second


def test_a_drawing_is_inverted_in_the_dark_unless_its_text_names_a_shade(page):
    kinds = [re.search(r'class="(\w+)"', image)[1] for image in images(page)]
    blue, light_caption, black, gray, photograph, strip = kinds
    assert blue == gray == strip == "drawing"
    assert light_caption == black == photograph == "picture"
