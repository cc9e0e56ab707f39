"""Finds probable label errors: photos for which an out-of-sample model confidently predicts another class.

The rule is that of confident learning (Northcutt, Jiang and Chuang 2021, J. Artificial Intelligence Research 70): a
photo counts for a class if its probability of that class is at least the mean probability over the photos with that
label. Of the photos that count for another class than their label, only those with a large margin (`MARGIN`) are
reported.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstand.errors import HeadstandError
from headstand.features import Extractor
from headstand.preparation.doctor.issues import Issue, IssueCase, issue
from headstand.preparation.doctor.report import DoctorReport
from headstand.preparation.manifest import Photo
from headstand.recipe import Recipe

FOLDS = 5
"""Largest number of folds in the cross-validation; a class with fewer different photos reduces it."""

STRENGTH = 12.8
"""Inverse regularisation strength of the logistic regression times the number of features; standardised features each
add the same variance."""

MARGIN = 0.5
"""Smallest difference between the other class's probability and the label's. With a smaller one, most reported photos
of a dataset of 66 poses are merely hard; with this one, about half are mislabelled, ambiguous or rotated."""


class LabelError(HeadstandError):
    """There are too few classes or photos to check labels."""


@dataclass(frozen=True)
class SuspectLabel:
    """A photo whose label is probably wrong.

    `index` is that of the photo, `label` that of its class and `predicted` that of the predicted class.
    `label_probability` and `confidence` are the probabilities of these two classes.
    """

    index: int
    label: int
    predicted: int
    label_probability: float
    confidence: float


def out_of_sample(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Returns cross-validated class probabilities, `float64 [N, C]`; near duplicates are always in the same fold.

    Args:
        features: `float32 [N, D]`.
        labels: `int [N]`, 0 to C - 1.
        groups: `int [N]`, a number that a photo shares with its near duplicates. A near duplicate with the same wrong
            label in the training folds would hide the error.
        seed: seed of the division into folds.

    Raises:
        LabelError: there are fewer than two classes, or a class has fewer than two groups.
    """
    classes = int(labels.max()) + 1 if len(labels) else 0
    different = [len(set(groups[labels == label].tolist())) for label in range(classes)]
    if classes < 2 or min(different) < 2:
        raise LabelError("checking labels needs at least two classes with at least two different photos each")
    folds = StratifiedGroupKFold(min(FOLDS, *different), shuffle=True, random_state=seed)
    probabilities = np.zeros((len(labels), classes))
    for train, held_out in folds.split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / features.shape[1], max_iter=300))
        with warnings.catch_warnings():
            # Photos can be ranked without full convergence.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], labels[train])
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probabilities


def suspect_labels(probabilities: np.ndarray, labels: np.ndarray) -> list[SuspectLabel]:
    """Returns the off-diagonal photos of the confident joint with a margin of at least `MARGIN`, the largest first.

    Args:
        probabilities: out-of-sample probabilities, `float [N, C]`.
        labels: `int [N]`; every class has photos.
    """
    thresholds = np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    predicted = confident.argmax(1)
    rows = np.arange(len(labels))
    label_probability = probabilities[rows, labels]
    confidence = probabilities[rows, predicted]
    margin = confidence - label_probability
    doubtful = np.flatnonzero((confident.max(1) >= 0) & (predicted != labels) & (margin >= MARGIN))
    return [
        SuspectLabel(k, int(labels[k]), int(predicted[k]), float(label_probability[k]), float(confidence[k]))
        for k in doubtful[np.argsort(-margin[doubtful], kind="stable")].tolist()
    ]


def check(report: DoctorReport, recipe: Recipe) -> list[Issue]:
    """Returns the doctor's finding `label_error` for an examined folder, from features of the recipe's backbone.

    Features come from the cache that training uses.

    Raises:
        LabelError: there are too few classes or photos.
        BackboneError: the backbone cannot be built or its weights cannot be loaded.
    """
    exams = report.usable
    names = sorted({exam.item.class_ for exam in exams})
    labels = np.array([names.index(exam.item.class_) for exam in exams], dtype=np.int64)
    root = report.contents.root
    photos = [
        Photo(
            exam.item.path.relative_to(root).as_posix(), exam.item.class_, exam.item.split, exam.file.sha256,
            exam.file.width, exam.file.height, int(group),
        )
        for exam, group in zip(exams, report.groups, strict=True)
    ]  # fmt: skip
    features = Extractor(recipe.backbone).rows(root, photos).rows
    probabilities = out_of_sample(features, labels, report.groups, recipe.seed)
    cases = [
        IssueCase(
            (exams[suspect.index].name,),
            f"labelled {names[suspect.label]} ({suspect.label_probability:.0%}), looks like {names[suspect.predicted]} "
            f"({suspect.confidence:.0%})",
        )
        for suspect in suspect_labels(probabilities, labels)
    ]
    return issue("label_error", cases)
