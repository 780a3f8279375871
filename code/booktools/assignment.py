"""The assignment of the handout: a stub and a test for each task that is assigned."""

import nbformat

from batchnorm.exercises.graded import KNOWN
from batchnorm.exercises.mistakes import graph
from batchnorm.exercises.nodes import ORDER
from booktools.notebooks import KERNELSPEC

# What is asked, with the shapes and the two conventions on which answers differ.
ASKED = {
    "forward": "**The transform** (Exercise 4.4). Algorithm 1 for `x` of shape (m, d), "
    "`gamma` and `beta` of shape (d,). Return `y`.",
    "backward": "**Its gradient** (Exercise 6.3). For `dy` and `x` of shape (m, d) and "
    "`gamma` of shape (d,), in training mode. Return `dx`, `dgamma` and `dbeta`.",
    "group_backward": "**The gradient of group normalization.** `dy` and `x` have the "
    "shape (N, C, H, W), `gamma` (C,). Channels are cut into `groups` groups of "
    "neighbors. Mean and variance of a group go over its channels and pixels, in one "
    "example; the output is γ x̂ + β with a γ for each channel. Return `dx`, `dgamma` "
    "and `dbeta`. (Chapter 14 says what changes against batch normalization.)",
    "feature_maps": "**Feature maps** (Exercise 9.6). The transform for `x` of shape "
    "(N, C, H, W), `gamma` and `beta` of shape (C,). Return `y`.",
    "layer_norm": "**Layer normalization** (Exercise 14.3). For `x` of shape (m, d), "
    "each row by itself; `gamma` and `beta` of shape (d,). Return `y`.",
    "layer_backward": "**Its gradient** (Exercise 14.4). For `dy` and `x` of shape "
    "(m, d) and `gamma` of shape (d,). Return `dx`, `dgamma` and `dbeta`.",
    "running": "**The running average** (Exercise 10.5). The stored `mean` and `var`, "
    "both (d,), after one more mini-batch `x` of shape (m, d). `momentum` is the "
    "weight of the new mini-batch; the stored variance divides by m − 1.",
    "inference": "**Inference mode** (section 10.1). For `x` of shape (m, d) and "
    "stored `mean` and `var` of shape (d,). Return `y`.",
    "fold": "**Folding** (section 10.9). A linear layer `weight` (out, in), `bias` "
    "(out,), and the normalization behind it, in inference mode. Return the weight and "
    "the bias of one layer that computes the same.",
    "merge": "**Merging shards** (Exercise 10.4). `shards` is a list of triples (mean, "
    "biased var, count). Return those of the whole.",
    "whiten": "**ZCA whitening** (Exercise 1.6). For `x` of shape (m, d), with the "
    "covariance that divides by m. Return the whitened rows.",
    "module": "**The layer** (Exercise 10.6). A class of `torch.nn.Module` with "
    "`weight`, `bias`, `running_mean` and `running_var`, in both modes, as PyTorch "
    "does it: `momentum` is the weight of the new mini-batch, and the variance that is "
    "stored divides by m − 1.",
    "sync_backward": "**The backward pass of many workers** (Exercise 15.4). `dy` and "
    "`x` are lists with a shard (m_k, d) for each worker. Return `dx` as such a list, "
    "and `dgamma` and `dbeta` over all rows.",
    "redrawn_noise": "**The noise that is redrawn** (Exercise 12.4). For the generator "
    "`rng`, a factor from U(1, 5/4) and a shift from U(−1/2, 1/2) for each unit, drawn "
    "anew in each call and shared by all examples: two tensors of shape (1, units).",
    "graph": "**The whole graph** (Exercise 5.4). The gradient at each node of chapter "
    "5 for the batch below, each of the shape of its value.",
}

TEST = '''\
"""Whether {name} is right, and else what is wrong with it."""

from otter.test_files import test_case

OK_FORMAT = False

name = "{name}"
points = 1


@test_case(points=1)
def test_{name}({answer}):
    from batchnorm.exercises import diagnose
    from batchnorm.exercises.borrowing import borrowed

    found = diagnose("{name}", {answer})
    assert found.right, found.message
    module = borrowed("{name}", {answer})
    assert not module, f"{name} calls {{module}}: write it without the package."
'''


def assigned(names):
    """These names, if each is a key of `ASKED` and comes once -> tuple of str."""
    for name in names:
        if name not in ASKED:
            raise ValueError(
                f"no task {name!r}; allowed are {', '.join(sorted(ASKED))}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"a task is named twice: {', '.join(names)}")
    return tuple(names)


def answer(name):
    """The name that a student's answer has in the notebook."""
    return {"module": "Mine", "graph": "gradients"}.get(name, name)


def stub(name):
    """What a student fills in for a task: Python, which runs as it is -> str."""
    if name == "module":
        return (
            "class Mine(nn.Module):\n"
            "    def __init__(self, num_features, eps=1e-5, momentum=0.1):\n"
            "        super().__init__()\n"
            "        # your lines here, and a method forward(self, x)"
        )
    if name == "graph":
        nodes = "\n".join(f'    "{node}": ...,' for node in ORDER)
        given = f"x, dy = np.array({graph.X.tolist()}), np.array({graph.DY.tolist()})"
        numbers = f"gamma, beta, eps = {graph.GAMMA[0]}, {graph.BETA[0]}, {graph.EPS}"
        return f"{given}\n{numbers}\n\ngradients = {{\n{nodes}\n}}"
    called, gives = KNOWN[name].signature.split(" -> ")
    return f"def {called}:\n    ...  # returns {gives}"


def assignment(names):
    """A notebook with a stub for each of these tasks -> NotebookNode."""
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    text = (
        "# An assignment\n\nWrite your lines in place of the dots, and run all cells. "
        "Use NumPy or PyTorch, and of the package `batchnorm` nothing but `check`. "
        "Each task is worth one point."
    )
    imports = "import numpy as np\n"
    imports += "import torch\n" * ("redrawn_noise" in names)
    imports += "from torch import nn\n" * ("module" in names)
    imports += "\nfrom batchnorm.exercises import check"
    cells = [markdown(text, id="title"), code(imports, id="imports")]
    for name in names:
        last = f'check("{name}", {answer(name)})'
        cells.append(markdown(ASKED[name], id=f"ask-{name.replace('_', '-')}"))
        cells.append(code(f"{stub(name)}\n\n\n{last}", id=name.replace("_", "-")))
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = nbformat.from_dict(KERNELSPEC)
    return nb


def test(name):
    """The test of a task, as otter-grader reads it: Python -> str."""
    return TEST.format(name=name, answer=answer(name))
