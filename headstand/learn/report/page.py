"""A run's report as one HTML page that needs nothing beside it: its pictures lie inside."""

import base64
from collections.abc import Callable
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstand import images
from headstand.learn import checkpoint
from headstand.learn.averaging import WORDS
from headstand.learn.evaluation.attention import attention
from headstand.learn.evaluation.names import FIGURES
from headstand.learn.report.story import Story
from headstand.recipe import Augmentation

SHOWN = 176
"""Side of a photo on the page, in pixels."""


def page(folder: Path, story: Story, record: dict[str, Any]) -> str:
    """The page.

    Args:
        folder: the run's, where the plots lie that are embedded.
        story: for the photos of the mistakes.
        record: the report as `report.json` has it; all figures are taken from there.
    """
    sections: dict[str, Callable[[], str]] = {
        "Data": lambda: _data(record),
        "How the head was chosen": lambda: _choice(folder, record),
        "Training": lambda: _training(folder, record),
        "Test": lambda: _test(record),
        "Classes": lambda: _classes(folder, record),
        "How sure": lambda: _sure(folder, record),
        "Parts of the test": lambda: _slices(record),
        "The surest mistakes": lambda: _mistakes(story, record),
        "Diagnosis": lambda: _diagnosis(record),
        "Time and memory": lambda: _resources(folder, record),
        "Make it again": lambda: _again(record),
    }
    written = {title: text for title, write in sections.items() if (text := write())}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in written)
    body = "".join(f'<section id="{_anchor(name)}"><h2>{name}</h2>{text}</section>' for name, text in written.items())
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    name = escape(record["name"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: report of a training run</title><style>{style}</style></head><body>"
        f"<header><h1>{name}</h1>{_lead(record)}{_facts(record)}<nav>{links}</nav></header>{body}"
        f"<footer>Run <code>{escape(folder.name)}</code>; checkpoint <code>{escape(record['checkpoint'])}</code>; "
        f"manifest <code>{record['data']['digest']}</code></footer></body></html>\n"
    )


def _lead(record: dict[str, Any]) -> str:
    test, backbone = record["test"], record["recipe"]["backbone"]
    (low, high), count = test["interval"], test["count"]
    right = round(test["accuracy"] * count)
    warnings = [f for f in record["diagnosis"] if f["severity"] != "note"]
    text = (
        f'<p class="lead"><b>{right} of {count} test photos</b> are named rightly: an accuracy of '
        f"<b>{test['accuracy']:.3f}</b>. On other photos of the same kind expect between {low:.3f} and {high:.3f} "
        f"(95 % interval).</p><p>{escape(backbone['name'])} at {backbone['size']} pixels, "
        f"{_trained(record)}. The test photos were looked at once, after everything was chosen."
    )
    if warnings:
        text += f' <a href="#{_anchor("Diagnosis")}">{len(warnings)} warning{"s" * (len(warnings) != 1)}</a> below.'
    return text + "</p>" + _leaks(record)


def _trained(record: dict[str, Any]) -> str:
    epochs = record["recipe"]["finetune"]["epochs"]
    return f"fine-tuned for {epochs} epochs" if epochs else "its backbone left as it was"


def _leaks(record: dict[str, Any]) -> str:
    lines = []
    for key, where in (("leak", "what the backbone had been trained on"), ("straddling", "the training photos")):
        count, without = len(record[key]["photos"]), record[key]["accuracy_without"]
        if count:
            rest = "" if without is None else f" Without them the accuracy is {without:.3f}."
            lines.append(
                f'<div class="finding warning"><p><b>{count} test photo{"s have" if count > 1 else " has a"} near '
                f"twin{'s' * (count > 1)} among {where}.</b>{rest}</p></div>"
            )
    return "".join(lines)


def _facts(record: dict[str, Any]) -> str:
    test, validation, calibration = record["test"], record["validation"], record["calibration"]
    ece, (_, most) = test["reliability"]["ece"], test["reliability"]["band"]
    facts = [
        ("test accuracy", f"{test['accuracy']:.3f}", _range(test["interval"])),
        (f"right among first {test['k']}", f"{test['top_k']:.3f}", _range(test["intervals"]["top_k"])),
        ("validation accuracy", f"{validation['accuracy']:.3f}", _range(validation["interval"])),
        ("calibration error", f"{ece:.3f}", f"{'within' if test['calibrated'] else 'ABOVE'} chance ({most:.3f})"),
    ]
    if calibration["threshold"]:
        sure = calibration["test"]
        right = "" if sure["accuracy"] is None else f"{sure['accuracy']:.3f} of them right"
        facts.append(("sure answers", f"{sure['coverage']:.0%}", right))
    tiles = (f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in facts)
    return f'<dl class="facts">{"".join(tiles)}</dl>'


def _data(record: dict[str, Any]) -> str:
    photos, classes = record["data"]["photos"], record["data"]["classes"]
    split = record["recipe"]["split"]
    how = "near duplicates together" if split["strategy"] == "grouped" else "in file order"
    settings = Augmentation.model_validate(record["recipe"]["augmentation"])
    shown = (
        f" Heads learnt from {settings.views} kept views of each training photo besides the photo itself "
        f"({escape(settings.settings)})."
        if settings.views
        else ""
    )
    return (
        f"<p>{sum(photos.values()):,} photos of {len(classes)} classes: {photos['train']:,} to learn from, "
        f"{photos['validation']:,} to choose by, {photos['test']:,} to examine with; divided {how}.{shown}</p>"
    )


def _choice(folder: Path, record: dict[str, Any]) -> str:
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
            f"<p>{len(trials)} heads were tried on the same features and ranked by validation; the best of them:</p>"
            f'<div class="wide"><table><thead><tr><th>validation</th>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    for name in ("search_history", "search_slices", "search_importance"):
        text += _plot(folder / f"{name}.png", name.replace("_", " "))
    return text


def _training(folder: Path, record: dict[str, Any]) -> str:
    what = "Fine-tuning" if record["recipe"]["finetune"]["epochs"] else "The head"
    kept = (
        f"<p>{what}: epoch {record['best_epoch']} of {len(record['history'])} was best on validation and is kept.</p>"
    )
    tuning, views = record["recipe"]["finetune"], record["recipe"]["augmentation"]["views"]
    if tuning["epochs"] and tuning["unfreeze"] != "all":
        kept += (
            f"<p>Of the backbone only the last {tuning['unfreeze']} learnt. What lies before saw each photo and "
            f"{views} views of it once; all epochs drew from these.</p>"
        )
    return kept + _plot(folder / "curves.png", "loss and accuracy by epoch")


def _test(record: dict[str, Any]) -> str:
    rows = []
    for key, name in FIGURES.items():
        cells = []
        for split in ("validation", "test"):
            value, interval = record[split][key], record[split]["intervals"][key]
            cells.append(f"<td>{value:.3f}</td><td>{_range(interval)}</td>")
        rows.append(f'<tr><th scope="row">{name.format(k=record["test"]["k"])}</th>{"".join(cells)}</tr>')
    if "test_averaged" in record:
        way = WORDS[record["recipe"]["evaluation"]["average"]]
        both = (record[f"{split}_averaged"] for split in ("validation", "test"))
        cells = [f"<td>{one['accuracy']:.3f}</td><td>{_range(one['interval'])}</td>" for one in both]
        rows.append(f'<tr><th scope="row">accuracy, averaged over {way}</th>{"".join(cells)}</tr>')
    return (
        '<div class="wide"><table><thead><tr><th></th><th>validation</th><th>95 %</th><th>test</th><th>95 %</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
        "<p class='soft'>Accuracy and top answers: Wilson's interval; the others: bootstrap over photos.</p>"
    )


def _classes(folder: Path, record: dict[str, Any]) -> str:
    rows = []
    for name, row in sorted(record["test"]["per_class"].items(), key=lambda item: item[1]["recall"]):
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
    table = (
        "<table><thead><tr><th>class</th><th>precision</th><th>recall</th><th>95 %, 0 to 1</th>"
        f"<th>F1</th><th>photos</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
    return (
        f'<p>The hardest first.</p><div class="wide">{table}</div>'
        f'<div class="wide">{_plot(folder / "confusion.png", "truth against answer")}</div>'
    )


def _sure(folder: Path, record: dict[str, Any]) -> str:
    test, calibration = record["test"], record["calibration"]
    threshold, sure = calibration["threshold"], calibration["test"]
    ece, (low, high) = test["reliability"]["ece"], test["reliability"]["band"]
    verdict = (
        "that is what chance alone makes"
        if test["calibrated"]
        else "more than chance makes: take probabilities with care"
    )
    text = (
        f"<p>The stated probabilities are off by {ece:.3f} on average (expected calibration error); a perfectly "
        f"calibrated model would have {low:.3f} to {high:.3f} on {test['count']} photos: {verdict}. The logits were "
        f"divided by {calibration['temperature']:.3f}, fitted on validation.</p>"
    )
    if threshold and sure["accuracy"] is not None:
        others = sure["accuracy_of_others"]
        rest = "" if others is None else f", of the others {others:.3f}"
        text += (
            f"<p>Below {threshold:.2f} an answer is called “not sure”. On test {sure['coverage']:.0%} are "
            f"sure; of those {sure['accuracy']:.3f} ({_range(sure['interval'])}) are right{rest}.</p>"
        )
    return text + _plot(folder / "calibration.png", "stated against real accuracy; coverage against accuracy")


def _slices(record: dict[str, Any]) -> str:
    if not record["slices"]:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(one["by"])}: {escape(one["value"])}</th><td>{one["accuracy"]:.3f}</td>'
        f"<td>{_range(one['interval'])}</td><td>{one['count']}</td>"
        f"<td>{'few photos' if one['few'] else 'unlike the whole' if one['apart'] else ''}</td></tr>"
        for one in record["slices"]
    )
    return (
        '<div class="wide"><table><thead><tr><th></th><th>accuracy</th><th>95 %</th><th>photos</th><th></th></tr>'
        "</thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _mistakes(story: Story, record: dict[str, Any]) -> str:
    if not record["mistakes"]:
        return ""
    model, size = checkpoint.load(story.scored), story.recipe.backbone.size
    paths = [story.dataset.folder / one["photo"] for one in record["mistakes"]]
    pixels = np.stack([images.decode(path, size) for path in paths])
    places = {name: place for place, name in enumerate(story.dataset.classes)}
    heat = attention(model, pixels, np.array([places[one["answer"]] for one in record["mistakes"]]))
    figures = []
    for one, photo, warmth in zip(record["mistakes"], pixels, heat, strict=True):
        lit = photo * (0.25 + 0.75 * warmth[..., None])
        figures.append(
            f'<figure><div class="pair">{_photo(photo, one["truth"])}{_photo(lit.astype(np.uint8), "where it looked")}'
            f"</div><figcaption><b>{escape(one['answer'])}</b> {one['confidence']:.0%}, labelled "
            f"<b>{escape(one['truth'])}</b> {one['own']:.0%}<br>{escape(one['photo'])}</figcaption></figure>"
        )
    return (
        "<p>Wrong answers, the surest first: look for wrong labels, and for what the network took for the class. "
        f'Bright is what spoke for the answer (Grad-CAM).</p><div class="mistakes">{"".join(figures)}</div>'
    )


def _diagnosis(record: dict[str, Any]) -> str:
    if not record["diagnosis"]:
        return "<p>No rule found anything to remark on.</p>"
    return "".join(
        f'<div class="finding {one["severity"]}"><p><b>{escape(one["title"])}</b> <small>{one["severity"]}</small></p>'
        f'<p>{escape(one["evidence"])}</p><p class="soft">{escape(one["advice"])}</p></div>'
        for one in record["diagnosis"]
    )


def _resources(folder: Path, record: dict[str, Any]) -> str:
    steps = ", ".join(f"{escape(name)} {value:.1f} s" for name, value in record["seconds"].items())
    return f"<p>{steps}.</p>" + _plot(folder / "resources.png", "processor and memory over time")


def _again(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{escape(name)} {escape(value)}" for name, value in record["versions"].items())
    name = escape(record["name"])
    return (
        f"<pre>python data_preparation.py {name}\npython train.py {name}</pre><p>with the settings of "
        f"<code>recipe.json</code> in the run's folder and seed {record['recipe']['seed']}; {versions}.</p>"
    )


def _range(interval: list[float] | tuple[float, float]) -> str:
    return f"{interval[0]:.3f}–{interval[1]:.3f}"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _plot(path: Path, text: str) -> str:
    if not path.is_file():
        return ""
    return f'<img class="plot" src="{_uri("png", path.read_bytes())}" alt="{escape(text)}">'


def _photo(pixels: np.ndarray, text: str) -> str:
    data = BytesIO()
    Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR).save(data, "JPEG", quality=80)
    return f'<img src="{_uri("jpeg", data.getvalue())}" alt="{escape(text)}" loading="lazy">'


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
