import numpy as np

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly
from headstand import heads
from headstand.diagnosis import DeadUnits, InputWait, SearchedRange, TrialResult, gather
from headstand.heads.search import Trial
from headstand.recipe import Head, Search
from headstand.tracking.timing import Steps


def test_units_that_are_zero_for_every_photo_are_dead() -> None:
    model = heads.build(Head(inner=(6, 4)), 3, 2, seed=1)
    first, second = model.get_layer("inner_1"), model.get_layer("inner_2")
    kernel, bias = np.ones((3, 6), np.float32), np.array([0, 0, 0, 0, -99, -99], np.float32)
    first.set_weights([kernel, bias])
    second.set_weights([np.ones((6, 4), np.float32), np.array([-1e6, 0, 0, -20], np.float32)])
    features = np.full((1500, 3), 0.1, np.float32)  # more than one batch
    features[-1] = 1.0  # the only photo that activates the fourth unit of the second layer: 4 x 3 - 20 < 0 for none
    assert gather.dead(model, features) == (DeadUnits("inner_1", 6, 2), DeadUnits("inner_2", 4, 2))
    second.set_weights([np.ones((6, 4), np.float32), np.array([-1e6, 0, 0, -10], np.float32)])
    assert gather.dead(model, features)[1] == DeadUnits("inner_2", 4, 1)


def test_other_activations_have_no_dead_units() -> None:
    features = np.ones((2, 3), np.float32)
    for head in (Head(inner=(6,), activation="gelu"), Head(inner=())):
        assert gather.dead(heads.build(head, 3, 2, seed=1), features) == ()


def test_the_numeric_values_of_a_staged_search_are_its_ranges() -> None:
    search = Search.model_validate(
        {
            "stages": [
                {"parameter": "learning_rate", "values": [0.01, 0.001]},
                {"parameter": "activation", "values": ["relu", "tanh"]},
                {"parameter": "inner", "values": [[], 50, [100]]},
                {"parameter": "inner", "values": [200]},
            ]
        }
    )
    assert gather.searched(search) == (
        SearchedRange("learning_rate", (0.001, 0.01)),
        SearchedRange("inner", (0.0, 50.0, 100.0, 200.0)),
    )


def test_the_ranges_of_several_jobs_are_merged() -> None:
    search = Search.model_validate(
        {
            "strategy": "tpe",
            "jobs": [
                {
                    "trials": 3,
                    "parameters": {
                        "learning_rate": {"low": 0.005, "high": 0.015, "log": True},
                        "batch_size": {"values": [16, 40]},
                        "optimizer": {"values": ["adam", "sgd"]},
                    },
                },
                {"trials": 3, "parameters": {"learning_rate": {"low": 0.015, "high": 0.125, "log": True}}},
            ],
        }
    )
    assert gather.searched(search)[0] == SearchedRange("learning_rate", low=0.005, high=0.125, log=True)
    assert gather.searched(search)[1] == SearchedRange("batch_size", (16.0, 40.0))
    assert len(gather.searched(search)) == 2


def test_pruned_and_diverged_trials_are_left_out() -> None:
    trials = [
        Trial(1, 1, {"dropout": 0.5}, Head(), 0.8, 0.5, 3),
        Trial(1, 2, {"dropout": 0.2}, Head(), 0.7, 0.6, 2, pruned=True),
        Trial(1, 3, {"dropout": 0.1}, Head(), 0.9, float("nan"), 2),
    ]
    assert gather.trial_results(trials, 10) == (TrialResult({"dropout": 0.5}, 0.8),)


def test_only_steps_that_wait_are_reported() -> None:
    steps = Steps()
    steps.parts = {"features": {"waiting for photos": 2.0, "network": 3.0, "cache": 9.0}, "refit": {"network": 1.0}}
    steps.photos = {"features": 70}
    assert gather.waits(steps) == (InputWait("features", 5.0, 2.0, 70),)
