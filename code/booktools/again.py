"""Sphinx extension: which pages a build after the first reads and writes again.

Sphinx itself goes by the dates of files, and writes a page only if its own text has
changed. A page also shows what others are called: their titles, numbers and labels.
`booktools.build` says here which files have changed.
"""

import hashlib

#: Names of changed files relative to the root of the book, and whether all pages are
#: written; `booktools.build` sets both.
CHANGED: set[str] = set()
REWRITE = False


def outdated(app, env, added, changed, removed):
    """Pages that come from changed files, or from files that depend on them."""
    files = {app.srcdir / name for name in CHANGED}
    return [
        docname
        for docname in env.found_docs - added
        if files & {app.srcdir / name for name in env.dependencies[docname]}
        or app.srcdir / env.doc2path(docname) in files
    ]


def view(env) -> str:
    """Digest of all that one page may show of another."""
    std, cite = env.get_domain("std"), env.get_domain("cite")
    seen = [
        {name: title.astext() for name, title in env.titles.items()},
        env.toc_secnumbers,
        env.toc_fignumbers,
        env.toctree_includes,
        std.labels,
        std.anonlabels,
        std.objects,
        env.get_domain("math").equations,
        env.get_domain("py").objects,
        {c.citation_id: c.formatted_entry.label for c in cite.citations},
    ]
    text = "\n".join(repr(sorted(part.items(), key=repr)) for part in seen)
    return hashlib.sha256(text.encode()).hexdigest()


def remember(app, env, docnames):
    """Before pages are read: what they showed until now."""
    app.seen = view(env) if env.all_docs else None


def rewritten(app, env):
    """After pages are read and numbered: all, if one shows something else now."""
    changed = app.seen is not None and app.seen != view(env)
    return list(env.found_docs) if REWRITE or changed else []


def setup(app):
    app.connect("env-get-outdated", outdated)
    app.connect("env-before-read-docs", remember)
    app.connect("env-get-updated", rewritten, priority=900)  # numbers are given by now
    return {"parallel_read_safe": True, "parallel_write_safe": True}
