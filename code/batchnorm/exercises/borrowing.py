"""Whether a program answers by calling the book's package, for graders."""

import inspect
import threading

from batchnorm.exercises import calls
from batchnorm.exercises.graded import KNOWN


def borrowed(task, program):
    """The module, as ``batchnorm.reference``, that a program calls, or nothing.

    The program, a function or a class, runs on the smallest input of the task of that
    name, and every call is looked at, however it came about.
    """
    task = KNOWN.get(task)
    if task is None or not callable(program):
        return ""
    body = program.forward if inspect.isclass(program) else program
    own = getattr(body, "__globals__", None)
    found = []

    def look(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not module.startswith("batchnorm."):
            return
        while (frame := frame.f_back) and frame.f_globals is not own:
            pass
        if frame:  # somewhere above stands a line of the program
            found.append(module)

    before = threading.getprofile()
    threading.setprofile(look)
    try:
        calls.call(task.adapt(program), task.probes[0].fresh())
    finally:
        threading.setprofile(before)
    return found[0] if found else ""
