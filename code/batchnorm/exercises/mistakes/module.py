"""Mistakes in a PyTorch module: what it does in training, in evaluation, and keeps.

`observe` puts a class through both modes and writes down, as arrays, what can be seen
from outside. The second batch goes through in training without a gradient, and the
evaluation is with one: a mode guessed from the gradient is found out.
"""

from dataclasses import replace

import numpy as np

from batchnorm.exercises.lines import Lines, by_id, mistake
from batchnorm.exercises.mistakes.normalize import ARITHMETIC
from batchnorm.exercises.mistakes.statistics import RUNNING

MODULE = Lines(
    mode=lambda training: training,
    count=lambda x: len(x),
    batch_mean=lambda x: x.mean(0),
    batch_var=lambda x, batch_mean: ((x - batch_mean) ** 2).mean(0),
    carried=lambda: lambda statistic: statistic,
    own_mean=lambda batch_mean, carried: carried(batch_mean),
    own_var=lambda batch_var, carried: carried(batch_var),
    given_mean=lambda running_mean: running_mean,
    given_var=lambda running_var: running_var,
    mean=lambda mode, own_mean, given_mean: own_mean if mode else given_mean,
    var=lambda mode, own_var, given_var: own_var if mode else given_var,
    shifted=lambda var, eps: var + eps,
    std=lambda shifted: shifted**0.5,
    x_hat=lambda x, mean, std: (x - mean) / std,
    y=lambda weight, x_hat, bias: weight * x_hat + bias,
    new=lambda momentum: momentum,
    stored_var=lambda batch_var, count: batch_var * count / (count - 1),
    next_mean=lambda running_mean, new, batch_mean: (
        (1 - new) * running_mean + new * batch_mean
    ),
    next_var=lambda running_var, new, stored_var: (
        (1 - new) * running_var + new * stored_var
    ),
    updates=lambda mode: mode,
    kept=lambda: lambda statistic: statistic.detach(),
    registered=lambda: True,
)


