"""Trains one run from a prepared dataset to an evaluated checkpoint and its report.

`train` is the whole run: backbone, features, logistic regression, search, head, selection, fine-tuning, calibration,
refit, evaluation, report.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import finetune, inputs, report
from headstand import heads
from headstand.compare import automatic
from headstand.diagnosis import Finding, TrainingPhase, diagnose, gather
from headstand.errors import HeadstandError
from headstand.evaluation import calibration, leakage, unknown_inputs
from headstand.evaluation.calibration import tempered
from headstand.evaluation.metrics import SplitMetrics, evaluate
from headstand.evaluation.predictions import class_indices, predict
from headstand.evaluation.view_averaging import VIEWS, averaged
from headstand.features import Extractor, compiled
from headstand.features.backbones import balanced
from headstand.finetune import budget
from headstand.finetune.freezing import frozen
from headstand.heads import checkpoint, cross_validation, search
from headstand.heads.cross_validation import CrossValidated
from headstand.heads.linear import log_losses
from headstand.inputs import InputKind
from headstand.preparation import manifest, preparation_record
from headstand.preparation.manifest import SPLITS, Dataset, ManifestError
from headstand.recipe import Backbone, Recipe
from headstand.runs import begin
from headstand.stats import Outcomes
from headstand.tracking.history import History, write_trials
from headstand.tracking.profile import trace
from headstand.tracking.timing import Steps, Stopwatch


@dataclass(frozen=True)
class Backend:
    """Executor of the two most expensive steps of a run: this process or a Ray cluster.

    `extractor` returns the feature extractor of a backbone; `search` has the signature of `headstand.heads.search.run`.
    """

    extractor: Callable[[Backbone], Extractor]
    search: Callable[..., search.SearchResult]


LOCAL = Backend(Extractor, search.run)
"""Executor in this process."""


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

    @property
    def final(self) -> Path:
        """The checkpoint to convert and serve: the refitted one, if any."""
        return self.refitted or self.checkpoint


def train(recipe: Recipe, profile: bool = False, backend: Backend = LOCAL, elapsed: float = 0.0) -> Outcome:
    """Trains a classifier by a recipe: features, search, head, optional fine-tuning, evaluation and report.

    An interrupted run resumes where it stopped: features after the last batch, the search after the last trial,
    fine-tuning after the last epoch.

    Args:
        recipe: the resolved recipe.
        profile: trace some steps for TensorBoard's profiler; the results do not depend on it.
        backend: executor that computes the features and runs the search.
        elapsed: seconds of the recipe's time budget that were used before, for instance by the preparation.

    Raises:
        HeadstandError: the data is not prepared or has changed, or the backbone cannot be loaded.
    """
    began = time.perf_counter() - elapsed
    dataset = _load_dataset(recipe)
    recipe = preparation_record.with_source(recipe)
    classes, seed = dataset.classes, recipe.seed
    if recipe.finetune.epochs and recipe.finetune.unfreeze != "all":  # several depths have no frozen part in common
        recipe = recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"depths": 1})})
    candidates: list[dict[str, Any]] = []
    with ExitStack() as stack:
        steps = stack.enter_context(Steps())
        with steps("backbone") as log:
            if recipe.backbone.automatic:
                recipe, candidates = automatic.select(recipe, dataset, lambda line: print(f"  {line}", flush=True))
            extractor = backend.extractor(recipe.backbone)
            if recipe.finetune.epochs:  # checked here so that an invalid `unfreeze` fails before the search
                frozen(extractor.feature_model.get_layer("backbone"), recipe.finetune.unfreeze)
            log(f"{recipe.backbone.name} at {extractor.input.description}, weights {recipe.backbone.weights}")

        # The run is created after the backbone is loaded, so that a failure to load leaves no empty run folder.
        run = begin(recipe, dataset.digest)
        if run.reason:
            print(run.reason, flush=True)
        print(f"{'resuming' if run.resumed else 'run'} {run.folder}", flush=True)
        stack.enter_context(run.active())
        history = stack.enter_context(History(run.folder))

        with steps("features") as log:
            with trace(run.folder, "features", profile) as extractor.after_batch:
                features, computed = _extract_features(recipe, dataset, extractor)
            steps.parts["features"], steps.photos["features"] = extractor.stopwatch.seconds, extractor.computed
            log(f"{len(dataset.photos)} photos, {computed} computed, the others from the cache")
            if recipe.augmentation.views:
                log(f"with {recipe.augmentation.views} views of each training photo: {recipe.augmentation.settings}")
        train_split, validation_split = features["train"], features["validation"]

        with steps("logistic regression") as log:
            both = [photo for split in ("train", "validation") for photo in dataset.split(split)]
            groups = np.array([photo.group for photo in both])
            # Views of validation photos are trained on in a refit only.
            splits = _refit_splits(recipe)
            together, _ = _extract_splits(recipe, dataset, extractor, ("train", "validation"), views=bool(splits))
            folds = cross_validation.split_folds(train_split, validation_split, groups, seed)
            linear = cross_validation.logistic_regression(recipe.head, together, folds, len(classes))
            linear_fit = heads.fit(linear.head, train_split, validation_split, len(classes), seed)
            linear_validated = cross_validation.validated(linear.head, linear_fit, validation_split)
            log(f"{_figures(linear)}, L2 penalty {linear.head.weight_decay:.2g}")

        with steps("search") as log:
            searched = backend.search(
                recipe.search, recipe.head, train_split, validation_split, len(classes), seed, run.journal, _print_trial
            )
            write_trials(run.folder, searched.trials)
            log(f"{len(searched.trials)} trials; chosen: {heads.describe(searched.head)}")
            count = len(validation_split.labels)
            if others := len(search.indistinguishable(searched.trials, count)):
                log(
                    f"{others} other setting{'s' * (others > 1)} did equally well: {count} validation photos cannot "
                    "separate them"
                )

        with steps("head") as log:
            skipped = min(1, searched.head.epochs - 1)  # the first epoch includes compilation
            with trace(run.folder, "head", profile, skipped, count=1) as after_epoch:
                fit = heads.fit(
                    searched.head, train_split, validation_split, len(classes), seed, after_epoch,
                    recipe.search.selection,
                )  # fmt: skip
            history.write("head", fit.history)
            log(f"kept epoch {fit.best_epoch}: val_accuracy={fit.best['val_accuracy']:.4f}")

        choice = comparison = None
        if recipe.search.selection == "log_loss":
            with steps("selection") as log:
                # The head's settings and epoch were selected on validation: if it is not better there, it is not
                # elsewhere, and is not trained for each fold.
                candidate, compared = cross_validation.validated(searched.head, fit, validation_split), linear_validated
                if cross_validation.better(candidate, compared):
                    candidate = cross_validation.trained(searched.head, fit, together, folds, len(classes), seed)
                    compared = linear
                choice, comparison = candidate, (candidate, compared)
                if not cross_validation.better(candidate, compared):
                    choice, fit = linear, linear_fit
                name = "logistic regression" if choice is linear else "the searched head"
                reached = f"val_accuracy={fit.best['val_accuracy']:.4f}"  # the last one in the log is the run's
                log(f"{_figures(candidate)} with the searched head; selected: {name}, {reached}")
        _check_finite(fit.best, "head.learning_rate")
        # Logistic regression has no epochs to diagnose.
        phases = [TrainingPhase("head", fit.history, fit.best_epoch)] if fit is not linear_fit else []
        trained: heads.Fit | finetune.FinetuneResult = fit

        model = heads.assemble(*balanced(extractor.feature_model, fit.model, train_split.features), recipe.name)
        metadata = checkpoint.ModelMetadata(
            name=recipe.name,
            labels=classes,
            size=recipe.backbone.size,
            backbone=recipe.backbone.name,
            data=dataset.digest,
            training_fingerprints=leakage.after(recipe.backbone, dataset, ("train",)),
            evaluation_fingerprints=leakage.of(dataset, ("validation", "test")),
        )
        tuned, fine_tuned, notes = None, False, []
        if recipe.finetune.epochs:
            with steps("fine-tuning") as log:
                if recipe.minutes:
                    decided = _within_budget(recipe, dataset, model, run.folder, began)
                    recipe = _with_epochs(recipe, decided.epochs)
                    notes.append(str(decided))
                if recipe.finetune.epochs:
                    tuned = _finetune(
                        recipe, dataset, ("train",), "validation", model, metadata, run.folder, history, steps, profile
                    )
                    if recipe.search.selection == "accuracy":  # the head is not an alternative
                        _check_finite(tuned.best, "finetune.learning_rate")
                    if np.isfinite(tuned.best["val_loss"]):
                        notes.append(f"kept epoch {tuned.best_epoch}: val_accuracy={tuned.best['val_accuracy']:.4f}")
                        phases.append(TrainingPhase("finetune", tuned.history, tuned.best_epoch))
                        fine_tuned = recipe.search.selection == "accuracy" or _better_than_head(
                            tuned.checkpoint, fit.model, dataset, validation_split, extractor.input
                        )
                    else:
                        notes.append(_DIVERGES.format("finetune.learning_rate"))
                    if not fine_tuned:  # the last figure in the log is that of the selected model
                        recipe = _with_epochs(recipe, 0)
                        reached = f"val_accuracy={fit.best['val_accuracy']:.4f}"
                        notes.append(f"not better than the head, which is kept: {reached}")
                for note in notes:
                    log(note)
        if tuned and (splits or not fine_tuned):
            # Loaded again, since fine-tuning changes the weights of the extractor's network.
            extractor = backend.extractor(recipe.backbone)
            model = heads.assemble(*balanced(extractor.feature_model, fit.model, train_split.features), recipe.name)
        if tuned and fine_tuned:
            trained, selected, head = tuned, tuned.checkpoint, None
        else:
            name = f"{recipe.name}_{fit.best_epoch:02d}_{fit.best['val_accuracy']:.3f}.h5"
            selected, head = checkpoint.save(model, run.folder / name, metadata), fit.model

        with steps("calibration") as log:
            # A run that was interrupted after this step has its calibration in the checkpoint already.
            if checkpoint.metadata(selected).threshold is None:
                uncalibrated = _predict(selected, head, dataset, "validation", features, extractor.input)
                chosen = calibration.calibrate(
                    uncalibrated, validation_split.labels, recipe.evaluation.confidence_target
                )
                calibration.save_calibration(selected, chosen)
            calibrated = calibration.of(selected)
            probabilities = {"validation": _predict(selected, head, dataset, "validation", features, extractor.input)}
            guarantee = calibration.guarantee(
                probabilities["validation"],
                validation_split.labels,
                calibrated.threshold,
                recipe.evaluation.confidence_target,
            )
            log(f"temperature={calibrated.temperature:.3f}. {calibration.described(guarantee.record)}")

        with steps("unknown inputs") as log:
            frozen_model = None if fine_tuned else model
            photo_features = {
                split: _head_inputs(selected, frozen_model, dataset, (split,), features[split], extractor.input)
                for split in ("train", "validation")
            }
            detector = unknown_inputs.fit(photo_features["train"], train_split.labels, seed, centered=not fine_tuned)
            similarities = {"validation": detector.similarities(photo_features["validation"])}
            detector = replace(detector, threshold=unknown_inputs.threshold(similarities["validation"]))
            unknown_inputs.save(selected, detector)
            log(f"{len(detector.prototypes)} prototypes, known from a similarity of {detector.threshold:.3f}")

        refitted, scored = None, selected
        if splits:
            with steps("refit") as log:
                rows = together
                if splits == SPLITS:
                    rows, _ = _extract_splits(recipe, dataset, extractor, splits, views=True)
                again = heads.refit(choice.head if choice else searched.head, rows, len(classes), seed, fit)
                model = heads.assemble(*balanced(extractor.feature_model, again.model, rows.features), recipe.name)
                metadata = replace(metadata, training_fingerprints=leakage.after(recipe.backbone, dataset, splits))
                if fine_tuned:
                    refitted = _finetune(
                        recipe, dataset, splits, None, model, metadata, run.folder, history, steps, profile,
                        epochs=trained.best_epoch,
                    ).checkpoint  # fmt: skip
                else:
                    accuracy = f"_{choice.accuracy:.3f}" if choice else ""
                    name = f"{recipe.name}_{again.best_epoch:02d}{accuracy}_all.h5"
                    refitted = checkpoint.save(model, run.folder / name, metadata)
                # No photo is held out to calibrate the refitted model: it takes over the selected model's calibration
                # and threshold of unknown inputs.
                calibration.save_calibration(refitted, calibrated)
                model_again = None if fine_tuned else model
                inputs_again = _head_inputs(refitted, model_again, dataset, splits, rows, extractor.input)
                fitted_again = unknown_inputs.fit(inputs_again, rows.labels, seed, centered=not fine_tuned)
                detector_again = replace(fitted_again, threshold=detector.threshold)
                unknown_inputs.save(refitted, detector_again)
                log(f"{refitted.name}: trained on {', '.join(splits)}")
            if "test" not in splits:
                scored, head = refitted, (None if fine_tuned else again.model)
                detector, frozen_model = detector_again, model_again

        with steps("evaluation") as log:
            # First use of the test split: everything has been selected by now.
            probabilities["test"] = _predict(scored, head, dataset, "test", features, extractor.input)
            test_inputs = _head_inputs(scored, frozen_model, dataset, ("test",), features["test"], extractor.input)
            similarities["test"] = detector.similarities(test_inputs)
            scores = {split: evaluate(probabilities[split], features[split].labels, classes) for split in probabilities}
            checkpoints = {"validation": selected, "test": scored}
            averages = _evaluate_averaged(recipe, dataset, checkpoints, features, extractor.input)
            correct = probabilities["test"].argmax(axis=1) == features["test"].labels
            leak, across = leakage.leak(recipe.backbone, dataset, correct), leakage.across_splits(dataset, correct)
            low, high = scores["test"].interval
            log(f"test_accuracy={scores['test'].accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})")
            if averages:
                log(f"averaged over {VIEWS[recipe.evaluation.average]} {averages['test'].accuracy:.4f}")
            for duplicates, source in ((leak, "what the backbone was trained on"), (across, "training")):
                if duplicates.photos:
                    without = duplicates.accuracy_without
                    log(
                        f"WARNING: {len(duplicates.photos)} test photos have near duplicates in {source}"
                        + ("" if without is None else f"; without them {without:.4f}")
                    )

        # The diagnosis looks for saturated probabilities, which temperature scaling would hide.
        untempered = tempered(probabilities["validation"], 1 / calibrated.temperature)
        findings = diagnose(
            gather.evidence(
                recipe,
                classes,
                linear_validated.correct,
                searched,
                fit.model,
                features,
                untempered,
                phases,
                steps,
                Outcomes.of(correct),
                scored != selected,
            )
        )
        record = report.write(
            run.folder,
            report.ReportContext(
                recipe=recipe,
                dataset=dataset,
                linear=linear,
                linear_validated=linear_validated,
                comparison=comparison,
                head=choice.head if choice else searched.head,
                search=searched,
                backbones=candidates,
                fine_tuning=notes,
                history=trained.history,
                best_epoch=trained.best_epoch,
                calibration=calibrated,
                guarantee=guarantee,
                known=unknown_inputs.record(detector.threshold, similarities),
                scores=scores,
                averaged=averages,
                probabilities=probabilities,
                labels={split: features[split].labels for split in scores},
                backbone_leak=leak,
                split_leak=across,
                checkpoint=selected,
                refitted=refitted,
                scored=scored,
                steps=steps,
                findings=findings,
            ),
        )
        finetune.remove_state(run.folder)
        if tuned and tuned.checkpoint != selected:
            tuned.checkpoint.unlink(missing_ok=True)
        return Outcome(run.folder, selected, refitted, record, findings)


def _load_dataset(recipe: Recipe) -> Dataset:
    """Returns the prepared dataset of a recipe.

    Raises:
        ManifestError: it is not prepared, or a split is empty.
        HeadstandError: it holds another kind of input than the backbone takes.
    """
    dataset = manifest.read(recipe.data)
    if empty := [name for name in SPLITS if not dataset.split(name)]:
        raise ManifestError(f"{dataset.folder} has no photos for {' and '.join(empty)}: prepare it again")
    held, taken = inputs.of_file(dataset.photos[0].path).kind, recipe.backbone.input.kind
    if held != taken:
        suitable = ", ".join(inputs.REGISTERED[held].backbones) if held in inputs.REGISTERED else "such as Xception"
        raise HeadstandError(
            f"{dataset.folder} holds {held}, and {recipe.backbone.name} takes {taken}: name another with "
            f"--backbone.name, {suitable}"
        )
    return dataset


def _extract_features(
    recipe: Recipe, dataset: Dataset, extractor: Extractor
) -> tuple[dict[str, heads.FeatureSplit], int]:
    """Returns features and labels by split, and the number of photos and views that were not in the cache."""
    features, computed = {}, extractor.compute_ahead(dataset.folder, dataset.photos)
    for split in SPLITS:
        features[split], more = _extract_splits(recipe, dataset, extractor, (split,), views=split == "train")
        computed += more
    return features, computed


def _extract_splits(
    recipe: Recipe, dataset: Dataset, extractor: Extractor, splits: Sequence[str], views: bool
) -> tuple[heads.FeatureSplit, int]:
    """Returns features and labels of some splits together, and the number of rows that were not in the cache.

    `views` is whether to add the augmented views of the recipe, if it has any.
    """
    photos = [photo for split in splits for photo in dataset.split(split)]
    extraction = extractor.rows(dataset.folder, photos, f"features of {', '.join(splits)}")
    rows = heads.FeatureSplit(extraction.rows, class_indices(dataset, photos))
    if not (views and recipe.augmentation.views):
        return rows, extraction.computed
    augmented = extractor.views(dataset.folder, photos, recipe.augmentation, recipe.seed)
    return replace(rows, views=augmented.rows), extraction.computed + augmented.computed


def _print_trial(trial: search.Trial, from_journal: bool) -> None:
    print(
        f"  {f'{trial.stage}.{trial.number}':<5} val_accuracy={trial.val_accuracy:.4f} val_loss={trial.val_loss:.4f}"
        f" epoch={trial.epoch:<3} {trial.description}"
        + (f"  (stopped after {len(trial.curve)})" if trial.pruned else "")
        + ("  (from the journal)" if from_journal else ""),
        flush=True,
    )


def _refit_splits(recipe: Recipe) -> tuple[str, ...]:
    """Returns the splits that the selected model is trained on again; none if it is not."""
    if recipe.finetune.refit == "all":
        return SPLITS
    always = recipe.search.selection == "log_loss"
    return ("train", "validation") if always or recipe.finetune.refit == "validation" else ()


def _figures(found: CrossValidated) -> str:
    """Returns log loss and accuracy of a head in cross-validation as text."""
    how = f"{found.folds} folds" if found.folds > 1 else "validation"
    return f"log loss {found.losses.mean():.4f}, accuracy {found.accuracy:.4f} on {how}"


_DIVERGES = "no epoch has a finite validation loss: training diverges; try a lower --{}"


def _check_finite(best: dict[str, float], rate: str) -> None:
    if not np.isfinite(best["val_loss"]):
        raise HeadstandError(_DIVERGES.format(rate))


def _with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Returns the recipe with another number of epochs of fine-tuning."""
    return recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"epochs": epochs})})


