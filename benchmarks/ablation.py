"""Ablation study of a fine-tuned recipe, measured on the validation split; the test split is not used.

    python -m benchmarks.ablation yoga66 --epochs 10 --backbone.size 160

Each row changes one setting of the recipe and trains again with the same initial weights and seed. `paired` is the
difference in accuracy to the unchanged recipe on the same photos with its 95 % interval, which is narrower than two
separate intervals. After an interruption, the same command continues with the unfinished row.
"""

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from headstand import finetune, heads
from headstand import recipe as recipes
from headstand.evaluation import label_errors
from headstand.evaluation.predictions import class_indices, predict
from headstand.features import Extractor, compiled
from headstand.files import cache
from headstand.heads import checkpoint
from headstand.inputs import PhotoInput
from headstand.preparation import manifest
from headstand.recipe import Recipe
from headstand.stats import paired, wilson

CHANGES: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "without random views": {"augmentation.smallest_crop": 1.0, "augmentation.flip": "none",
                             "augmentation.brightness": 0.0, "augmentation.contrast": 0.0},
    "without mixup": {"finetune.mixup": 0.0},
    "without the moving average": {"finetune.ema": 0.0},
    "without class weights": {"head.class_weights": False},
    "without doubtful labels": {},
    "the last 4 blocks only": {"finetune.unfreeze": "4 blocks"},
}  # fmt: skip


def main(argv: list[str]) -> None:
    name, *rest = argv
    epochs = []
    if "--epochs" in rest:
        index = rest.index("--epochs")
        epochs = ["--finetune.epochs", rest[index + 1]]
        del rest[index : index + 2]
    whole = recipes.load(name, [*rest, *epochs, "--finetune.refit", "none"])
    dataset = manifest.read(whole.data)
    truth = class_indices(dataset, dataset.split("validation"))
    store = cache() / "ablation"
    store.mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[np.ndarray, float]] = {}
    for change, values in {"frozen, the head alone": {"finetune.epochs": 0}, **CHANGES}.items():
        overrides = [text for key, value in values.items() for text in (f"--{key}", json.dumps(value).strip('"'))]
        recipe = recipes.load(name, [*rest, *epochs, "--finetune.refit", "none", *overrides])
        key = f"{change} {overrides} {rest} {epochs} {recipe.seed} {dataset.digest}"
        path = store / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
        if not path.is_file():
            start = time.perf_counter()
            predicted, mirrored = learn(recipe, dataset, change == "without doubtful labels")
            part = path.with_name(f".{path.name}")
            np.savez(part, predicted=predicted, mirrored=mirrored, seconds=time.perf_counter() - start)
            part.replace(path)
        saved = np.load(path)
        seconds = float(saved["seconds"])
        found[change] = saved["predicted"].argmax(axis=1) == truth, seconds
        print(f"  {change}: val_accuracy={found[change][0].mean():.4f}", flush=True)
        if change == "the recipe":
            averaged = saved["predicted"] + saved["mirrored"]
            found["averaged with the mirror image"] = averaged.argmax(axis=1) == truth, seconds
    print_table(whole, found)


def learn(recipe: Recipe, dataset: manifest.Dataset, clean: bool) -> tuple[np.ndarray, np.ndarray]:
    """Trains the recipe; returns probabilities `float32 [N, classes]` of validation photos and their mirror images.

    `clean` removes training photos with doubtful labels first.
    """
    extractor = Extractor(recipe.backbone)
    train, validation = list(dataset.split("train")), list(dataset.split("validation"))
    rows = extractor.rows(dataset.folder, train).rows
    target = class_indices(dataset, train)
    if clean:
        groups = np.array([photo.group for photo in train])
        predicted = label_errors.out_of_sample(rows, target, groups, recipe.seed)
        doubtful = {suspect.index for suspect in label_errors.suspect_labels(predicted, target)}
        print(f"  {len(doubtful)} doubtful labels", flush=True)
        stay = [index for index in range(len(train)) if index not in doubtful]
        train, rows, target = [train[index] for index in stay], rows[stay], target[stay]
    held_rows = extractor.rows(dataset.folder, validation).rows
    held_target = class_indices(dataset, validation)
    classes = len(dataset.classes)
    fit = heads.fit(
        recipe.head, heads.FeatureSplit(rows, target), heads.FeatureSplit(held_rows, held_target), classes, recipe.seed
    )
    if not recipe.finetune.epochs:
        predicted = np.asarray(fit.model(held_rows))
        return predicted, predicted
    model = heads.assemble(extractor.feature_model, fit.model, recipe.name)
    size = recipe.backbone.size
    about = checkpoint.ModelMetadata(recipe.name, dataset.classes, size, recipe.backbone.name, dataset.digest)
    with tempfile.TemporaryDirectory() as folder:
        tuned = finetune.run(
            model,
            finetune.LabelledPhotos.of(dataset, train, recipe.head.class_weights),
            recipe.finetune,
            recipe.augmentation,
            recipe.seed,
            Path(folder),
            about,
            finetune.LabelledPhotos.of(dataset, validation),
        )
        call = compiled(checkpoint.load(tuned.checkpoint))
        plain = predict(call, dataset, "validation", PhotoInput(size))
        return plain, predict(lambda shown: call(shown[:, :, ::-1]), dataset, "validation", PhotoInput(size))


def print_table(recipe: Recipe, found: dict[str, tuple[np.ndarray, float]]) -> None:
    """Prints the results as a Markdown table."""
    base, _ = found["the recipe"]
    print(
        f"\n{recipe.name}: {recipe.backbone.name} at {recipe.backbone.size} px, {recipe.finetune.epochs} epochs, seed "
        f"{recipe.seed}, {len(base)} validation photos\n"
    )
    print("| change | validation | 95 % interval | paired | 95 % interval | minutes |\n|---|---|---|---|---|---|")
    for change, (correct, seconds) in found.items():
        low, high = wilson(int(correct.sum()), len(correct))
        change_of = paired(correct.astype(bool), base.astype(bool))
        below, above = change_of.interval
        print(
            f"| {change} | {correct.mean():.3f} | {low:.3f} to {high:.3f} | {change_of.value:+.3f} | "
            f"{below:+.3f} to {above:+.3f} | {seconds / 60:.1f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
