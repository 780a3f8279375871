"""Sphinx extension: what stands in chapter 0 is numbered 0.1, 0.2, ...

Sphinx counts numbered chapters from 1, so chapter 0 has no number, and its figures,
equations and exercises would be 1, 2, ... beside the 1.1, 1.2, ... of chapter 1.
"""

CHAPTER = "chapters/00_first_look"


def given(app, env):
    """Before Sphinx numbers: its own numbers, with which it compares the new ones."""
    return _renumber(env, lambda number: number[1:] if number[:1] == (0,) else number)


def wanted(app, env):
    """After Sphinx has numbered: a 0 in front."""
    return _renumber(env, lambda number: (0, *number))


def _renumber(env, change):
    for numbers in env.toc_fignumbers.get(CHAPTER, {}).values():
        numbers.update({id: change(number) for id, number in numbers.items()})
    return []


def setup(app):
    # Sphinx numbers at 500, and `again` compares at 900.
    app.connect("env-get-updated", given, priority=400)
    app.connect("env-get-updated", wanted, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