def _within_budget(recipe: Recipe, dataset: Dataset, model: keras.Model, folder: Path, began: float) -> budget.Budget:
    """Returns what fits into the recipe's time budget, which began at the time `began` of `time.perf_counter`.

    It is written to the run's folder, since a resumed run must train for the same number of epochs.
    """
    training, validation = (_labelled(recipe, dataset, (split,)) for split in ("train", "validation"))
    tuning = recipe.finetune
    assert recipe.minutes
    decided = budget.read(folder)
    if not decided:
        speed = budget.measure(model, training, validation, tuning, recipe.augmentation, recipe.seed)
        counts = {split: len(dataset.split(split)) for split in SPLITS}
        left = began + 60 * recipe.minutes - time.perf_counter()
        decided = budget.decide(speed, left, counts, tuning, _refit_splits(recipe))
        budget.write(folder, decided)
    return decided


def _better_than_head(
    path: Path, head: keras.Model, dataset: Dataset, validation: heads.FeatureSplit, kind: InputKind
) -> bool:
    """Returns whether a fine-tuned checkpoint has a lower log loss on validation than the head that it started from.

    By more than one standard error of the paired difference; both have the temperature that suits them best, because
    fine-tuning with label smoothing makes probabilities lower.
    """
    predictions = (
        predict(compiled(checkpoint.load(path)), dataset, "validation", kind),
        heads.probabilities(head, validation.features),
    )
    labels = validation.labels
    tuned, frozen = (log_losses(tempered(each, calibration.temperature(each, labels)), labels) for each in predictions)
    return cross_validation.lower(tuned, frozen)


