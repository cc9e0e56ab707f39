import copy
from typing import Any

import pytest

from headstand.evaluation import calibration, unknown_inputs
from headstand.report.card import card
from headstand.training import Outcome

ACCURACY = {"trained": 0.9, "served": 0.8, "lost": 0.1, "interval": [-0.05, 0.25]}
FIGURES = {
    "count": 12, "agreement": 0.9753, "largest_difference": 3.2e-2, "mean_difference": 1e-3, "accuracy": ACCURACY,
}  # fmt: skip
CERTIFICATE: dict[str, Any] = {
    **FIGURES, "format": "int8", "bytes": 2_480_000, "verdict": "passed", "missing": [], "required": "so much",
    "photos": "test", "seen_in_training": False, "before_refit": None, "confidence": None,
    "milliseconds": {"1 thread": 1.88, "2 threads": 1.2},
}  # fmt: skip


@pytest.fixture
def record(outcome: Outcome) -> dict[str, Any]:
    """A copy of the run's report."""
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
    assert "| split | photos | accuracy | 95 % interval | top-2 accuracy | macro F1 | log loss |" in text
    assert f"divides its logits by a temperature of {record['calibration']['temperature']:.3f}" in text
    assert calibration.described(record["calibration"]["guarantee"]) in text
    assert calibration.error_described(record["test"]["reliability"], 12) in text
    assert unknown_inputs.described(record["known"]) in text
    marked = "Each answer says whether the input is similar to the training photos (see Metrics)."
    assert marked in text and marked not in card({key: value for key, value in record.items() if key != "known"})
    assert record["data"]["digest"] in text
    assert text.startswith("# shapes: a classifier of 3 classes\n\nClasses: circle, cross, square.\n")
    assert "24 photos for training, 12 for validation, 12 for\n  test." in text
    assert "MobileNet at 32 x 32 pixels; the backbone is frozen, only the head was trained." in text


@pytest.mark.parametrize(
    ("epochs", "unfreeze", "sentence"),
    [
        (1, "all", "all layers fine-tuned for 1 epoch (BatchNormalization layers frozen)."),
        (12, "all", "all layers fine-tuned for 12 epochs (BatchNormalization layers frozen)."),
        (5, "4 blocks", "its last 4 blocks fine-tuned for 5 epochs (BatchNormalization layers frozen)."),
    ],
)
def test_what_was_trained(record: dict[str, Any], epochs: int, unfreeze: str, sentence: str) -> None:
    record["recipe"]["finetune"] |= {"epochs": epochs, "unfreeze": unfreeze}
    record["checkpoint"] = f"shapes_{epochs:02d}_0.900.h5"
    assert sentence in card(record)


def test_the_card_states_the_selected_number_of_epochs(record: dict[str, Any]) -> None:
    record["recipe"]["finetune"] |= {"epochs": 12, "unfreeze": "all"}
    record["checkpoint"], record["best_epoch"] = "shapes_07_0.900.h5", 7
    assert "all layers fine-tuned for 7 of 12 epochs (" in card(record)
    record["refitted"] = "shapes_07_all.h5"
    assert "all layers fine-tuned for 7 of 12 epochs (" in card(record)
    assert "trained again for 7 epochs on all three splits" in one_line(record)


def test_origin_of_weights_and_photos_is_taken_from_the_recipe(record: dict[str, Any]) -> None:
    record["recipe"]["card"] = {"weights": "from somewhere.", "photos": "Twelve of each."}
    record["recipe"]["backbone"]["weights"] = "imagenet"
    text = one_line(record)
    assert "Starting weights: ImageNet weights of keras.applications. The recipe states: from somewhere." in text
    assert "12 for test. The recipe states: Twelve of each. Manifest" in text
    record["recipe"]["backbone"]["name"] = "EfficientNetLite0"
    assert "Starting weights: ImageNet weights of Headstand (models/backbones). The" in one_line(record)
    record["recipe"]["backbone"] |= {"name": "nets/one.keras", "weights": "pretrained"}
    assert "Starting weights: the file `one.keras`. The recipe states" in one_line(record)


def test_a_refitted_model_is_not_the_one_that_was_measured(record: dict[str, Any]) -> None:
    assert "The metrics were measured with the weights in this folder." in one_line(record)
    record["refitted"] = "shapes_12_all.h5"
    text = one_line(record)
    assert "**The metrics were not measured with the weights in this folder.**" in text
    assert "trained again on all three splits" in text
    record["recipe"]["finetune"]["epochs"] = 12
    assert "trained again for 12 epochs on all three splits" in one_line(record)


def test_near_duplicates_are_reported(record: dict[str, Any]) -> None:
    assert "Preparation found no near duplicates of test photos among the training photos." in one_line(record)
    record["leak"] = {"photos": ["a", "b"], "accuracy_without": 0.5, "compared": 9}
    record["split_leak"] = {"photos": ["c"], "accuracy_without": None, "compared": 24}
    text = one_line(record)
    assert (
        "2 test photos have near duplicates among those that the starting weights were fine-tuned on; without them the "
        "accuracy is 0.500." in text
    )
    assert (
        "1 test photo has near duplicates among the training photos, because the splits are those of the source."
        in text
    )
    assert "Preparation found no" not in text


