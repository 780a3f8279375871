"""The kinds of faults of `test_faults`, in the layer that several processes share."""

import pytest
import torch
from torch import nn

from batchnorm.parallel import SyncBatchNorm
from batchnorm.workers import Workers


def steps(rank):
    layer = SyncBatchNorm(3)
    x = torch.empty(0, 3, requires_grad=True)
    layer(x).sum().backward()
    moved = layer.num_batches_tracked.item(), layer.weight.grad.tolist()
    finite = torch.ones(4, 3).double()
    if rank == 1:
        finite[2, 1] = torch.inf
    layer(finite + torch.arange(4.0)[:, None])
    mean = layer.running_mean.tolist()
    layer.running_mean = layer.running_var = None
    layer(finite)
    return moved, mean


def test_empty_shards_infinities_and_state_that_was_taken_away():
    with Workers(2) as two:
        for (count, gradient), mean in two.run(steps):
            assert (count, gradient) == (0, [0, 0, 0])
            assert mean == pytest.approx([0.25, torch.inf, 0.25])


def test_the_layer_is_one_node_of_a_trace():
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 3), SyncBatchNorm(3)))
    assert [node.op for node in traced.graph.nodes].count("call_module") == 2


def test_half_a_state_is_refused():
    layer = SyncBatchNorm(3).eval()
    layer.running_mean = None
    with pytest.raises(ValueError, match="running_mean is None"):
        layer(torch.ones(4, 3))
