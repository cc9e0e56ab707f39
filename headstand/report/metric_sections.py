"""HTML sections on the metrics of a split: figures, classes, calibration, slices and mistakes."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from headstand.evaluation.calibration import described, error_described
from headstand.evaluation.names import FIGURES
from headstand.report.document import pair, photo, plot, spread


def facts(name: str, split: dict[str, Any], threshold: float, confident: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Returns the key figures of a split for `document.tiles`: accuracy, top-k, calibration, confident predictions.

    Args:
        name: display name of the accuracy.
        split: an `Evaluation` as a dictionary, with `calibrated`.
        threshold: lowest probability of a confident prediction; 0 if all predictions are confident.
        confident: a `Sure` of the split as a dictionary.
    """
    ece, (_, most) = split["reliability"]["ece"], split["reliability"]["band"]
    found = [
        (name, f"{split['accuracy']:.3f}", spread(split["interval"])),
        (f"right among first {split['k']}", f"{split['top_k']:.3f}", spread(split["intervals"]["top_k"])),
        ("calibration error", f"{ece:.3f}", f"chance alone makes up to {most:.3f}"),
    ]
    if threshold:
        accuracy = confident["accuracy"]
        right = "" if accuracy is None else f"{accuracy:.3f} of them right"
        found.append(("confident answers", f"{confident['coverage']:.0%}", right))
    return found


def figures(splits: dict[str, dict[str, Any]], more: dict[str, list[dict[str, Any]]] | None = None) -> str:
    """Returns a table of all metrics of one or more splits with their 95 % intervals.

    Args:
        splits: an `Evaluation` as a dictionary (`dataclasses.asdict`), by name of the split.
        more: evaluations of further accuracy rows, one for each split, by row name.
    """
    rows = []
    k = next(iter(splits.values()))["k"]
    for key, name in FIGURES.items():
        rows.append((name.format(k=k), [(one[key], one["intervals"][key]) for one in splits.values()]))
    for name, evaluations in (more or {}).items():
        rows.append((name, [(one["accuracy"], one["interval"]) for one in evaluations]))
    written = (
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{value:.3f} <small>{spread(interval)}</small></td>" for value, interval in cells)
        + "</tr>"
        for name, cells in rows
    )
    head = "".join(f"<th>{escape(name)} <small>95 %</small></th>" for name in splits)
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(written)}</tbody></table>'
        "</div><p class='soft'>Intervals of accuracy and top-k accuracy: Wilson; the others: bootstrap over photos.</p>"
    )


def classes(split: dict[str, Any], folder: Path) -> str:
    """Returns a table of metrics by class, the lowest recall first, and the plot `confusion.png` of a folder."""
    rows = []
    for name, row in sorted(split["per_class"].items(), key=lambda item: (not item[1]["count"], item[1]["recall"])):
        if not row["count"]:
            rows.append(f'<tr><th scope="row">{escape(name)}</th><td colspan="4">no photos</td><td>0</td></tr>')
            continue
        bar = (
            '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<line x1="{100 * row["low"]:.1f}" x2="{100 * row["high"]:.1f}" y1="5" y2="5"/>'
            f'<line x1="{100 * row["recall"] - 0.6:.1f}" x2="{100 * row["recall"] + 0.6:.1f}" y1="5" y2="5" '
            'style="stroke-width:9"/></svg>'
        )
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{row["precision"]:.2f}</td><td>{row["recall"]:.2f}</td>'
            f'<td class="range">{bar}</td><td>{row["f1"]:.2f}</td><td>{row["count"]:.0f}</td></tr>'
        )
    return (
        '<p>The lowest recall first.</p><div class="wide"><table><thead><tr><th>class</th><th>precision</th>'
        '<th>recall</th><th class="range">its 95 %, 0 to 1</th><th>F1</th><th>photos</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        + plot(folder / "confusion.png", "true class against predicted class", whole=True)
    )


def sure(split: dict[str, Any], calibration: dict[str, Any], confident: dict[str, Any], folder: Path) -> str:
    """Returns the section on calibration and confident predictions.

    Args:
        split: an `Evaluation` as a dictionary, with `calibrated`.
        calibration: `temperature`, `threshold` and, for a training run, `guarantee` (a `Threshold.record`).
        confident: a `Sure` of the split as a dictionary.
        folder: folder with the plots `calibration.png` and `coverage.png`.
    """
    threshold, accuracy = calibration["threshold"], confident["accuracy"]
    temperature = calibration["temperature"]
    logits = (
        "No temperature was applied to the logits."
        if temperature == 1
        else f"The logits were divided by {temperature:.3f}, fitted on the validation photos of the training."
    )
    text = f"<p>{error_described(split['reliability'], split['count'])} {logits}</p>"
    if guarantee := calibration.get("guarantee"):
        text += f"<p>{described(guarantee)}</p>"
    if threshold and accuracy is not None:
        others = confident["accuracy_of_others"]
        rest = "" if others is None else f", of the others {others:.3f}"
        text += (
            f"<p>Of these photos {confident['coverage']:.0%} have a probability of {threshold:.2f} or more; of those "
            f"{accuracy:.3f} ({spread(confident['interval'])}) are right{rest}.</p>"
        )
    return text + pair(
        plot(folder / "calibration.png", "stated probability against measured accuracy"),
        plot(folder / "coverage.png", "accuracy of the most confident answers"),
    )


def slices(found: Sequence[dict[str, Any]]) -> str:
    """Returns a table of the accuracy on slices of a split; empty without slices."""
    if not found:
        return ""
    rows = (
        f'<tr><th scope="row">{escape(one["by"])}: {escape(one["value"])}</th>'
        f"<td>{one['accuracy']:.3f} <small>{spread(one['interval'])}</small></td>"
        f"<td>{one['count']} <small>{'few' if one['few'] else ''}</small></td>"
        f"<td>{'unlike the others' if one['apart'] else ''}</td></tr>"
        for one in found
    )
    return (
        '<div class="wide"><table><thead><tr><th></th><th>accuracy <small>95 %</small></th><th>photos</th><th></th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def mistakes(found: Sequence[dict[str, Any]], pixels: np.ndarray, heat: np.ndarray | None) -> str:
    """Returns the most confident wrong predictions with their images; empty without mistakes.

    Args:
        found: N mistakes as dictionaries, with the path of the photo as `photo`.
        pixels: images, `uint8 [N, size, size, 3]`.
        heat: Grad-CAM heatmaps, `float32 [N, size, size]` in 0..1; None if not available.
    """
    if not found:
        return ""
    text = "Wrong answers, the most confident first: look for wrong labels, and for what was mistaken for the class."
    if heat is not None:
        text += " Bright areas contributed to the answer (Grad-CAM)."
    figures = []
    for place, one in enumerate(found):
        shown = photo(pixels[place], one["truth"])
        if heat is not None:
            lit = pixels[place] * (0.25 + 0.75 * heat[place][..., None])
            shown += photo(lit.astype(np.uint8), "areas that contributed to the answer")
        figures.append(
            f'<figure><div class="shown">{shown}</div><figcaption><b>{escape(one["answer"])}</b> '
            f"{one['confidence']:.0%}, labelled <b>{escape(one['truth'])}</b> {one['own']:.0%}<br>"
            f"{escape(one['photo'])}</figcaption></figure>"
        )
    return f'<p>{text}</p><div class="mistakes">{"".join(figures)}</div>'