def _labelled(recipe: Recipe, dataset: Dataset, splits: Sequence[str]) -> finetune.LabelledPhotos:
    photos = [photo for split in splits for photo in dataset.split(split)]
    return finetune.LabelledPhotos.of(dataset, photos, recipe.head.class_weights)


def _finetune(
    recipe: Recipe,
    dataset: Dataset,
    splits: Sequence[str],
    validation: str | None,
    model: keras.Model,
    metadata: checkpoint.ModelMetadata,
    folder: Path,
    history: History,
    steps: Steps,
    profile: bool,
    epochs: int | None = None,
) -> finetune.FinetuneResult:
    """Fine-tunes on the photos of `splits`; selects the epoch on the split `validation`, or stops after `epochs`."""
    photos = _labelled(recipe, dataset, splits)
    phase, stopwatch = "fine-tuning" if validation else "refit", Stopwatch()

    def after_epoch(metrics: list[dict[str, float]]) -> None:
        steps.photos[phase] = steps.photos.get(phase, 0) + len(photos.photos)
        history.write(phase, metrics)

    with trace(folder, phase, profile) as after_batch:
        tuned = finetune.run(
            model,
            photos,
            recipe.finetune,
            recipe.augmentation,
            recipe.seed,
            folder,
            metadata,
            finetune.LabelledPhotos.of(dataset, dataset.split(validation)) if validation else None,
            stopwatch,
            after_epoch,
            [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: after_batch())],
            epochs,
            recipe.search.selection,
        )
    steps.parts[phase] = stopwatch.seconds
    history.write(phase, tuned.history)
    return tuned


