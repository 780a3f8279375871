"""Checked empirical claims: the registry, and the claims of each part of the book.

`show("id")` is the one line of a chapter: it runs the claim over twenty seeds,
draws every one of them and prints the verdict.
"""

from importlib import import_module

from batchnorm.claims.registry import (
    CHAPTER_SEEDS,
    FRESH_SEEDS,
    TUNING_SEEDS,
    Claim,
    Condition,
    Result,
    claims,
    get,
    load,
    run,
    show,
    stale,
    tune,
)

__all__ = [
    "CHAPTER_SEEDS",
    "FRESH_SEEDS",
    "TUNING_SEEDS",
    "Claim",
    "Condition",
    "Result",
    "claims",
    "get",
    "load",
    "run",
    "show",
    "stale",
    "tune",
]

# In the order of the book; importing a part registers its claims.
PARTS = (
    "inputs",
    "shift",
    "depth",
    "transform",
    "invariance",
    "training",
    "convolution",
    "inference",
    "batches",
)
for part in PARTS:
    import_module(f"{__name__}.{part}")
