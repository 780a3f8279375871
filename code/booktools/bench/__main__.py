"""Run the benchmarks named on the command line, or all of them."""

import importlib
import sys

NAMES = ("reference", "layer", "ensemble", "machine")

chosen = sys.argv[1:] or NAMES
unknown = sorted(set(chosen) - set(NAMES))
if unknown:
    sys.exit(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(NAMES)}")
for name in chosen:
    importlib.import_module(f"booktools.bench.{name}").main()
