"""Published samples, as torch and ONNX keep them, for tests that run them."""

import hypothesis
import pytest
import torch
from onnx import helper
from onnx.backend.test.case import node as onnx_node

# Torch's test code loads a hypothesis profile of its own when it is imported, which
# would change the property tests of the whole session: conftest's is loaded again.
from torch.testing._internal.common_methods_invocations import op_db

hypothesis.settings.load_profile("book")


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def op_samples(names, dtypes):
    """Torch's samples of its functionals of these names: name, sample and dtype."""
    for info in op_db:
        name = info.name.removeprefix("nn.functional.")
        if name not in names or not info.dtypes:
            continue
        for dtype in dtypes:
            torch.manual_seed(0)
            samples = info.sample_inputs("cpu", dtype, requires_grad=True)
            for number, sample in enumerate(samples):
                id = f"{name}-{name_of(dtype)}-{number}"
                yield pytest.param(name, sample, dtype, id=id)


def onnx_cases(*kinds):
    """ONNX's cases of operators: node, inputs, outputs; not of their expansions."""
    for case in onnx_node._NodeTestCases:
        (node, *others) = case.model.graph.node
        if node.op_type in kinds and not others:
            for inputs, outputs in case.data_sets:
                yield pytest.param(node, inputs, outputs, id=case.name)


def attributes_of(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def each_source(sources):
    """Run a test for the samples of each source, and say how many there are."""
    cases = [pytest.param(c, id=f"{name}: {len(c)}") for name, c in sources.items()]
    return pytest.mark.parametrize("samples", cases)
