"""Trains one run from a prepared dataset to an evaluated checkpoint and its report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import finetune, report
from headstand import heads as heads
from headstand.backend import LOCAL, Backend
from headstand.diagnosis import Finding, TrainingPhase, diagnose, gather
from headstand.errors import HeadstandError
from headstand.evaluation import calibration, leakage
from headstand.evaluation.calibration import tempered
from headstand.evaluation.metrics import SplitMetrics, evaluate
from headstand.evaluation.predictions import class_indices, predict
from headstand.evaluation.view_averaging import VIEWS, averaged
from headstand.features import Extractor, compiled
from headstand.finetune.freezing import frozen
from headstand.heads import baseline, checkpoint, search
from headstand.inputs import InputKind
from headstand.prepare import manifest
from headstand.prepare.manifest import SPLITS, Dataset, ManifestError
from headstand.recipe import Head, Recipe
from headstand.runs import Run, begin
from headstand.stats import Outcomes
from headstand.tracking.run_monitor import RunMonitor
from headstand.tracking.steps import Steps


@dataclass(frozen=True)
class Outcome:
    """Result of a run: its folder, the selected checkpoint, the refitted one if any, the report, the diagnosis.

    `refitted` is the checkpoint trained again on more splits; None unless the recipe asks for it. `report` is the
    content of report.json. `findings` are the diagnosis, the worst first.
    """

    folder: Path
    checkpoint: Path
    refitted: Path | None
    report: dict[str, Any]
    findings: tuple[Finding, ...]


def train(recipe: Recipe, profile: bool = False, backend: Backend = LOCAL) -> Outcome:
    """Trains a classifier by a recipe: features, search, head, optional fine-tuning, evaluation and report.

    An interrupted run resumes where it stopped: features after the last batch, the search after the last trial,
    fine-tuning after the last epoch.

    Args:
        recipe: the resolved recipe.
        profile: trace some steps for TensorBoard's profiler; the results do not depend on it.
        backend: executor that computes the features and runs the search.

    Raises:
        HeadstandError: the data is not prepared or has changed, or the backbone cannot be loaded.
    """
    dataset = manifest.read(recipe.data)
    if empty := [name for name in SPLITS if not dataset.split(name)]:
        raise ManifestError(f"{dataset.folder} has no photos for {' and '.join(empty)}: prepare it again")
    _check_kind(dataset, recipe)
    with Steps() as steps:
        with steps("backbone") as tell:
            extractor = backend.extractor(recipe.backbone)
            if recipe.finetune.epochs:  # checked here so that an invalid `unfreeze` fails before the search
                frozen(extractor.model.get_layer("backbone"), recipe.finetune.unfreeze)
            tell(f"{recipe.backbone.name} at {extractor.input.word}, weights {recipe.backbone.weights}")
        # The run is created after the backbone is loaded, so that a failure to load leaves no empty run folder.
        run = begin(recipe, dataset.digest)
        if run.reason:
            print(run.reason, flush=True)
        print(f"{'resuming' if run.resumed else 'run'} {run.folder}", flush=True)
        try:
            with run.kept_up(), RunMonitor(run.folder, steps, profile) as watch:
                return _train(recipe, dataset, extractor, run, watch, backend)
        finally:
            run.lock.release()


def _check_kind(dataset: Dataset, recipe: Recipe) -> None:
    """Checks that the dataset holds the kind of files that the backbone takes: photos or heatmaps.

    Raises:
        HeadstandError: the dataset holds the other kind.
    """
    arrays = dataset.photos[0].path.endswith(".npy")
    if arrays != (recipe.backbone.takes == "heatmaps"):
        raise HeadstandError(
            f"{dataset.folder} holds {'heatmaps' if arrays else 'photos'}, and {recipe.backbone.name} takes "
            f"{recipe.backbone.takes}: name another with --backbone.name, " + ("keypoints" if arrays else "as Xception")
        )


def _train(
    recipe: Recipe, dataset: Dataset, extractor: Extractor, run: Run, watch: RunMonitor, backend: Backend
) -> Outcome:
    classes, steps = dataset.classes, watch.steps
    with steps("features") as tell:
        with watch.features(extractor):
            rows, computed = _features(extractor, dataset, recipe)
        tell(f"{len(dataset.photos)} photos, {computed} computed, the others from the cache")
        if recipe.augmentation.views:
            tell(f"with {recipe.augmentation.views} views of each training photo: {recipe.augmentation.settings}")
    train_rows, validation_rows = rows["train"], rows["validation"]
    with steps("baseline") as tell:
        floor = baseline.ridge(train_rows, validation_rows, len(classes), recipe.seed)
        low, high = floor.interval
        tell(f"val_accuracy={floor.val_accuracy:.4f} (95 % interval {low:.3f} to {high:.3f}) with ridge regression")
    with steps("search") as tell:
        found = backend.search(
            recipe.search, recipe.head, train_rows, validation_rows, len(classes), recipe.seed, run.journal, _tell_trial
        )
        tell(f"{len(found.trials)} trials; chosen: {heads.words(found.head)}")
        count = len(validation_rows.labels)
        if others := len(search.indistinguishable(found.trials, count)):
            tell(
                f"{others} other setting{'s' * (others > 1)} did equally well: {count} validation photos cannot "
                "separate them"
            )
    watch.searched(found.trials)
    with steps("head") as tell:
        with watch.head(found.head.epochs) as after_epoch:
            fit = heads.fit(found.head, train_rows, validation_rows, len(classes), recipe.seed, after_epoch)
        watch.tell("head", fit.history)
        _learnt(fit.best, "head.learning_rate")
        tell(f"kept epoch {fit.best_epoch}: val_accuracy={fit.best['val_accuracy']:.4f}")

    about = checkpoint.ModelMetadata(
        name=recipe.name,
        labels=classes,
        size=recipe.backbone.size,
        backbone=recipe.backbone.name,
        data=dataset.digest,
        seen=leakage.after(recipe.backbone, dataset, ("train",)),
        examined=leakage.of(dataset, ("validation", "test")),
    )
    model = heads.assemble(extractor.model, fit.model, recipe.name)
    history, best_epoch = fit.history, fit.best_epoch
    phases = [TrainingPhase("head", history, best_epoch)]
    if recipe.finetune.epochs:
        with steps("fine-tuning") as tell:
            tuned = _finetune(recipe, dataset, model, about, run, watch, ("train",), "validation")
            _learnt(tuned.best, "finetune.learning_rate")
            history, best_epoch, path = tuned.history, tuned.best_epoch, tuned.checkpoint
            phases.append(TrainingPhase("finetune", history, best_epoch))
            tell(f"kept epoch {best_epoch}: val_accuracy={tuned.best['val_accuracy']:.4f}")
    else:
        name = f"{recipe.name}_{best_epoch:02d}_{fit.best['val_accuracy']:.3f}.h5"
        path = checkpoint.save(model, run.folder / name, about)

    def answers_to(split: str, of: Path = path) -> np.ndarray:
        if of == path and not recipe.finetune.epochs:  # cached features save the pass through the backbone
            return tempered(heads.probabilities(fit.model, rows[split].features), checkpoint.metadata(path).temperature)
        return predict(compiled(checkpoint.load(of)), dataset, split, extractor.input)

    with steps("calibration") as tell:
        # A run that was interrupted after this step has its calibration in the checkpoint already.
        if checkpoint.metadata(path).threshold is None:
            chosen = calibration.calibrate(answers_to("validation"), validation_rows.labels, recipe.evaluation.sure)
            calibration.save_calibration(path, chosen)
        settled = calibration.of(path)
        answers = answers_to("validation")
        promise = calibration.guarantee(answers, validation_rows.labels, settled.threshold, recipe.evaluation.sure)
        tell(f"temperature={settled.temperature:.3f}. {calibration.described(promise.record)}")

    refitted, scored = None, path
    if recipe.finetune.refit != "none":
        splits = SPLITS if recipe.finetune.refit == "all" else ("train", "validation")
        with steps("refit") as tell:
            epochs = best_epoch if recipe.finetune.epochs else None
            refitted = _refit(recipe, dataset, found.head, fit, epochs, about, run, watch, splits, backend)
            # No photo is held out to calibrate the refitted model: it takes over the selected model's calibration.
            calibration.save_calibration(refitted, settled)
            tell(f"{refitted.name}: learnt from {', '.join(splits)}")
            scored = path if "test" in splits else refitted

    with steps("evaluation") as tell:
        # First use of the test split: everything has been selected by now.
        answers_of = {"validation": answers, "test": answers_to("test", scored)}
        scores = {name: evaluate(answers_of[name], rows[name].labels, classes) for name in answers_of}
        averages = _averages(recipe, dataset, extractor.input, {"validation": path, "test": scored}, rows)
        right = answers_of["test"].argmax(axis=1) == rows["test"].labels
        leak, straddling = leakage.leak(recipe.backbone, dataset, right), leakage.across_splits(dataset, right)
        low, high = scores["test"].interval
        tell(f"test_accuracy={scores['test'].accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})")
        if averages:
            tell(f"averaged over {VIEWS[recipe.evaluation.average]} {averages['test'].accuracy:.4f}")
        for twins, where in ((leak, "what the backbone was trained on"), (straddling, "training")):
            if twins.photos:
                without = twins.accuracy_without
                tell(
                    f"WARNING: {len(twins.photos)} test photos have near duplicates in {where}"
                    + ("" if without is None else f"; without them {without:.4f}")
                )

    # The diagnosis looks for saturated probabilities, which temperature scaling would hide.
    untempered = tempered(answers_of["validation"], 1 / settled.temperature)
    tested = Outcomes.of(right)
    findings = diagnose(
        gather.evidence(recipe, classes, floor, found, fit.model, rows, untempered, phases, steps, tested)
    )
    story = report.ReportContext(
        recipe=recipe,
        dataset=dataset,
        baseline=floor,
        search=found,
        history=history,
        best_epoch=best_epoch,
        calibration=settled,
        guarantee=promise,
        scores=scores,
        averaged=averages,
        probabilities=answers_of,
        labels={name: rows[name].labels for name in scores},
        backbone_leak=leak,
        split_leak=straddling,
        checkpoint=path,
        refitted=refitted,
        scored=scored,
        steps=steps,
        findings=findings,
    )
    record = report.write(run.folder, story)
    finetune.clean(run.folder)
    return Outcome(run.folder, path, refitted, record, findings)


def _averages(
    recipe: Recipe, dataset: Dataset, kind: InputKind, paths: dict[str, Path], rows: dict[str, heads.FeatureSplit]
) -> dict[str, SplitMetrics]:
    """Returns the scores with test-time augmentation by split; empty if the recipe does not ask for it.

    `paths` is the checkpoint that is evaluated on each split.
    """
    way = recipe.evaluation.average
    if way == "none":
        return {}
    calls = {path: compiled(checkpoint.load(path)) for path in set(paths.values())}
    answers = {name: averaged(calls[paths[name]], dataset, name, kind, way) for name in paths}
    return {name: evaluate(answers[name], rows[name].labels, dataset.classes) for name in answers}


def _learnt(best: dict[str, float], rate: str) -> None:
    if not np.isfinite(best["val_loss"]):
        raise HeadstandError(f"no epoch's validation loss is a number: training diverges; try a lower --{rate}")


def _features(extractor: Extractor, dataset: Dataset, recipe: Recipe) -> tuple[dict[str, heads.FeatureSplit], int]:
    """Returns features and labels by split, and the number of photos and views that were not in the cache."""
    rows, computed = {}, extractor.ahead(dataset.folder, dataset.photos)
    for name in SPLITS:
        photos = dataset.split(name)
        extraction = extractor.rows(dataset.folder, photos, f"features of {name}")
        rows[name] = heads.FeatureSplit(extraction.rows, class_indices(dataset, photos))
        computed += extraction.computed
    if recipe.augmentation.views:
        shown = extractor.views(dataset.folder, dataset.split("train"), recipe.augmentation, recipe.seed)
        rows["train"] = replace(rows["train"], views=shown.rows)
        computed += shown.computed
    return rows, computed


def _tell_trial(trial: search.Trial, remembered: bool) -> None:
    print(
        f"  {f'{trial.stage}.{trial.number}':<5} val_accuracy={trial.val_accuracy:.4f} val_loss={trial.val_loss:.4f}"
        f" epoch={trial.epoch:<3} {trial.words}"
        + (f"  (stopped after {len(trial.curve)})" if trial.pruned else "")
        + ("  (remembered)" if remembered else ""),
        flush=True,
    )


def _finetune(
    recipe: Recipe,
    dataset: Dataset,
    model: keras.Model,
    about: checkpoint.ModelMetadata,
    run: Run,
    watch: RunMonitor,
    splits: Sequence[str],
    validation: str | None,
    epochs: int | None = None,
) -> finetune.FinetuneResult:
    """Fine-tunes on the photos of `splits`; selects the epoch on the split `validation`, or stops after `epochs`."""
    photos = [photo for split in splits for photo in dataset.split(split)]
    held_out = finetune.LabelledPhotos.of(dataset, dataset.split(validation)) if validation else None
    phase = "fine-tuning" if validation else "refit"
    with watch.tuning(phase, len(photos)) as looking_on:
        tuned = finetune.run(
            model,
            finetune.LabelledPhotos.of(dataset, photos, recipe.head.class_weights),
            recipe.finetune,
            recipe.augmentation,
            recipe.seed,
            run.folder,
            about,
            held_out,
            epochs=epochs,
            **looking_on,
        )
    watch.tell(phase, tuned.history)
    return tuned


def _refit(
    recipe: Recipe,
    dataset: Dataset,
    head: Head,
    selected: heads.Fit,
    epochs: int | None,
    about: checkpoint.ModelMetadata,
    run: Run,
    watch: RunMonitor,
    splits: Sequence[str],
    backend: Backend,
) -> Path:
    """Trains again from the start on more splits, with the settings that were selected on validation.

    The head is trained for the epochs of `selected`, the whole network for `epochs`: no photo is held out to select
    an epoch. Returns the path of the checkpoint.
    """
    photos = [photo for name in splits for photo in dataset.split(name)]
    extractor = backend.extractor(recipe.backbone)
    rows = heads.FeatureSplit(extractor.rows(dataset.folder, photos).rows, class_indices(dataset, photos))
    if recipe.augmentation.views:
        views = extractor.views(dataset.folder, photos, recipe.augmentation, recipe.seed)
        rows = replace(rows, views=views.rows)
    fit = heads.refit(head, rows, len(dataset.classes), recipe.seed, selected)
    model = heads.assemble(extractor.model, fit.model, recipe.name)
    about = replace(about, seen=leakage.after(recipe.backbone, dataset, splits))
    if not epochs:
        return checkpoint.save(model, run.folder / f"{recipe.name}_{fit.best_epoch:02d}_all.h5", about)
    return _finetune(recipe, dataset, model, about, run, watch, splits, None, epochs).checkpoint
