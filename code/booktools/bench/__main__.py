"""Run the benchmarks named on the command line, or all of them."""

import importlib
import pkgutil
import sys

from booktools import bench

names = [module.name for module in pkgutil.iter_modules(bench.__path__)]
names = [name for name in names if not name.startswith("_")]
chosen = sys.argv[1:] or names
unknown = sorted(set(chosen) - set(names))
if unknown:
    sys.exit(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(names)}")
for name in chosen:
    importlib.import_module(f"booktools.bench.{name}").main()
