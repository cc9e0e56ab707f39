"""Generates the model card in Markdown: architecture, training data, metrics, conversion check and limitations.

Every statement is measured by the run or taken from the recipe (and marked so). Unknown facts are left out.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from headstand import inputs
from headstand.evaluation import unknown_inputs
from headstand.evaluation.calibration import described, sentences
from headstand.inputs import InputKind
from headstand.recipe.sections import SHIPPED

NOT_STATED = "not stated"
"""Default of `card.weights` and `card.photos` in a recipe, which the model card omits."""


def card(report: dict[str, Any], certificate: dict[str, Any] | None = None, stem: str | None = None) -> str:
    """Returns the model card of a run in Markdown.

    Args:
        report: content of the run's `report.json`.
        certificate: content of the bundle's NAME.parity.json; None before conversion.
        stem: name of the model's files without extension; by default that of the run's checkpoint.
    """
    recipe, counts, test = report["recipe"], report["data"]["photos"], report["test"]
    versions, kind = report["versions"], _kind(recipe)
    low, high = test["interval"]
    calibration = "\n".join(sentences(test, report["calibration"], report["calibration"]["test"], "the test split"))
    known = f"\n\n{unknown_inputs.described(report['known'])}" if "known" in report else ""
    marked = f" Each answer says whether the input is similar to the training {kind} (see Metrics)." if known else ""
    stem = stem or PurePosixPath(report["refitted"] or report["checkpoint"]).stem
    return f"""# {report["name"]}: a classifier of {len(report["data"]["classes"])} classes

Classes: {", ".join(report["data"]["classes"])}.

- Network: {_network(recipe)}; {_trained(report)}
- Starting weights: {_weights(recipe)}
- Trained on: {counts["train"]} {kind} for training, {counts["validation"]} for validation, {counts["test"]} for
  test.{_stated(recipe["card"]["photos"])} Manifest SHA-256 `{report["data"]["digest"]}`.
- Seed {recipe["seed"]}; TensorFlow {versions["tensorflow"]}, Keras {versions["keras"]}.

## Metrics

| split | {kind} | accuracy | 95 % interval | top-{test["k"]} accuracy | macro F1 | log loss |
|---|---|---|---|---|---|---|
{_row("validation", report["validation"])}
{_row("test", test)}

Test accuracy is {test["accuracy"]:.3f} ({low:.3f} to {high:.3f}, Wilson). The run scored the test split once, after
model selection. Validation accuracy is optimistic, because the model was selected by it.

{_leakage(report, kind)}

{calibration}{known}

{_refit(report)}

{_files(stem, kind, certificate)}## Limits

The model assigns one of its classes to every input, also to inputs that show none of them, possibly with a high
probability.{marked} The metrics hold for {kind} like those of the test split: evaluate the model on your own {kind}
first.
"""


def _kind(recipe: dict[str, Any]) -> str:
    """Returns the plural noun for the model's inputs, such as photos."""
    return _input(recipe).kind


def _network(recipe: dict[str, Any]) -> str:
    name, size = recipe["backbone"]["name"], recipe["backbone"]["size"]
    if _kind(recipe) != "photos":
        return f"{name} of {_input(recipe).description}"
    return f"{name} at {size} x {size} pixels"


def _input(recipe: dict[str, Any]) -> InputKind:
    return inputs.of_backbone(recipe["backbone"]["name"], recipe["backbone"]["size"])


def _weights(recipe: dict[str, Any]) -> str:
    """Returns the origin of the pretrained weights, with the recipe's statement about them if there is one."""
    weights = recipe["backbone"]["weights"]
    if weights == "none":
        return "none, initialised at random."
    name = recipe["backbone"]["name"]
    if weights == "imagenet":
        used = f"ImageNet weights of {'Headstand (models/backbones)' if name in SHIPPED else 'keras.applications'}."
    else:
        used = f"the file `{PurePosixPath(name if weights == 'pretrained' else weights).name}`."
    return used + _stated(recipe["card"]["weights"])


def _stated(text: str) -> str:
    return "" if text in ("", NOT_STATED) else f" The recipe states: {text.rstrip('.')}."


def _trained(report: dict[str, Any]) -> str:
    recipe = report["recipe"]
    if not recipe["finetune"]["epochs"]:
        return "the backbone is frozen, only the head was trained."
    part = recipe["finetune"].get("unfreeze", "all")
    which = "all layers" if part == "all" else f"its last {part}"
    epochs = recipe["finetune"]["epochs"]
    trained = _epochs(epochs) if _selected(report) == epochs else f"{_selected(report)} of {_epochs(epochs)}"
    return f"{which} fine-tuned for {trained} (BatchNormalization layers frozen)."


