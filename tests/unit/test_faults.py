"""Inputs from public bug reports, and others of their kinds; docs/faults.md lists them.

Each kind has the example that failed here, and more of the same.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from batchnorm import reference, statistics
from batchnorm.layer import BatchNorm, batch_norm, inference, to_torch
from batchnorm.parallel import SyncBatchNorm, convert
from batchnorm.whitening import fit_pca, fit_standardize, fit_zca, zca_backward

each_fit = pytest.mark.parametrize("fit", [fit_standardize, fit_pca, fit_zca])
DEPRECATED = "ignore:.*(deprecated|not supported):DeprecationWarning"  # torch's own
pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings(DEPRECATED),
]


# ------------------------------------------ 1 A check of values where there may be none


def test_inference_under_vmap_over_statistics():
    x, var = torch.randn(4, 3), torch.rand(5, 3)
    zeros = torch.zeros(3)
    every = torch.vmap(lambda v: inference(x, None, None, zeros, v))(var)
    for y, v in zip(every, var, strict=True):
        torch.testing.assert_close(y, inference(x, None, None, zeros, v))


def test_an_ensemble_of_layers_is_batched():
    layers = [BatchNorm(3) for _ in range(4)]
    x = torch.randn(6, 3)
    for k, layer in enumerate(layers):
        layer(k + x)
        layer.eval()
    state = stack_module_state(layers)
    base = copy.deepcopy(layers[0]).to("meta")
    every = torch.vmap(lambda *state: functional_call(base, state, (x,)))(*state)
    for y, layer in zip(every, layers, strict=True):
        torch.testing.assert_close(y, layer(x))


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_without_data_computes_shapes(training):
    layer = BatchNorm(3, device="meta").train(training)
    assert layer(torch.empty(4, 3, 2, device="meta")).shape == (4, 3, 2)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("error")
def test_fake_tensors_have_no_value_to_wait_for(training):
    """What asks a fake tensor for a value would wait for an accelerator."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        layer = BatchNorm(3).train(training)
        assert layer(torch.randn(4, 3)).shape == (4, 3)


def test_make_fx_traces_inference():
    from torch.fx.experimental.proxy_tensor import make_fx

    layer, x = BatchNorm(3).eval(), torch.randn(4, 3)
    torch.testing.assert_close(make_fx(layer)(x)(x), layer(x))


def test_a_negative_variance_is_refused_where_it_is_set_or_loaded():
    layer = BatchNorm(3)
    state = layer.state_dict() | {"running_var": torch.tensor([1.0, -0.5, 1.0])}
    with pytest.raises(RuntimeError, match=r"running_var is -0\.5 in channel 1"):
        BatchNorm(3).load_state_dict(state)
    inside = {f"1.{name}": value for name, value in state.items()}
    with pytest.raises(RuntimeError, match=r"1\.running_var is -0\.5"):
        nn.Sequential(nn.ReLU(), layer).load_state_dict(inside)
    with pytest.raises(ValueError, match=r"running_var is -0\.5 in channel 1"):
        layer.running_var = state["running_var"]
    assert torch.equal(layer.running_var, torch.ones(3))


# ------------------------------------------ 2 A stand-in that torch's tools do not know


def small_model():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 1), BatchNorm(3), nn.Flatten(), nn.Linear(12, 4), BatchNorm(4)
    )
    model(torch.randn(16, 2, 2, 2) + 1)
    return model.eval(), torch.randn(5, 2, 2, 2)


def test_symbolic_trace_keeps_the_layer_as_one_node():
    model = nn.Sequential(nn.Linear(2, 3), BatchNorm(3))
    traced = torch.fx.symbolic_trace(model)
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert called == ["0", "1"]
    x = torch.randn(4, 2)
    torch.testing.assert_close(traced.eval()(x), model.eval()(x))


def test_what_a_tool_cannot_read_is_told_in_one_sentence():
    with pytest.raises(ValueError, match=r"a Proxy of torch\.fx.*nn\.Sequential"):
        torch.fx.symbolic_trace(BatchNorm(3))
    with pytest.raises(ValueError, match=r"to_torch\("):
        torch.jit.script(nn.Sequential(BatchNorm(3)))


def test_fusers_know_the_model_of_torchs_layers():
    from torch.fx.experimental.optimization import fuse

    model, x = small_model()
    y = model(x)
    swapped = to_torch(copy.deepcopy(model), x)
    assert [type(swapped[i]) for i in (1, 4)] == [nn.BatchNorm2d, nn.BatchNorm1d]
    torch.testing.assert_close(swapped(x), y)
    fused = fuse(swapped)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    torch.testing.assert_close(fused(x), y)
    fused = torch.ao.quantization.fuse_modules(swapped, [["0", "1"], ["3", "4"]])
    torch.testing.assert_close(fused(x), y)
    model.load_state_dict(swapped.state_dict())


