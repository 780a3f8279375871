"""Numbers that an explorable derives, against the vectors they are about."""

import numpy as np
import pytest

from batchnorm.explorables import effective_rate


@pytest.mark.parametrize(("rate", "decay"), [(0.1, 0.0), (0.1, 0.02), (1.0, 0.1)])
@pytest.mark.parametrize("start", [0.15, 10.0])
def test_course_is_that_of_a_vector(rate, decay, start):
    lengths, angles = effective_rate.course(start, rate, decay)
    w = start * np.array([0.6, 0.8])
    for length, angle in zip(lengths[:200], angles, strict=False):
        norm = np.linalg.norm(w)
        # At a right angle to w, of the length 1/‖w‖.
        gradient = np.array([-w[1], w[0]]) / norm**2
        after = (1 - rate * decay) * w - rate * gradient
        cosine = after @ w / norm / np.linalg.norm(after)
        assert length == pytest.approx(norm, rel=1e-12)
        assert np.cos(angle) == pytest.approx(cosine, rel=1e-12)
        w = after


def test_course_comes_to_the_balance_and_to_its_angle():
    lengths, angles = effective_rate.course(0.15, 0.1, 0.02)
    assert lengths[-1] == pytest.approx((0.1 / (2 * 0.02)) ** 0.25, rel=1e-3)
    assert angles[-1] == pytest.approx(np.sqrt(2 * 0.1 * 0.02), rel=1e-3)
