"""Runs of the book, kept apart from what its reader has set for himself.

A notebook has the same outputs for everyone only if its kernel is Python as it comes:
this environment's, with no startup file, rc file, path, warning filter or backend of
the user. What runs notebooks calls `isolate` first; kernels inherit what it sets.
"""

import os
import sys
from pathlib import Path

import ipykernel.kernelspec
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

import batchnorm

#: Families of variables that change what Python, Jupyter, Matplotlib or torch do.
FAMILIES = (
    "IPYTHON",
    "JUPYTER",
    "MATPLOTLIB",
    "MPL",
    "PYTHON",
    "TORCHDYNAMO_",
    "TORCHINDUCTOR_",
    "TORCH_LOGS",
)
#: Of these, what leaves outputs alone; `tox` sets the first on purpose.
KEPT = {"PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONUTF8"}
INLINE = "module://matplotlib_inline.backend_inline"

# What every kernel runs first. Kernels themselves talk over the loopback interface.
STARTUP = """
import os, socket, sys

_connect = socket.socket.connect


def _refuse(self, address):
    if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in (
        "127.0.0.1", "::1", "localhost"
    ):
        raise OSError(f"chapters run without a network; one asked for {address[0]}")
    return _connect(self, address)


socket.socket.connect = _refuse

# Neither a module nor a matplotlibrc that lies beside the notebook is meant.
sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]
_here = os.getcwd()
os.chdir(os.environ["IPYTHONDIR"])
import matplotlib
os.chdir(_here)
"""


class OwnKernel(KernelSpecManager):
    """Knows one kernel, this interpreter's, whatever others are installed."""

    def get_kernel_spec(self, kernel_name):
        resources = ipykernel.kernelspec.RESOURCES
        return KernelSpec(
            resource_dir=resources, **ipykernel.kernelspec.get_kernel_dict()
        )


class OwnManager(AsyncKernelManager):
    """Starts that kernel."""

    def _kernel_spec_manager_default(self):
        return OwnKernel()


def isolate(folder):
    """Take the user's settings out of this process's environment; keep ours in folder.

    It is empty, and has to exist as long as kernels run.
    """
    for name in list(os.environ):
        if name.startswith(FAMILIES) and name not in KEPT:
            del os.environ[name]
    folder = Path(folder)
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "start.py").write_text(STARTUP, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    for purpose in ("CONFIG", "DATA", "RUNTIME"):
        place = folder / f"jupyter-{purpose.lower()}"
        place.mkdir()
        os.environ[f"JUPYTER_{purpose}_DIR"] = str(place)
    os.environ["MPLCONFIGDIR"] = str(_font_cache(folder))
    os.environ["MPLBACKEND"] = INLINE


def _font_cache(folder):
    """Where Matplotlib keeps its list of fonts: in the environment, if it can."""
    try:
        (shared := Path(sys.prefix, "matplotlib")).mkdir(exist_ok=True)
    except OSError:
        return folder
    return shared if os.access(shared, os.W_OK) else folder


def foreign(root):
    """What to say where the package is of another checkout than root, or None."""
    ours, used = root / "code/batchnorm", Path(batchnorm.__file__).parent
    if not ours.is_dir() or ours.resolve() == used.resolve():
        return None
    return (
        f"this environment tests {used}, not {ours}: it was moved or copied; "
        "`make setup` makes it anew"
    )
