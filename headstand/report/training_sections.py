"""HTML sections of a training report on data, search, training, diagnosis, resources and reproduction."""

import shlex
from html import escape
from pathlib import Path
from typing import Any

from headstand.recipe import Augmentation
from headstand.report.document import pair, plot


def data(record: dict[str, Any]) -> str:
    """Returns the section on the dataset: number of photos in each split, and of augmented views."""
    photos, classes = record["data"]["photos"], record["data"]["classes"]
    duplicates = "" if record["straddling"]["photos"] else "; no near duplicate of a test photo was found in training"
    settings = Augmentation.model_validate(record["recipe"]["augmentation"])
    shown = (
        f" Heads were trained on {settings.views} kept views of each training photo besides the photo itself "
        f"({escape(settings.settings)})."
        if settings.views
        else ""
    )
    return (
        f"<p>{sum(photos.values()):,} photos of {len(classes)} classes: {photos['train']:,} for training, "
        f"{photos['validation']:,} for validation, {photos['test']:,} for test{duplicates}.{shown}</p>"
    )


def choice(folder: Path, record: dict[str, Any]) -> str:
    """Returns the section on model selection: baseline, best heads of the search, and plots of the search.

    Args:
        folder: folder of the run, which has the plots.
        record: content of `report.json`.
    """
    trials = record["trials"]
    text = ""
    if baseline := record.get("baseline"):
        text += (
            f"<p>A closed-form baseline on the same features reaches {baseline['val_accuracy']:.3f} on validation.</p>"
        )
    if trials:
        best = sorted(trials, key=lambda row: -row["val_accuracy"])[:8]
        keys = [key for key in best[0] if len({str(row.get(key)) for row in trials}) > 1 and key in record["head"]]
        head = "".join(f"<th>{escape(key.replace('_', ' '))}</th>" for key in keys)
        rows = "".join(
            f'<tr><th scope="row">{row["val_accuracy"]:.4f}</th>'
            + "".join(f"<td>{escape(str(row[key]))}</td>" for key in keys)
            + "</tr>"
            for row in best
        )
        text += (
            f"<p>{len(trials)} trials on the same features, ranked by validation accuracy; the best of them:</p>"
            f"{_equal(record)}"
            f'<div class="wide"><table><thead><tr><th>validation</th>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    for name in ("search_history", "search_slices", "search_importance"):
        text += plot(folder / f"{name}.png", name.replace("_", " "))
    return text


def _equal(record: dict[str, Any]) -> str:
    """Returns a sentence with the number of settings within noise of the best, the same number as in the diagnosis."""
    search, photos = record.get("search") or {}, record["data"]["photos"]["validation"]
    others = search.get("within_noise", 0)
    if not others:
        return ""
    return (
        f"<p>{others} other setting{'s' * (others > 1)} did equally well as the best: {photos} validation photos "
        "cannot separate them.</p>"
    )


def training(folder: Path, record: dict[str, Any]) -> str:
    """Returns the section on training: the epoch that was kept, and plots of loss and accuracy by epoch."""
    what = "Fine-tuning" if record["recipe"]["finetune"]["epochs"] else "The head"
    kept = (
        f"<p>{what}: epoch {record['best_epoch']} of {len(record['history'])} was best on validation and is kept.</p>"
    )
    tuning, views = record["recipe"]["finetune"], record["recipe"]["augmentation"]["views"]
    if tuning["epochs"] and tuning["unfreeze"] != "all":
        kept += (
            f"<p>Of the backbone only the last {tuning['unfreeze']} were trained. The part before them processed each "
            f"photo and {views} views of it once; all epochs used these.</p>"
        )
    return kept + pair(*(plot(folder / f"{key}.png", f"{key} by epoch") for key in ("loss", "accuracy")))


def diagnosis(record: dict[str, Any]) -> str:
    """Returns the section with the findings of the diagnosis and their suggestions."""
    if not record["diagnosis"]:
        return "<p>No findings.</p>"
    return "".join(
        f'<div class="finding {one["severity"]}"><p><b>{escape(one["title"])}</b> <small>{one["severity"]}</small></p>'
        f'<p>{escape(one["evidence"])}</p><p class="soft">{escape(one["advice"])}</p></div>'
        for one in record["diagnosis"]
    )


def resources(folder: Path, record: dict[str, Any]) -> str:
    """Returns the section on resources: duration of each step, and a plot of processor and memory over time."""
    steps = ", ".join(f"{escape(name)} {value:.1f} s" for name, value in record["seconds"].items())
    return f"<p>{steps}.</p>" + plot(folder / "resources.png", "processor and memory over time")


def again(folder: Path, record: dict[str, Any]) -> str:
    """Returns the section with the commands that reproduce the run from its resolved recipe."""
    versions = ", ".join(f"{escape(name)} {escape(value)}" for name, value in record["versions"].items())
    recipe = escape(shlex.quote(str(folder / "recipe.json")))
    return (
        f"<pre>python data_preparation.py {recipe}\npython train.py {recipe}</pre><p>The seed is "
        f"{record['recipe']['seed']}; {versions}.</p>"
    )
