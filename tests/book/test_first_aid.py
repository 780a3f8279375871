"""The page on a model that misbehaves: its functions, on models as people have them."""

import pytest
import torch
from torch import nn

from booktools.notebooks import CHAPTERS, code_cells

NAMES = ("norms", "score", "inputs", "compare", "examine", "report", "refill")
X = (0.7 * torch.arange(512.0) ** 2 % 60).sin().reshape(128, 4) + 1


@pytest.fixture(scope="module")
def page():
    """The first cell of the page, and the functions of its others."""
    code = [cell.source for cell in code_cells(CHAPTERS / "misbehaves.ipynb")]
    space = {}
    exec(code[0], space)
    for part in "\n\n\n".join(code[1:]).split("\n\n\n"):
        if any(f"def {name}(" in part for name in NAMES):
            exec(part, space)
    return space


def build(**options):
    linear = nn.Linear(4, 6)
    linear.weight.data = (0.3 * torch.arange(24.0) ** 2).cos().reshape(6, 4)
    return nn.Sequential(linear, nn.BatchNorm1d(6, **options), nn.ReLU())


def fed(model):
    for _ in range(200):
        model(X)
    return model.eval()


class Branch(nn.Module):
    """Normalizes in a branch that inference leaves out."""

    def __init__(self):
        super().__init__()
        self.main, self.branch = build(), nn.BatchNorm1d(6)

    def forward(self, x):
        y = self.main(x)
        return self.branch(y) if self.training else y


class Frozen(nn.Identity):
    """Has a variance and is no batch normalization of PyTorch's."""

    running_var = torch.ones(4)


class Shared(nn.Module):
    """One normalization, called twice."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(x) + self.norm(3 * x + 2)


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}])
def test_a_healthy_layer_is_reported_as_such(page, options):
    (line,) = page["examine"](fed(build(**options)), X)
    assert line.split()[-3:] == ["0.00", "1.00", "0"]


def test_what_has_nothing_to_compare_says_so(page, capsys):
    (line,) = page["examine"](fed(build(track_running_stats=False)), X)
    assert line.endswith("no buffers")
    _, line = page["examine"](fed(Branch()), X)
    assert line.endswith("not called")
    page["report"](nn.Sequential(Frozen()), X)
    assert "not read: Frozen" in capsys.readouterr().out


def test_each_call_has_a_line(page):
    first, second = page["examine"](fed(Shared()), X)
    assert first != second


def test_a_compiled_model_is_looked_into(page):
    model = torch.compile(fed(build()), backend="eager")
    model(X)
    (line,) = page["examine"](model, X)
    assert line.split()[-3:-1] == ["0.00", "1.00"]


def test_a_constant_channel_is_counted_and_a_nan_is_not_hidden(page):
    model = build()
    model[0].weight.data[2] = 0
    (line,) = page["examine"](fed(model), X)
    assert line.split()[-3:] == ["0.00", "1.00", "1"]
    model[1].running_mean[3] = torch.nan
    (line,) = page["examine"](model, X)
    assert line.split()[-3:-1] == ["nan", "1.00"]


def test_refill_spares_what_is_frozen_and_changes_no_mode(page):
    model = nn.Sequential(build(), nn.Dropout(), build()[:0], nn.BatchNorm1d(6))
    frozen, last = fed(model.train())[0][1], model[-1]
    model.train()
    frozen.eval()
    modes = [part.training for part in model.modules()]
    before = frozen.running_mean.clone()
    pairs = [(part, None) for part in (X + 1).split(32)]
    page["refill"](model, pairs, skip=[frozen])
    assert torch.equal(frozen.running_mean, before)
    assert last.num_batches_tracked == 4
    assert [part.training for part in model.modules()] == modes


def test_refill_that_fails_leaves_the_model_as_it_was(page):
    model = fed(build())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="Expected more than 1 value"):
        page["refill"](model, X[:33].split(32))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model[1].momentum == 0.1
    assert not model.training