def _selected(report: dict[str, Any]) -> int:
    """Returns the number of epochs that the weights were trained for, parsed from the checkpoint's file name."""
    found = re.search(r"_(\d+)(_\d\.\d+)?(_all)?\.\w+$", report["refitted"] or report["checkpoint"])
    assert found, report["checkpoint"]
    return int(found[1])


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _row(split: str, scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    others = " | ".join(f"{scores[key]:.3f}" for key in ("top_k", "macro_f1", "loss"))
    return f"| {split} | {scores['count']} | {scores['accuracy']:.3f} | {low:.3f} to {high:.3f} | {others} |"


def _leakage(report: dict[str, Any], kind: str) -> str:
    """Returns sentences about leakage: test photos that the model or its pretrained weights may be trained on."""
    split_leak, backbone_leak = report["split_leak"], report["leak"]
    similar = "near duplicates" if kind == "photos" else "exact copies"
    within = (
        f"{_have(len(split_leak['photos']), kind)} {similar} among the training {kind}, because the splits are "
        f"those of the source{_without(split_leak)}"
        if split_leak["photos"]
        else f"Preparation found no {similar} of test {kind} among the training {kind}."
    )
    return f"{within}\n{_starting(report['recipe']['backbone']['weights'], backbone_leak, kind)}".rstrip()


def _starting(weights: str, leak: dict[str, Any], kind: str) -> str:
    if leak["photos"]:
        found = f"{_have(len(leak['photos']), kind)} near duplicates among those that the starting weights"
        return f"{found}\nwere fine-tuned on{_without(leak)}"
    if weights == "none":
        return ""
    if leak.get("compared"):
        return (
            f"No test photo has near duplicates among the {leak['compared']} that the starting weights were fine-tuned "
            "on."
        )
    if weights == "imagenet":
        return f"Whether ImageNet contains test {kind} was not checked."
    return f"The training data of the starting weights are not known: they may contain test {kind}."


def _have(count: int, kind: str) -> str:
    return f"1 test {_one(kind)} has" if count == 1 else f"{count} test {kind} have"


def _one(kind: str) -> str:
    return kind.removesuffix("s")


def _without(leak: dict[str, Any]) -> str:
    without = leak["accuracy_without"]
    return "." if without is None else f"; without them the accuracy is {without:.3f}."


def _files(stem: str, kind: str, certificate: dict[str, Any] | None) -> str:
    if certificate is None:
        return ""
    takes = "pixels 0..255" if kind == "photos" else kind
    confidence = certificate.get("confidence")
    served = ""
    if confidence:
        # A threshold is valid only for the outputs that it was fitted to.
        fitted = confidence["fitted_to"]
        source = " before the refit" if certificate["before_refit"] else ""
        served = described(confidence, fitted or "validation")
        if fitted:
            served += f" Fitted to the outputs of the `.tflite`{source}."
        served = f"\n\n{served}"
    if known := certificate.get("known"):
        served += f"\n\nThe `.tflite`: {unknown_inputs.described(known)}"
    return f"""## Files

- `{stem}.h5`: Keras model from {takes} to probabilities; load it with `keras.models.load_model`.
- `{stem}.tflite`: the same model as {certificate["format"]} ({certificate["bytes"] / 1e6:.1f} MB), with its labels.
- `{stem}.parity.json`: the comparison below, for each photo.

## Parity of the `.tflite` with the `.h5`

{_verdict(certificate)}

{_compared(certificate)}{served}

"""


def _compared(certificate: dict[str, Any]) -> str:
    trained = ", which were trained on these photos" if certificate["seen_in_training"] else ""
    columns = [(f"these weights{trained}", certificate)]
    if certificate["before_refit"]:
        columns.append(("the weights before the refit", certificate["before_refit"]))
    head = f"{certificate['count']} {certificate['photos']} photos, decoded from their files"
    rows = [
        [head, *(title for title, _ in columns)],
        ["---" for _ in range(1 + len(columns))],
        ["same class", *(f"{each['agreement']:.2%}" for _, each in columns)],
        ["largest difference of a probability", *(f"{each['largest_difference']:.1e}" for _, each in columns)],
        ["mean difference", *(f"{each['mean_difference']:.1e}" for _, each in columns)],
    ]
    if certificate["accuracy"]:
        accuracies = [each["accuracy"] for _, each in columns]
        pairs = (f"{each['trained']:.4f}, {each['served']:.4f}" for each in accuracies)
        rows.append(["accuracy of the `.h5`, of the `.tflite`", *pairs])
        rows.append(["accuracy loss in percentage points, 95 % interval", *(_lost(each) for each in accuracies)])
    if certificate.get("detection"):
        cells = [f"{each['detection']['changed']}" if each["detection"] else "" for _, each in columns]
        rows.append(["changed between known and unknown", *cells])
    times = ", ".join(f"{time:.1f} ms on {threads}" for threads, time in certificate["milliseconds"].items())
    rows.append(["latency for one photo", times, *("" for _ in columns[1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _lost(accuracy: dict[str, Any]) -> str:
    low, high = (100 * end for end in accuracy["interval"])
    return f"{100 * accuracy['lost']:.2f} ({low:.2f} to {high:.2f})"


def _verdict(certificate: dict[str, Any]) -> str:
    required = f"Required: {certificate['required']}."
    if certificate["missing"]:
        return f"**Failed**: {'; '.join(certificate['missing'])}. {required}"
    text = f"Passed. {required}"
    return "\n\n".join([text, *(f"**Warning:** {each}." for each in certificate.get("warnings", []))])


def _refit(report: dict[str, Any]) -> str:
    if not report["refitted"]:
        return "The metrics were measured with the weights in this folder."
    if report["refitted"] == report.get("scored"):
        return (
            "After model selection, the weights in this folder were trained again on the training and validation\n"
            "splits. The test metrics belong to them; validation metrics, temperature and threshold belong to the\n"
            "weights before the refit, which were trained on the training split only."
        )
    fine_tuned = report["recipe"]["finetune"]["epochs"]
    return (
        "**The metrics were not measured with the weights in this folder.** After model selection, these were\n"
        f"trained again{f' for {_epochs(_selected(report))}' if fine_tuned else ''} on all three splits. "
        "No photo is left to evaluate them on."
    )
