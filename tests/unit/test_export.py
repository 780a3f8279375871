"""What the chapter on machines says of exporters, run on torch's own."""

import logging
import warnings

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn


@pytest.fixture(scope="module")
def model():
    """A linear layer, and statistics that are neither those of the data nor 0 and 1."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2, eps=1e-3, momentum=0.2)
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(rng.normal(size=(2, 2))))
        model[1].running_mean += 0.3
    return model, torch.tensor(rng.normal(3, 2, (8, 2)), dtype=torch.float32)


def exported(model, x, **options):
    """The graph, and its output by ONNX's reference; as text the warnings."""
    logging.disable(logging.WARNING)  # of operators of packages that are not there
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            program = torch.onnx.export(
                model, (x,), dynamo=True, verbose=False, **options
            )
    finally:
        logging.disable(logging.NOTSET)
    proto = program.model_proto
    (y,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x.numpy()})
    return proto.graph, y, "\n".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("training", [False, True])
def test_onnx_export_is_of_inference_whatever_the_mode(model, training):
    model, x = model
    graph, y, warned = exported(model.train(training), x, optimize=True)
    assert "BatchNormalization" not in [node.op_type for node in graph.node]  # folded
    assert ("training mode" in warned) == training
    with torch.no_grad():
        np.testing.assert_allclose(y, model.eval()(x), rtol=1e-5, atol=1e-5)


def test_onnx_export_converts_the_momentum_and_keeps_epsilon(model):
    model, x = model
    graph, _, _ = exported(model.eval(), x, optimize=False)
    (node,) = (n for n in graph.node if n.op_type == "BatchNormalization")
    said = {a.name: a.f for a in node.attribute}
    assert said["momentum"] == pytest.approx(1 - model[1].momentum)
    assert said["epsilon"] == pytest.approx(model[1].eps)


@pytest.mark.parametrize("training", [False, True])
def test_torch_export_freezes_the_mode(model, training):
    model, x = model
    program = torch.export.export(model.train(training), (x,))
    (node,) = (n for n in program.graph.nodes if "batch_norm" in n.name)
    assert node.args[5:8] == (training, 0.2, 1e-3)
    with pytest.raises(NotImplementedError):
        program.module().eval()
