"""Runs a comparison of backbones and heads and writes the results to `runs/RECIPE/compare-TIME/`."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from headstand import files
from headstand.compare import comparison_table, measuring, plot
from headstand.compare.entry import entries
from headstand.compare.result import Result, ResultLog, plain
from headstand.compare.winner import Choice, choose, fits, order
from headstand.export.latency import Clock, latencies
from headstand.features import backbones
from headstand.html_layout import render
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset, ManifestError
from headstand.recipe import Recipe
from headstand.recipe.variants import Compare
from headstand.report import embedding, plots
from headstand.runs import claim, identity, root

NOISE = "the 95 % interval of the difference of their accuracies on the same validation photos contains 0"
"""Definition of "within noise" for messages and compare.json, see `headstand.stats`."""

LAST = "compare.json"
"""File that is written last, so that a folder without it contains an interrupted comparison."""


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        folder: folder with the written files.
        results: measurements of all entries, in leaderboard order.
        choice: the selected entry; None if no entry within the limits has a measured accuracy.
        verdict: explanation of the selection, as text.
    """

    folder: Path
    results: tuple[Result, ...]
    choice: Choice | None
    verdict: str


def compare(recipe: Recipe, clock: Clock = latencies) -> Comparison:
    """Measures all entries of a recipe, selects one and writes the results; resumes an interrupted comparison.

    The heads are trained with the settings of the recipe and its variants, without search and without fine-tuning.

    Args:
        recipe: recipe with variants, backbones and limits.
        clock: function that measures the latencies of flatbuffers.

    Raises:
        HeadstandError: a backbone is unknown or the prepared data are damaged. Missing data are not an error.
    """
    candidates = entries(recipe)
    for entry in candidates:
        backbones.check(entry.backbone)
    dataset = _dataset(recipe)
    digest = dataset.digest if dataset else None
    inputs = {"entries": [plain(entry) for entry in candidates], "seed": recipe.seed, "data": digest}
    inputs |= identity(*(entry.backbone for entry in candidates))
    # Folder prefix and file names differ from those of a training run, so that it is not found as one.
    run = claim(root() / recipe.name, "compare-", "entries.json", json.dumps(inputs, indent=1), LAST)
    try:
        if run.reason:
            print(run.reason, flush=True)
        print(f"{'resuming' if run.resumed else 'comparing in'} {run.folder}: {len(candidates)} entries", flush=True)
        journal = ResultLog(run.folder / "entries.jsonl", candidates)
        results = sorted(measuring.measure(candidates, dataset, recipe.seed, journal, clock, _log), key=order)
        choice = choose(results, recipe.compare)
        verdict, notes = _verdict(results, choice, recipe.compare), comparison_table.notes(results)
        comparison_table.write(run.folder / "compare.csv", results)
        plots.save(plot.scatter(results, recipe.compare, choice), run.folder / "compare.png")
        page = render(
            "comparison",
            f"{recipe.name}: comparison",
            name=recipe.name,
            verdict=verdict.splitlines(),
            notes=notes,
            columns=comparison_table.COLUMNS,
            rows=comparison_table.rows(results),
            plots=embedding.plots(run.folder),
        )
        files.write(run.folder / "compare.html", page)
        record = {
            "recipe": recipe.name,
            "data": digest,
            "photos": len(dataset.split("validation")) if dataset else None,
            "limits": {"milliseconds": recipe.compare.under_ms, "megabytes": recipe.compare.under_mb},
            "within_noise": NOISE,
            "picked": choice.selected.entry.title if choice else None,
            "best": choice.best.entry.title if choice else None,
            "indistinguishable": [result.entry.title for result in choice.indistinguishable] if choice else [],
            "verdict": verdict,
            "notes": notes,
            "entries": [comparison_table.record(result) for result in results],
            "versions": {package: version(package) for package in ("tensorflow", "keras", "ai-edge-litert")},
        }
        files.write(run.folder / LAST, json.dumps(record, indent=1) + "\n")
    finally:
        run.lock.release()
    return Comparison(run.folder, tuple(results), choice, verdict)


def _dataset(recipe: Recipe) -> Dataset | None:
    """Returns the prepared dataset of a recipe; prints a message and returns None if there is none.

    Raises:
        ManifestError: the dataset is damaged, or its training or validation split is empty.
    """
    if not (recipe.data / "manifest.csv").is_file():
        print(
            f"there is no prepared data at {recipe.data} (`{manifest.preparing(recipe.data)}` prepares it): "
            f"accuracy is not measured, and size and latency are those of heads with {measuring.CLASSES} classes",
            flush=True,
        )
        return None
    dataset = manifest.read(recipe.data)
    if empty := [name for name in ("train", "validation") if not dataset.split(name)]:
        raise ManifestError(f"{dataset.folder} has no photos for {' and '.join(empty)}: prepare it again")
    return dataset


def _log(result: Result, from_journal: bool) -> None:
    score, size = result.score, result.model_size
    print(
        f"  {result.entry.title}: val_accuracy={f'{score.val_accuracy:.4f}' if score else comparison_table.UNKNOWN}, "
        + (f"{size.megabytes:.1f} MB, {size.milliseconds:.1f} ms" if size else f"size {comparison_table.UNKNOWN}")
        + ("  (from the journal)" if from_journal else ""),
        flush=True,
    )


def _verdict(results: list[Result], choice: Choice | None, limits: Compare) -> str:
    requested = [
        *([f"{limits.under_ms:g} ms"] if limits.under_ms else []),
        *([f"{limits.under_mb:g} MB"] if limits.under_mb else []),
    ]
    within = f"within {' and '.join(requested)}" if requested else "without limits"
    unknown = sum(1 for result in results if not result.score and fits(result.model_size, limits))
    missing = f"; {unknown} more fit the limits, but their accuracy is not measured" if unknown and requested else ""
    if choice is None:
        return f"selected {within}: no measured entry{missing}"
    best, selected = choice.best, choice.selected
    assert best.score and selected.score
    others = len(choice.indistinguishable) - 1
    lines = [f"selected {within}: {selected.entry.title}, val_accuracy={selected.score.val_accuracy:.4f}{missing}"]
    if selected is not best:
        lines.append(
            f"The most accurate entry is {best.entry.title} ({best.score.val_accuracy:.4f}). The selected one is "
            "statistically indistinguishable from it, and of all such entries has the lowest product of size and "
            "latency."
        )
    lines.append(
        f"{others} other {'entry is' if others == 1 else 'entries are'} statistically indistinguishable from the most "
        f"accurate one: {NOISE}."
    )
    return "\n".join(lines)
