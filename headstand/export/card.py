"""The page that goes with a published model: what it is, what from, how good, and what not to use it for."""

from typing import Any


def card(report: dict[str, Any], parity: dict[str, Any]) -> str:
    """A model card in Markdown.

    Args:
        report: a run's `report.json`.
        parity: the bundle's parity record.
    """
    name, recipe, photos = report["name"], report["recipe"], report["data"]["photos"]
    backbone, versions = recipe["backbone"], report["versions"]
    low, high = report["test"]["interval"]
    return f"""# {name}: a classifier of {len(report["data"]["classes"])} classes

Classes: {", ".join(report["data"]["classes"])}.

- Network: {backbone["name"]} at {backbone["size"]} x {backbone["size"]} pixels; {_trained(recipe)}
- Trained from: {recipe["card"]["weights"]}
- Trained on: {recipe["card"]["photos"]} After cleaning, {photos["train"]} for training, {photos["validation"]} for
  validation, {photos["test"]} for test, near duplicates never on two sides.
  Manifest SHA-256 `{report["data"]["digest"]}`.
- Seed {recipe["seed"]}; TensorFlow {versions["tensorflow"]}, Keras {versions["keras"]}.

## Figures

| split | photos | accuracy | 95 % interval | macro F1 |
|---|---|---|---|---|
{_row("validation", report["validation"])}
{_row("test", report["test"])}

Test accuracy is {report["test"]["accuracy"]:.3f} ({low:.3f} to {high:.3f}, Wilson). This run scored the test split
once, after everything was chosen. {_leak(report["leak"])}

{_refit(report)}

## Files

- `{name}.h5`: Keras, pixels 0..255 in, probabilities out; `keras.models.load_model` opens it.
- `{name}.tflite`: the same in {parity["format"]}, with its labels inside. Over {parity["count"]} photos it gives
  the same top class on {parity["agreement"]:.2%}; probabilities differ by at most {parity["largest_difference"]:.1e}.

## Limits

It names one of its classes for any picture, also where none fits, and may then seem sure. It was trained on pictures
from the web, whose makers and subjects do not stand for everybody. Measure it on your own photos before you rely on it.
"""


def _trained(recipe: dict[str, Any]) -> str:
    epochs = recipe["finetune"]["epochs"]
    if not epochs:
        return "frozen, only the head was trained."
    return f"all of it fine-tuned for {epochs} epochs (BatchNormalization kept as it was)."


def _row(split: str, scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    figures = f"{scores['accuracy']:.3f} | {low:.3f} to {high:.3f} | {scores['macro_f1']:.3f}"
    return f"| {split} | {scores['count']} | {figures} |"


def _leak(leak: dict[str, Any]) -> str:
    count = len(leak["photos"])
    if not count:
        return "No test photo has a near twin among the photos\nthat the starting weights were fine-tuned on."
    without = leak["accuracy_without"]
    return f"{count} test photos have near twins among those that the starting\nweights were fine-tuned on" + (
        "." if without is None else f"; without them the accuracy is {without:.3f}."
    )


def _refit(report: dict[str, Any]) -> str:
    if not report["refitted"]:
        return "The weights in this folder are the ones that these figures were taken with."
    return (
        "**The weights in this folder are not the ones that these figures were taken with.** After the figures were\n"
        f"taken, the model was trained once more in the same way, {report['recipe']['finetune']['epochs']} epochs, on "
        "all three splits, so that\nno photo is wasted; none is left to measure that last model on."
    )
