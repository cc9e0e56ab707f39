"""The page that goes with a published model: what it is, what from, how good, and what not to use it for."""

from typing import Any


def card(report: dict[str, Any], certificate: dict[str, Any] | None = None) -> str:
    """A model card in Markdown.

    Args:
        report: a run's `report.json`.
        certificate: the bundle's NAME.parity.json, once there is one.
    """
    name, recipe, photos = report["name"], report["recipe"], report["data"]["photos"]
    backbone, versions = recipe["backbone"], report["versions"]
    low, high = report["test"]["interval"]
    error, band = report["test"]["reliability"]["ece"], report["test"]["reliability"]["band"]
    return f"""# {name}: a classifier of {len(report["data"]["classes"])} classes

Classes: {", ".join(report["data"]["classes"])}.

- Network: {backbone["name"]} at {backbone["size"]} x {backbone["size"]} pixels; {_trained(report)}
- Trained from: {recipe["card"]["weights"]}
- Trained on: {recipe["card"]["photos"]} After cleaning, {photos["train"]} for training, {photos["validation"]} for
  validation, {photos["test"]} for test{_apart(report["straddling"])}.
  Manifest SHA-256 `{report["data"]["digest"]}`.
- Seed {recipe["seed"]}; TensorFlow {versions["tensorflow"]}, Keras {versions["keras"]}.

## Figures

| split | photos | accuracy | 95 % interval | top {report["test"]["k"]} | macro F1 | log loss |
|---|---|---|---|---|---|---|
{_row("validation", report["validation"])}
{_row("test", report["test"])}

Test accuracy is {report["test"]["accuracy"]:.3f} ({low:.3f} to {high:.3f}, Wilson). This run scored the test split
once, after everything was chosen. {_leak(report["leak"])}{_straddling(report["straddling"])}

Calibration error on test {error:.3f}; a perfectly calibrated model would have {band[0]:.3f} to {band[1]:.3f} on as many
photos. {_calibration(report["calibration"])}

{_refit(report)}

{_files(name, certificate)}## Limits

It names one of its classes for any picture, also where none fits, and may then seem sure. It was trained on pictures
from the web, whose makers and subjects do not stand for everybody. Measure it on your own photos before you rely on it.
"""


def _trained(report: dict[str, Any]) -> str:
    recipe = report["recipe"]
    if not recipe["finetune"]["epochs"]:
        return "frozen, only the head was trained."
    part = recipe["finetune"].get("unfreeze", "all")
    which = "all of it" if part == "all" else f"its last {part}"
    epochs = recipe["finetune"]["epochs"]
    trained = _epochs(epochs) if _selected(report) == epochs else f"{_selected(report)} of {_epochs(epochs)}"
    return f"{which} fine-tuned for {trained} (BatchNormalization kept as it was)."


def _selected(report: dict[str, Any]) -> int:
    """The number of epochs that the weights were trained for, as the file's name states it."""
    return int((report["refitted"] or report["checkpoint"]).split("_")[-2])


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _row(split: str, scores: dict[str, Any]) -> str:
    low, high = scores["interval"]
    figures = " | ".join(f"{scores[key]:.3f}" for key in ("top_k", "macro_f1", "loss"))
    figures = f"{scores['accuracy']:.3f} | {low:.3f} to {high:.3f} | {figures}"
    return f"| {split} | {scores['count']} | {figures} |"


def _leak(leak: dict[str, Any]) -> str:
    count = len(leak["photos"])
    if not count:
        return "No test photo has a near twin among the photos\nthat the starting weights were fine-tuned on."
    without = leak["accuracy_without"]
    return f"{count} test photos have near twins among those that the starting\nweights were fine-tuned on" + (
        "." if without is None else f"; without them the accuracy is {without:.3f}."
    )


def _apart(straddling: dict[str, Any]) -> str:
    return "" if straddling["photos"] else ", near duplicates never on two sides"


def _straddling(leak: dict[str, Any]) -> str:
    count, without = len(leak["photos"]), leak["accuracy_without"]
    if not count:
        return ""
    return f"\n{count} test photos have near twins in training, as the source divides them" + (
        "." if without is None else f"; without them the accuracy is {without:.3f}."
    )


def _calibration(calibration: dict[str, Any]) -> str:
    text = (
        f"The logits were divided by {calibration['temperature']:.3f}, fitted on\nvalidation; the file has that inside."
    )
    threshold, test = calibration["threshold"], calibration["test"]
    if not threshold or test["accuracy"] is None:
        return text
    low, high = test["interval"]
    return (
        f'{text} Answers below {threshold:.2f} are called "not sure":\non test {test["coverage"]:.0%} are sure, and of '
        f"those {test['accuracy']:.3f} ({low:.3f} to {high:.3f}) are right."
    )


def _files(name: str, certificate: dict[str, Any] | None) -> str:
    if certificate is None:
        return ""
    return f"""## Files

- `{name}.h5`: Keras, pixels 0..255 in, probabilities out; `keras.models.load_model` opens it.
- `{name}.tflite`: the same in {certificate["format"]} ({certificate["bytes"] / 1e6:.1f} MB), with its labels inside.
- `{name}.parity.json`: what follows, photo by photo.

## Does the `.tflite` answer like the `.h5`?

{_verdict(certificate)}

{_compared(certificate)}

"""


def _compared(certificate: dict[str, Any]) -> str:
    columns = [
        ("these weights" + (", which have seen the photos" if certificate["seen_in_training"] else ""), certificate)
    ]
    if certificate["unseen"]:
        columns.append(("the weights before the refit", certificate["unseen"]))
    head = f"{certificate['count']} {certificate['photos']} photos, from their files on"
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
        rows.append(["lost, in points, with its 95 % interval", *(_lost(each) for each in accuracies)])
    times = ", ".join(f"{time:.1f} ms on {threads}" for threads, time in certificate["milliseconds"].items())
    rows.append(["one photo takes", times, *("" for _ in columns[1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _lost(accuracy: dict[str, Any]) -> str:
    low, high = (100 * end for end in accuracy["interval"])
    return f"{100 * accuracy['lost']:.2f} ({low:.2f} to {high:.2f})"


def _verdict(certificate: dict[str, Any]) -> str:
    if certificate["missing"]:
        return f"**It does not** ({certificate['verdict']}): {'; '.join(certificate['missing'])}."
    text = f"It {certificate['verdict']}: asked is {certificate['asked']}."
    return "\n\n".join([text, *(f"**Warning:** {each}." for each in certificate.get("warnings", []))])


def _refit(report: dict[str, Any]) -> str:
    if not report["refitted"]:
        return "The weights in this folder are the ones that these figures were taken with."
    if report["refitted"] == report.get("scored"):
        return (
            "The weights in this folder were trained once more in the same way when everything was chosen, on the\n"
            "validation photos too. The test figures are theirs; validation figures, temperature and threshold are\n"
            "those of the weights before, which learnt from the training photos alone."
        )
    fine_tuned = report["recipe"]["finetune"]["epochs"]
    return (
        "**The weights in this folder are not the ones that these figures were taken with.** The model that ships was\n"
        f"trained once more in the same way{f', {_epochs(_selected(report))}' if fine_tuned else ''}, on "
        "all three splits, so that\nno photo is wasted; none is left to measure that last model on."
    )