def test_the_swap_shares_the_state_and_keeps_the_mode():
    model, x = small_model()
    model.train()
    weight = model[1].weight
    swapped = to_torch(model, x)
    assert swapped[1].weight is weight
    assert swapped.training
    assert swapped[1].training
    assert isinstance(to_torch(BatchNorm(3), torch.randn(4, 3)), nn.BatchNorm1d)


class ByKeyword(nn.Module):
    """A model that calls its layer as a module may be called too."""

    def __init__(self):
        super().__init__()
        self.norm = BatchNorm(2)

    def forward(self, x):
        return self.norm(x=x)


def test_the_swap_sees_an_input_that_comes_by_keyword():
    assert type(to_torch(ByKeyword(), torch.randn(4, 2, 3)).norm) is nn.BatchNorm1d


def in_two_places():
    """A layer beside itself, in a block that stands in two places, and another one."""
    norm, other = BatchNorm(2), BatchNorm(2)
    block = nn.Sequential(nn.ReLU(), norm)
    return nn.Sequential(norm, block, norm, block, other)


def assert_in_two_places(model, kind):
    norms = [model[0], model[1][1], model[2], model[3][1]]
    assert all(norm is model[0] for norm in norms)
    assert model[1] is model[3]
    assert model[4] is not model[0]
    assert type(model[0]) is type(model[4]) is kind


def test_a_layer_in_two_places_becomes_one_in_both():
    x = torch.randn(5, 2)
    model = in_two_places().eval()
    y, names = model(x), list(model.state_dict())
    for exchange, kind in (
        (convert, SyncBatchNorm),
        (lambda model: to_torch(model, x), nn.BatchNorm1d),
    ):
        changed = exchange(copy.deepcopy(model))
        assert_in_two_places(changed, kind)
        assert list(changed.state_dict()) == names
        torch.testing.assert_close(changed(x), y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: x, "1 is not reached; allowed are inputs that reach each"),
        (
            lambda model, x: model[1](model[1](x).flatten(1)),
            "1 saw inputs for BatchNorm1d and BatchNorm2d; allowed",
        ),
    ],
    ids=["unreached", "two kinds"],
)
def test_the_swap_refuses_and_leaves_the_model_as_it_was(call, message):
    class Model(nn.ModuleList):
        def forward(self, x):
            return call(self, self[0](x))

    model = Model([BatchNorm(3), BatchNorm(3)])
    with pytest.raises(ValueError, match=message):
        to_torch(model, torch.randn(4, 3, 1, 1))
    assert [type(layer) for layer in model] == [BatchNorm, BatchNorm]
    assert model[0].training


# ---------------------------------------------------- 3 Optional state taken as present


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_whose_statistics_were_taken_away_uses_those_of_the_batch(training):
    layer, x = BatchNorm(3).train(training), torch.randn(4, 3)
    layer.running_mean = layer.running_var = None
    torch.testing.assert_close(layer(x), batch_norm(x, layer.weight, layer.bias))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["running_mean", "running_var"])
def test_half_a_state_is_refused_before_anything_moves(name, training):
    layer = BatchNorm(3).train(training)
    setattr(layer, name, None)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=f"{name} is None; allowed are both or"):
        layer(torch.randn(4, 3))
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_layer_without_a_counter_counts_nothing():
    layer, x = BatchNorm(3, momentum=0.1), torch.randn(4, 3)
    layer.num_batches_tracked = None
    layer(x)
    torch.testing.assert_close(layer.running_mean, 0.1 * x.mean(0))
    layer.momentum = None
    with pytest.raises(ValueError, match="momentum is None and num_batches_tracked"):
        layer(x)


def test_statistics_that_were_never_made_can_be_asked_for():
    layer = BatchNorm(3, track_running_stats=False)
    layer.track_running_stats = True
    assert layer(torch.randn(4, 3)).shape == (4, 3)


# ----------------------------------------------------- 4 Several rules for one question


def two_columns(first):
    rng = np.random.default_rng(0)
    return np.column_stack([np.resize(first, 50), rng.normal(size=50)])


@each_fit
@pytest.mark.parametrize(
    "first",
    [[0.3, 0.1 + 0.2], [14.62], [1e-310], [1.7e308], [1e8, np.nextafter(1e8, 2e8)]],
    ids=["0.3", "14.62", "1e-310", "1.7e308", "1e8"],
)
def test_a_column_that_rounding_alone_moves_is_constant(fit, first):
    x = two_columns(first)
    assert fit(x).rank == 1
    assert fit(x[:, :1]).rank == 0
    assert np.abs(fit(x)(x)[:, 0].mean()) < 1e-12


