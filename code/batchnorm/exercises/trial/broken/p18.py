"""A pull request: what a graph optimizer left out when it fused two nodes.

https://github.com/jiazhihao/TASO/pull/47
"""

import numpy as np


class Graph:
    """Nodes by name, each with its operator and its constants."""

    def __init__(self):
        self.nodes = {}

    def add(self, name, op, **constants):
        self.nodes[name] = {"op": op, **constants}

    def fuse_matmul_batchnorm(self, first, second, eps):
        layer, norm = self.nodes.pop(first), self.nodes.pop(second)
        weight = layer["weight"].copy()
        rows, columns = weight.shape
        for index in range(rows * columns):
            c_out = index // columns
            root = np.sqrt(norm["var"][c_out] + eps)
            weight[c_out, index % columns] *= norm["scale"][c_out] / root
        self.add(first, layer["op"], weight=weight, bias=layer["bias"])


def fold(weight, bias, gamma, beta, mean, var, eps):
    graph = Graph()
    graph.add("fc", "matmul", weight=weight, bias=bias)
    graph.add("bn", "batchnorm", scale=gamma, shift=beta, mean=mean, var=var)
    graph.fuse_matmul_batchnorm("fc", "bn", eps)
    (fused,) = graph.nodes.values()
    return fused["weight"], fused["bias"]
