"""Training 20 networks at once against a loop over 20 networks of torch.nn modules."""

import numpy as np
import torch
from torch import nn

from batchnorm.datasets import digits
from batchnorm.ensemble import Network, init_parameters, shuffled, train, unpack
from booktools.bench.timing import in_turn, median, threads

SEEDS, STEPS, BATCH, RATE = range(20), 500, 60, 0.1
NETWORK = Network((64,), (64, 64, 64), nonlinearity="relu", norm="batch")
SCALE = 2**0.5
ROUNDS = 5


def loop() -> np.ndarray:
    """One network after the other, as a reader would write it; final test accuracy."""
    accuracy = []
    start = init_parameters(NETWORK, SEEDS, SCALE)
    for k, seed in enumerate(SEEDS):
        split = digits(seed)
        blocks = []
        for layer in unpack(NETWORK, start[k : k + 1]):
            out, fan_in = layer.weight.shape[1:]
            linear = nn.Linear(fan_in, out, bias=layer.bias is not None).double()
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(layer.weight[0].copy()))
                if layer.bias is not None:
                    linear.bias.zero_()
            blocks.append(linear)
            if layer.gamma is not None:
                blocks += [nn.BatchNorm1d(out).double(), nn.ReLU()]
        net = nn.Sequential(*blocks)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        x, y = torch.as_tensor(split.x_train), torch.as_tensor(split.y_train)
        rng = np.random.default_rng([seed, 2])
        for rows in shuffled(split.y_train, BATCH, STEPS, rng):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            predicted = net(torch.as_tensor(split.x_test)).argmax(1).numpy()
        accuracy.append((predicted == split.y_test).mean())
    return np.array(accuracy)


def ensemble() -> np.ndarray:
    """The same networks at once."""
    run = train(
        NETWORK,
        digits,
        SEEDS,
        lr=RATE,
        steps=STEPS,
        batch=BATCH,
        theta=init_parameters(NETWORK, SEEDS, SCALE),
    )
    return run.accuracy[:, -1]


def main() -> None:
    if not np.array_equal(loop(), ensemble()):  # warms both up, too
        raise SystemExit("the two arms do not train the same networks")
    print(
        f"ensemble: {len(SEEDS)} seeds × {STEPS} steps of 64-64-64-64-10 ReLU with "
        f"batch normalization, batch {BATCH}, float64; {ROUNDS} rounds, arms in turn"
    )
    for count in threads():
        rounds = in_turn({"loop": loop, "at once": ensemble}, ROUNDS, least=0)
        print(
            f"  threads {count}: loop {median(rounds, 'loop'):.2f} s, "
            f"at once {median(rounds, 'at once'):.2f} s, "
            f"ratio {median(rounds, 'loop', over='at once'):.1f}"
        )