@each_fit
@pytest.mark.parametrize("exponent", [-1020, -700, -300, 300, 700, 1019])
def test_data_of_every_magnitude_are_whitened_alike(fit, exponent):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3)) + 5
    scaled = np.ldexp(x, exponent)
    np.testing.assert_allclose(fit(scaled)(scaled), fit(x)(x), atol=1e-13)
    dy = np.linspace(-1, 1, 120).reshape(40, 3)
    if abs(exponent) < 1000:
        gradient = np.ldexp(zca_backward(dy, scaled), exponent)
        np.testing.assert_array_equal(gradient, zca_backward(dy, x))


@each_fit
def test_distances_beyond_float64_are_mapped(fit):
    x = np.array([[1.7e308, -1.7e308], [-1.7e308, 1.7e308], [1e308, 1e308]])
    np.testing.assert_allclose(fit(x)(x).std(axis=0), 1)


@each_fit
def test_data_whose_scale_has_no_reciprocal_are_refused(fit):
    with pytest.raises(ValueError, match="less than 1e-308"):
        fit(np.array([[5e-324], [1e-323], [2e-323]]))


# ---------------------------------------------------------- 5 A tie decided by rounding


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_an_axis_does_not_depend_on_the_order_of_rows(sign):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(50, 2))
        x[:, 1] += sign * rng.uniform(0.2, 2) * x[:, 0]
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        axes, again = fit_pca(x).matrix, fit_pca(x[rng.permutation(50)]).matrix
        np.testing.assert_allclose(axes, again, atol=1e-9)
        assert (axes[0] > 0).all()


def test_ties_of_many_columns_go_to_the_first():
    common = np.random.default_rng(2).normal(size=(60, 1))
    x = np.hstack([common, -common, common, -common])
    for columns in (slice(None), [1, 0, 3, 2]):
        assert fit_pca(x[:, columns]).matrix[0, 0] > 0


# ------------------------------------------------------------------------- 6 Infinities


INFINITE = np.array([[1.0, 2.0], [np.inf, 3.0], [4.0, 5.0]])


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, None])
def test_a_channel_with_an_infinity_has_it_as_its_mean(momentum):
    mean = reference.batch_mean(INFINITE)
    np.testing.assert_array_equal(mean, [np.inf, INFINITE[:, 1].mean()])
    running = statistics.RunningStatistics(2, momentum)
    layer = BatchNorm(2, momentum=momentum, dtype=torch.float64)
    for _ in range(2):
        running.update(INFINITE)
        layer(torch.tensor(INFINITE))
    expected = 0 if momentum == 0 else np.inf
    assert running.mean[0] == layer.running_mean[0] == expected
    np.testing.assert_allclose(layer.running_mean[1], running.mean[1])


@pytest.mark.parametrize("cuts", [[], [1], [1, 2]])
def test_a_population_with_an_infinity_has_it_as_its_mean(cuts):
    mean, var = statistics.population_statistics(np.split(INFINITE, cuts))
    assert mean[0] == np.inf
    assert np.isnan(var[0])
    assert var[1] == pytest.approx(INFINITE[:, 1].var())
    below = statistics.population_statistics([-INFINITE[:2], INFINITE[1:]])
    assert np.isnan(below[0][0])


def test_a_large_batch_with_an_infinity_has_it_as_its_mean():
    x = np.random.default_rng(0).normal(size=(70_000, 2))
    x[69_000, 0] = -np.inf
    for dtype in (np.float32, np.float64):
        assert reference.batch_mean(x.astype(dtype))[0] == -np.inf
        layer = BatchNorm(2)
        layer(torch.tensor(x.astype(dtype)))
        assert layer.running_mean[0] == -np.inf
        assert torch.isfinite(layer.running_mean[1])


def shard(mean, var, count=5):
    return np.array([mean]), np.array([var]), count


def test_sums_of_finite_statistics_are_finite_or_refused():
    equal = statistics.merge([shard(1.7e308, 0.0)] * 3)
    assert equal[:2] == (1.7e308, 0.0)
    apart = statistics.merge([shard(1e150, 1.7e308), shard(-1e150, 1.7e308)])
    assert apart[1] == pytest.approx(1.7e308)
    with pytest.raises(ValueError, match="variance of shards is beyond float64"):
        statistics.merge([shard(1e308, 0.0), shard(-1e308, 0.0)])
    for batches in ([[[1.7e308], [-1.7e308]]], [[[1.7e308]], [[-1.7e308]]]):
        with pytest.raises(ValueError, match=r"of (batches|shards) is beyond float64"):
            statistics.population_statistics(map(np.array, batches))
    running = statistics.RunningStatistics(1)
    with pytest.raises(ValueError, match="variance of x is beyond float64"):
        running.update(np.array([[1e200], [-1e200]]))
    assert (running.num_batches, running.var[0]) == (0, 1)
