"""Right programs in other styles are right: nobody is accused falsely."""

import pytest
from right_inference import (
    FOLD,
    INFERENCE,
    MERGE,
    MODULES,
    RUNNING,
    SYNC,
    WHITEN,
    by_eigh,
    by_svd,
    running_with,
    torch_running,
)
from right_noise import NOISE
from right_transforms import (
    BACKWARD,
    FEATURE_MAPS,
    FORWARD,
    LAYER_BACKWARD,
    LAYER_NORM,
    by_einsum,
    centered_first,
    chain_rule,
    maps_by_axes,
    maps_one_by_one,
    sums_first,
    through_float,
)

from batchnorm.exercises import TASKS, diagnose, styles

RIGHT = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "feature_maps": FEATURE_MAPS,
    "layer_norm": LAYER_NORM,
    "layer_backward": LAYER_BACKWARD,
    "running": RUNNING,
    "inference": INFERENCE,
    "fold": FOLD,
    "merge": MERGE,
    "whiten": WHITEN,
    "module": MODULES,
    "sync_backward": SYNC,
    "redrawn_noise": NOISE,
}


def programs():
    for task, right in RIGHT.items():
        for k, program in enumerate([*right, *styles.of(task).values()]):
            yield pytest.param(task, program, id=f"{task}-{k}-{program.__name__}")


@pytest.mark.parametrize(("task", "program"), list(programs()))
def test_a_right_program_is_right(task, program):
    found = diagnose(task, program)
    assert found.right, found.message
    assert "to rounding" in found.message


SINGLE = {
    "forward": FORWARD[18:20] + FORWARD[8:10],
    "backward": [chain_rule, sums_first, centered_first],
    "feature_maps": [maps_by_axes, maps_one_by_one],
    "layer_norm": [LAYER_NORM[1]],
    "layer_backward": [LAYER_BACKWARD[1]],
    "running": [RUNNING[1], running_with(by_einsum)],
    "inference": INFERENCE[:3],
    "fold": FOLD[:3],
    "whiten": [by_eigh, by_svd],
}


@pytest.mark.parametrize(
    ("task", "program"), [(task, p) for task, some in SINGLE.items() for p in some]
)
def test_a_right_program_in_float32_is_right_in_float32(task, program):
    found = diagnose(task, through_float(program))
    assert found.right, found.message
    assert "right in float32" in found.message


def test_a_dozen_right_programs_for_each_task():
    assert RIGHT.keys() == {name for name, task in TASKS.items() if not task.answer}
    assert all(len(right) + len(styles.of(task)) >= 12 for task, right in RIGHT.items())


def test_what_writes_to_its_arguments_is_told_so():
    found = diagnose("running", torch_running)
    assert found.mistake == "writes-to-input"
    assert "After the call, mean is not what it was before." in found.message
