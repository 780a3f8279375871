"""Tools that make the book: run and compare notebooks, build the site, measure."""