def build(program):
    """A class whose forward pass is the program, right or wrong."""
    import torch
    from torch import nn

    class Module(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            (registered,) = program.run(["registered"], {})
            for name, start in [("running_mean", 0.0), ("running_var", 1.0)]:
                value = torch.full((num_features,), start, dtype=torch.float64)
                if registered:
                    self.register_buffer(name, value)
                else:
                    setattr(self, name, value)

        def forward(self, x):
            own = ["training", "weight", "bias", "running_mean", "running_var"]
            given = {name: getattr(self, name) for name in [*own, "eps", "momentum"]}
            given["x"] = x
            wanted = ["y", "next_mean", "next_var", "updates", "kept"]
            y, mean, var, updates, kept = program.run(wanted, given)
            if updates:
                self.running_mean, self.running_var = kept(mean), kept(var)
            return y

    return Module


def observe(cls):
    """A program that puts a class through both modes.

    It is called as ``cls(num_features, eps=..., momentum=...)``, and has weight, bias,
    running_mean and running_var.
    """
    import torch

    def scenario(x, then, dy, gamma, beta, eps, momentum):
        module = cls(len(gamma), eps=eps, momentum=momentum).double().train()
        module.weight.data = torch.from_numpy(gamma)
        module.bias.data = torch.from_numpy(beta)
        x = torch.from_numpy(x).requires_grad_()

        y = module(x)
        wanted = [x, module.weight, module.bias]
        gradients = torch.autograd.grad(
            y, wanted, torch.from_numpy(dy), allow_unused=True, materialize_grads=True
        )
        graph = sum(buffer.requires_grad for buffer in _running(module))
        with torch.no_grad():
            module(torch.from_numpy(then))
        trained = [buffer.detach().clone() for buffer in _running(module)]
        saved = {"running_mean", "running_var"} & module.state_dict().keys()
        learned = {"weight", "bias"} & dict(module.named_parameters()).keys()

        module.eval()
        inferred = module(x)
        moved = [
            buffer.detach() - before
            for buffer, before in zip(_running(module), trained, strict=True)
        ]
        seen = [y, *gradients, *trained, inferred, *moved]
        seen = [tensor.detach().numpy() for tensor in seen]
        return (*seen, np.array(graph), np.array(len(saved)), np.array(len(learned)))

    return scenario


def _recording():
    import torch

    return torch.is_grad_enabled()


def _running(module):
    return [module.running_mean, module.running_var]


def right(*arguments):
    """What the book's own module shows in a scenario."""
    from batchnorm.layer import BatchNorm

    return observe(BatchNorm)(*arguments)


# What is said of these, the tasks of a single function say as well.
_RUNNING, _TRANSFORM = by_id(RUNNING), by_id(ARITHMETIC)

MODULE_MISTAKES = [
    mistake(
        "inference-gradient",
        "In training no gradient passes through the statistics, as at inference.",
        "Statistics under torch.no_grad look like those of a buffer.",
        "Steps go where the next pass takes them away; at large rates it fails.",
        "ch-closed-form-practice",
        "anthonymlortiz/lcn#2",
        carried=lambda: lambda statistic: statistic.detach(),
    ),
    mistake(
        "batch-statistics-used",
        "In evaluation the batch's own statistics are used: the mode is not looked at.",
        "Training works.",
        "An answer depends on what else is in the batch; a batch of one gives β.",
        "ch-inference-constants",
        "ooples/AiDotNet.Tensors#27",
        given_mean=lambda batch_mean: batch_mean,
        given_var=lambda batch_var: batch_var,
    ),
    mistake(
        "running-statistics-used",
        "In training the running statistics normalize, not the batch's own.",
        "Training and evaluation agree.",
        "Nothing is normalized at first, and no gradient passes through statistics.",
        "ch-inference-layer",
        "apache/systemds#390",
        own_mean=lambda running_mean: running_mean,
        own_var=lambda running_var: running_var,
    ),
    mistake(
        "graph-kept",
        "The running statistics keep the graph of the batches: detach them.",
        "The numbers are right.",
        "Memory grows with every batch, until it is full.",
        "ch-inference-layer",
        "bayesiains/nflows#10",
        kept=lambda: lambda statistic: statistic,
    ),
    mistake(
        "updates-in-eval",
        "The running statistics are updated in evaluation as well.",
        "The update stands outside of the branch on the mode.",
        "Evaluating changes the model: the test set leaks into it.",
        "ch-inference-no-grad",
        "pytorch/vision#2079",
        updates=lambda: True,
    ),
    mistake(
        "never-updates",
        "The running statistics never change from 0 and 1.",
        "In training they are not needed.",
        "Evaluation does not normalize at all.",
        "ch-inference-lag",
        "HomericIntelligence/Odyssey#5532",
        updates=lambda: False,
    ),
    mistake(
        "mode-from-gradient",
        "The mode is guessed from whether gradients are recorded, not from training.",
        "Evaluation is mostly under torch.no_grad.",
        "A saliency map gets batch statistics; a warm-up without gradients none.",
        "ch-inference-no-grad",
        mode=lambda: _recording(),
    ),
    mistake(
        "statistics-not-saved",
        "The running statistics are not registered as buffers.",
        "An attribute works until the model is saved or moved.",
        "A loaded model evaluates with 0 and 1.",
        "ch-inference-layer",
        "d2l-ai/d2l-zh#1265",
        registered=lambda: False,
    ),
    replace(
        _RUNNING["momentum-swapped"],
        lines={"new": lambda momentum: 1 - momentum},
    ),
    replace(
        _RUNNING["variance-biased"],
        source="callummcdougall/ARENA_3.0#415",
        lines={"stored_var": lambda batch_var: batch_var},
    ),
    replace(
        _TRANSFORM["variance-unbiased"],
        tempting="torch.var divides by m − 1 unless told otherwise.",
        lines={
            "own_var": lambda batch_var, count, carried: carried(
                batch_var * count / (count - 1)
            )
        },
    ),
    _TRANSFORM["eps-missing"],
    mistake(
        "eps-stored",
        "ε is added to the running variance as well, again with every batch.",
        "var + eps was computed, and given its name.",
        "In evaluation ε counts twice.",
        "ch-inference-layer",
        "nntrainer/nntrainer#677",
        stored_var=lambda batch_var, count, eps: batch_var * count / (count - 1) + eps,
    ),
]
