import copy
from typing import Any

import pytest

from headstand.learn.report.card import card
from headstand.learn.training import Outcome

ACCURACY = {"trained": 0.9, "served": 0.8, "lost": 0.1, "interval": [-0.05, 0.25]}
FIGURES = {
    "count": 12, "agreement": 0.9753, "largest_difference": 3.2e-2, "mean_difference": 1e-3, "accuracy": ACCURACY,
}  # fmt: skip
CERTIFICATE: dict[str, Any] = {
    **FIGURES, "format": "int8", "bytes": 2_480_000, "verdict": "passed", "missing": [], "asked": "so much",
    "photos": "test", "seen_in_training": False, "unseen": None, "milliseconds": {"1 thread": 1.88, "2 threads": 1.2},
}  # fmt: skip


@pytest.fixture
def record(outcome: Outcome) -> dict[str, Any]:
    """The run's report, to be changed at will."""
    return copy.deepcopy(outcome.report)


def one_line(record: dict[str, Any]) -> str:
    return " ".join(card(record).split())


def test_the_card_has_the_figures_of_the_report(outcome: Outcome) -> None:
    record = outcome.report
    text = (outcome.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert text == card(record)
    low, high = record["test"]["interval"]
    assert f"Test accuracy is {record['test']['accuracy']:.3f} ({low:.3f} to {high:.3f}, Wilson)" in text
    for split in ("validation", "test"):
        scores = record[split]
        low, high = scores["interval"]
        assert (
            f"| {split} | 12 | {scores['accuracy']:.3f} | {low:.3f} to {high:.3f} | {scores['top_k']:.3f} | "
            f"{scores['macro_f1']:.3f} | {scores['loss']:.3f} |" in text
        )
    assert "| split | photos | accuracy | 95 % interval | top 2 | macro F1 | log loss |" in text
    assert f"divided by {record['calibration']['temperature']:.3f}" in text
    assert record["data"]["digest"] in text
    assert text.startswith("# shapes: a classifier of 3 classes\n\nClasses: circle, cross, square.\n")
    assert "24 for training, 12 for\n  validation, 12 for test, near duplicates never on two sides." in text
    assert "MobileNet at 32 x 32 pixels; frozen, only the head was trained." in text


@pytest.mark.parametrize(
    ("epochs", "unfreeze", "told"),
    [
        (1, "all", "all of it fine-tuned for 1 epoch (BatchNormalization kept as it was)."),
        (12, "all", "all of it fine-tuned for 12 epochs (BatchNormalization kept as it was)."),
        (5, "4 blocks", "its last 4 blocks fine-tuned for 5 epochs (BatchNormalization kept as it was)."),
    ],
)
def test_what_was_trained(record: dict[str, Any], epochs: int, unfreeze: str, told: str) -> None:
    record["recipe"]["finetune"] |= {"epochs": epochs, "unfreeze": unfreeze}
    record["checkpoint"] = f"shapes_{epochs:02d}_0.900.h5"
    assert told in card(record)


def test_the_card_states_the_selected_number_of_epochs(record: dict[str, Any]) -> None:
    record["recipe"]["finetune"] |= {"epochs": 12, "unfreeze": "all"}
    record["checkpoint"], record["best_epoch"] = "shapes_07_0.900.h5", 7
    assert "all of it fine-tuned for 7 of 12 epochs (" in card(record)
    record["refitted"] = "shapes_07_all.h5"
    assert "all of it fine-tuned for 7 of 12 epochs (" in card(record)
    assert "trained once more in the same way, 7 epochs, on all three splits" in one_line(record)


def test_where_it_comes_from_is_the_recipes_word(record: dict[str, Any]) -> None:
    record["recipe"]["card"] = {"weights": "from somewhere.", "photos": "Twelve of each."}
    text = one_line(record)
    assert "Trained from: from somewhere." in text
    assert "Trained on: Twelve of each. After cleaning, 24" in text


def test_a_refitted_model_is_not_the_one_that_was_measured(record: dict[str, Any]) -> None:
    assert "are the ones that these figures were taken with" in one_line(record)
    record["refitted"] = "shapes_12_all.h5"
    text = one_line(record)
    assert "**The weights in this folder are not the ones that these figures were taken with.**" in text
    assert "trained once more in the same way, on all three splits" in text
    record["recipe"]["finetune"]["epochs"] = 12
    assert "trained once more in the same way, 12 epochs, on all three splits" in one_line(record)


def test_twins_are_told(record: dict[str, Any]) -> None:
    assert "No test photo has a near twin among the photos that the starting weights" in one_line(record)
    record["leak"] = {"photos": ["a", "b"], "accuracy_without": 0.5}
    record["straddling"] = {"photos": ["c"], "accuracy_without": None}
    text = one_line(record)
    assert (
        "2 test photos have near twins among those that the starting weights were fine-tuned on; without them the "
        "accuracy is 0.500." in text
    )
    assert "1 test photos have near twins in training, as the source divides them." in text
    assert "near duplicates never on two sides" not in text


def test_sure_answers_are_told_where_there_is_a_threshold(record: dict[str, Any]) -> None:
    record["calibration"] |= {"threshold": 0.0}
    assert "not sure" not in card(record)
    record["calibration"] |= {
        "threshold": 0.71,
        "test": {"coverage": 0.9, "accuracy": 0.98, "interval": [0.9, 0.99], "accuracy_of_others": 0.5},
    }
    assert (
        'Answers below 0.71 are called "not sure": on test 90% are sure, and of those 0.980 (0.900 to 0.990) are right.'
        in one_line(record)
    )
    record["calibration"]["test"]["accuracy"] = None
    assert "not sure" not in card(record)


def test_files_are_named_once_there_is_a_bundle(record: dict[str, Any]) -> None:
    assert "## Files" not in card(record)
    text = card(record, CERTIFICATE)
    assert "`shapes.tflite`: the same in int8 (2.5 MB), with its labels inside." in text
    assert "It passed: asked is so much." in text
    table = text[text.index("| 12 test photos") :].splitlines()
    assert table[:8] == [
        "| 12 test photos, from their files on | these weights |",
        "| --- | --- |",
        "| same class | 97.53% |",
        "| largest difference of a probability | 3.2e-02 |",
        "| mean difference | 1.0e-03 |",
        "| accuracy of the `.h5`, of the `.tflite` | 0.9000, 0.8000 |",
        "| lost, in points, with its 95 % interval | 10.00 (-5.00 to 25.00) |",
        "| one photo takes | 1.9 ms on 1 thread, 1.2 ms on 2 threads |",
    ]


def test_what_failed_and_what_was_seen_is_told(record: dict[str, Any]) -> None:
    unseen = {**FIGURES, "agreement": 0.5, "accuracy": None}
    bad = {
        "verdict": "FAILED",
        "missing": ["this", "that"],
        "seen_in_training": True,
        "accuracy": None,
        "unseen": unseen,
    }
    text = card(record, {**CERTIFICATE, **bad})
    assert "**It does not** (FAILED): this; that." in text
    assert "| these weights, which have seen the photos | the weights before the refit |\n| --- | --- | --- |" in text
    assert "| same class | 97.53% | 50.00% |" in text
    assert "accuracy of the" not in text
