"""The backward pass handed over node by node: the first wrong node is named."""

from batchnorm import graph
from batchnorm.exercises import diagnosis, messages
from batchnorm.exercises.diagnosis import Diagnosis
from batchnorm.exercises.mistakes.graph import SHOWN

ORDER = [SHOWN.get(name, name) for name in graph.Gradients._fields[1:]]


def examine(tasks, answers):
    """Diagnose the gradients at all nodes, in the order of the backward pass.

    `answers` go from names of nodes, the long or the short ones, to arrays -> the
    diagnosis of the first node that is wrong; its mistake is ``node:id``.
    """
    if answers is None or answers is ...:
        return Diagnosis(False, None, messages.no_nodes())
    if not isinstance(answers, dict):
        return Diagnosis(False, None, messages.no_dict(answers))
    named = {SHOWN.get(name, name): value for name, value in answers.items()}
    for name in answers:
        if SHOWN.get(name, name) not in ORDER:
            return Diagnosis(False, None, messages.unknown_node(name, ORDER))
    for node in ORDER:
        if node not in named:
            return Diagnosis(False, None, messages.missing_node(node))
        found = diagnosis.examine(tasks[f"graph.{node}"], named[node])
        if not found.right:
            mistake = f"{node}:{found.mistake}" if found.mistake else None
            return Diagnosis(False, mistake, found.message)
    return Diagnosis(True, None, messages.all_nodes(len(ORDER)))