def _predict(
    path: Path,
    head: keras.Model | None,
    dataset: Dataset,
    split: str,
    features: Mapping[str, heads.FeatureSplit],
    kind: InputKind,
) -> np.ndarray:
    """Returns the probabilities of a checkpoint for the photos of a split, `float32 [N, classes]`.

    `head` is the checkpoint's head before calibration if its backbone is that of the features, which then save the
    pass through the backbone; otherwise None.
    """
    if head is None:
        return predict(compiled(checkpoint.load(path)), dataset, split, kind)
    return tempered(heads.probabilities(head, features[split].features), checkpoint.metadata(path).temperature)


def _head_inputs(
    path: Path,
    frozen: keras.Model | None,
    dataset: Dataset,
    splits: Sequence[str],
    rows: heads.FeatureSplit,
    kind: InputKind,
) -> np.ndarray:
    """Returns the features of a checkpoint for the photos of some splits, `float32 [N, D]`.

    Args:
        path: the checkpoint.
        frozen: its model if its backbone computed `rows`, which then save the pass through the backbone; else None.
        dataset: the prepared dataset.
        splits: names of the splits.
        rows: extracted features of the same photos.
        kind: input of the model.
    """
    if frozen:
        scale = unknown_inputs.feature_scale(frozen)
        return rows.features if np.all(scale == 1) else rows.features * scale
    network = unknown_inputs.with_features(checkpoint.load(path))
    call = compiled(keras.Model(network.input, network.outputs[1]))
    return np.concatenate([predict(call, dataset, split, kind) for split in splits])


def _evaluate_averaged(
    recipe: Recipe,
    dataset: Dataset,
    checkpoints: Mapping[str, Path],
    features: Mapping[str, heads.FeatureSplit],
    kind: InputKind,
) -> dict[str, SplitMetrics]:
    """Returns the metrics with test-time augmentation by split; empty if the recipe does not ask for it.

    `checkpoints` holds the checkpoint that is evaluated on each split.
    """
    average = recipe.evaluation.average
    if average == "none":
        return {}
    models = {path: compiled(checkpoint.load(path)) for path in set(checkpoints.values())}
    return {
        split: evaluate(averaged(models[path], dataset, split, kind, average), features[split].labels, dataset.classes)
        for split, path in checkpoints.items()
    }