@pytest.mark.parametrize(
    ("weights", "compared", "sentence"),
    [
        ("imagenet", 0, "Whether ImageNet contains test photos was not checked."),
        ("none", 0, None),
        ("mine.weights.h5", 0, "The training data of the starting weights are not known"),
        # A checkpoint without fingerprints, or a report of an older version.
        ("earlier.h5", 0, "The training data of the starting weights are not known"),
        ("earlier.h5", None, "The training data of the starting weights are not known"),
        (
            "earlier.h5",
            2582,
            "No test photo has near duplicates among the 2582 that the starting weights were fine-tuned on.",
        ),
    ],
)
def test_only_known_facts_about_the_starting_weights_are_stated(
    record: dict[str, Any], weights: str, compared: int | None, sentence: str | None
) -> None:
    record["recipe"]["backbone"]["weights"] = weights
    record["leak"] = {"photos": [], "accuracy_without": 0.9}
    if compared is not None:
        record["leak"]["compared"] = compared
    text = one_line(record)
    sentences = ("was not checked", "are not known", "No test photo has near duplicates among")
    assert [one for one in sentences if one in text] == [one for one in sentences if sentence and one in sentence]
    assert sentence is None or sentence in text
    assert ("none, initialised at random." in text) == (weights == "none")
    if weights.endswith(".h5"):
        assert f"Starting weights: the file `{weights}`." in text


def test_an_unstated_origin_of_the_photos_is_left_out(record: dict[str, Any]) -> None:
    """Private photos with a recipe that states nothing."""
    record["recipe"]["card"] = {"weights": "not stated", "photos": "not stated"}
    text = one_line(record)
    for unverified in ("web", "states", "not stated", "stand for everybody", "cleaning"):
        assert unverified not in text


def test_the_card_of_a_heatmap_model_mentions_heatmaps(record: dict[str, Any]) -> None:
    record["recipe"]["backbone"] |= {"name": "keypoints", "size": 64, "weights": "none"}
    text = one_line(record)
    assert "Network: keypoints of 17 heatmaps of 64 x 48;" in text
    assert "24 heatmaps for training" in text
    assert "Preparation found no exact copies of test heatmaps among the training heatmaps." in text
    assert "| split | heatmaps |" in text
    assert "The metrics hold for heatmaps like those of the test split" in text
    assert "pixels" not in text
    assert "Keras model from heatmaps to probabilities" in card(record, CERTIFICATE)


def test_without_temperature_none_is_stated(record: dict[str, Any]) -> None:
    record["calibration"]["temperature"] = 1.0
    text = one_line(record)
    assert "No temperature was applied to the logits." in text
    assert "divides its logits" not in text


def test_confident_predictions_are_reported_if_there_is_a_threshold(record: dict[str, Any]) -> None:
    record["calibration"] |= {"threshold": 0.0}
    assert "On the test split" not in card(record)
    record["calibration"] |= {
        "threshold": 0.71,
        "test": {"coverage": 0.9, "accuracy": 0.98, "interval": [0.9, 0.99], "accuracy_of_others": 0.5},
    }
    assert (
        "On the test split, 90% of the predictions have a probability of 0.71 or more; their accuracy is 0.980 (0.900 "
        "to 0.990), that of the others 0.500." in one_line(record)
    )
    record["calibration"]["test"]["accuracy"] = None
    assert "On the test split" not in card(record)
    # A report of an older version has no guarantee.
    del record["calibration"]["guarantee"]
    assert "confident:" not in card(record)


def test_the_threshold_of_the_bundle_is_described(record: dict[str, Any]) -> None:
    confidence = {
        "value": 0.8, "target": 0.9, "at_least": 0.91, "accepted": 200, "photos": 250, "level": 0.95, "reached": True,
        "fitted_to": "validation",
    }  # fmt: skip
    text = card(record, {**CERTIFICATE, "confidence": confidence})
    assert f"{calibration.described(confidence)} Fitted to the outputs of the `.tflite`.\n" in text
    refitted = card(record, {**CERTIFICATE, "confidence": confidence, "before_refit": FIGURES})
    assert "Fitted to the outputs of the `.tflite` before the refit." in refitted
    kept = card(record, {**CERTIFICATE, "confidence": {**confidence, "at_least": None, "fitted_to": None}})
    assert (
        "Predictions with a probability below 0.80 are not confident. No minimum accuracy is known for the others."
    ) in kept
    assert "Fitted to the outputs" not in kept


def test_files_are_listed_if_there_is_a_bundle(record: dict[str, Any]) -> None:
    assert "## Files" not in card(record)
    text = card(record, CERTIFICATE)
    stem = record["checkpoint"].removesuffix(".h5")
    assert f"`{stem}.tflite`: the same model as int8 (2.5 MB), with its labels." in text
    assert "`shapes.tflite`: the same model as int8" in card(record, CERTIFICATE, "shapes")
    assert "Passed. Required: so much." in text
    table = text[text.index("| 12 test photos") :].splitlines()
    assert table[:8] == [
        "| 12 test photos, decoded from their files | these weights |",
        "| --- | --- |",
        "| same class | 97.53% |",
        "| largest difference of a probability | 3.2e-02 |",
        "| mean difference | 1.0e-03 |",
        "| accuracy of the `.h5`, of the `.tflite` | 0.9000, 0.8000 |",
        "| accuracy loss in percentage points, 95 % interval | 10.00 (-5.00 to 25.00) |",
        "| latency for one photo | 1.9 ms on 1 thread, 1.2 ms on 2 threads |",
    ]


def test_failures_and_comparisons_on_training_photos_are_reported(record: dict[str, Any]) -> None:
    before_refit = {**FIGURES, "agreement": 0.5, "accuracy": None}
    bad = {
        "verdict": "FAILED",
        "missing": ["this", "that"],
        "seen_in_training": True,
        "accuracy": None,
        "before_refit": before_refit,
    }
    text = card(record, {**CERTIFICATE, **bad})
    assert "**Failed**: this; that. Required: so much." in text
    assert (
        "| these weights, which were trained on these photos | the weights before the refit |\n| --- | --- | --- |"
        in text
    )
    assert "| same class | 97.53% | 50.00% |" in text
    assert "accuracy of the" not in text
