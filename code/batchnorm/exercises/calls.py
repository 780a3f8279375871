"""Calls of a reader's program: on copies, for a few seconds, and without our traceback.

A call runs in a thread of its own. If it takes too long, the line it is at is noted,
and an exception is raised inside it, which ends every loop that is written in Python.
A loop inside of compiled code cannot be ended; it is left behind, as a thread that
does not keep the interpreter from leaving.
"""

import ctypes
import linecache
import os
import sys
import threading
import traceback
import warnings
from dataclasses import dataclass

import numpy as np

LIMIT = 5.0  # seconds for a call


class TooLong(BaseException):
    """Raised inside a program that does not end."""


@dataclass(frozen=True)
class Failure:
    """A call without a result."""

    kind: str  # name of the exception, or "TooLong"
    text: str = ""  # what it says
    line: str = ""  # the reader's own line at which it happened, if it is known


def call(program, arguments):
    """What the reader's program returns for a list of arguments, or a `Failure`."""
    outcome = []

    def run():
        try:
            with np.errstate(all="ignore"):
                outcome.append(program(*arguments))
        except TooLong:
            pass
        except BaseException as error:  # a reader's sys.exit() among them
            outcome.append(_failure(error, traceback.walk_tb(error.__traceback__)))

    thread = threading.Thread(target=run, daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        thread.join(LIMIT)
    if outcome:
        return outcome[0]
    line = _own_line(_stack(thread))
    _end(thread)
    return Failure("TooLong", f"no result after {LIMIT:g} seconds", line)


def _failure(error, frames):
    text = " ".join(str(error).split())
    return Failure(type(error).__name__, text, _own_line(list(frames)))


def _own_line(frames):
    """The innermost line that is the reader's: not a library's, and not ours."""
    standard = os.path.dirname(threading.__file__)
    for frame, number in reversed(frames):
        path = frame.f_code.co_filename
        ours = frame.f_globals.get("__name__", "").startswith("batchnorm.")
        library = "site-packages" in path or path.startswith((standard, "<frozen"))
        if not (ours or library):
            return linecache.getline(path, number, frame.f_globals).strip()
    return ""


def _stack(thread):
    """Frames of a thread that runs, with their line numbers, the innermost last."""
    frame = sys._current_frames().get(thread.ident)
    return list(traceback.walk_stack(frame))[::-1] if frame else []


def _end(thread):
    """Raise in the thread, several times, as a bare except may swallow the first."""
    for _ in range(5):
        if not thread.is_alive():
            return
        raised = ctypes.py_object(TooLong)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised)
        thread.join(0.1)
