"""Labels that are probably wrong: photos of which a model that has not seen them is confident otherwise.

The rule is confident learning's (Northcutt, Jiang and Chuang 2021, J. Artificial Intelligence Research 70): a class is
confident of a photo where it gives it at least the probability that it gives its own photos on average. Of the photos
that it finds, those are told whose label the model all but rules out.
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
from headstand.learn.features import Extractor
from headstand.prepare.doctor.findings import Case, Finding, finding
from headstand.prepare.doctor.report import Report
from headstand.prepare.manifest import Photo
from headstand.recipe import Recipe

FOLDS = 5
"""Parts of the photos, each judged by a model of the others."""

STRENGTH = 12.8
"""Inverse of the weight penalty, times the number of features: standardised, each adds as much variance."""

MARGIN = 0.5
"""Least by which the other class's probability exceeds the label's. With less, what is told of photos of 66 poses are
mostly hard photos; with it, about half are wrong, ambiguous or turned."""


class LabelError(HeadstandError):
    """Too little to judge labels by."""


@dataclass(frozen=True)
class Suspect:
    """A photo, by its place, whose label is probably wrong.

    `given` and `likely` are class indices; `own` and `confidence` the probabilities of these two.
    """

    place: int
    given: int
    likely: int
    own: float
    confidence: float


def out_of_sample(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities, `float64 [N, C]`, by models that saw neither the photo nor a twin of it.

    Args:
        features: `float32 [N, D]`.
        labels: `int [N]`, 0 to C - 1.
        groups: `int [N]`, the number that a photo shares with its twins: a twin with the same wrong label would vouch.
        seed: of the division into folds.

    Raises:
        LabelError: fewer than two classes, or a class with fewer than two different photos.
    """
    classes = int(labels.max()) + 1 if len(labels) else 0
    different = [len(set(groups[labels == label].tolist())) for label in range(classes)]
    if classes < 2 or min(different) < 2:
        raise LabelError("labels can only be checked with two classes or more, each with two different photos or more")
    folds = StratifiedGroupKFold(min(FOLDS, *different), shuffle=True, random_state=seed)
    probabilities = np.zeros((len(labels), classes))
    for known, unknown in folds.split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / features.shape[1], max_iter=300))
        with warnings.catch_warnings():
            # Nearly converged is good enough to rank photos.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[known], labels[known])
        probabilities[np.ix_(unknown, model.classes_)] = model.predict_proba(features[unknown])
    return probabilities


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> list[Suspect]:
    """Photos that count for another class in the confident joint, the most doubtful first.

    Args:
        probabilities: `float [N, C]`, out of sample.
        labels: `int [N]`; every class has photos.
    """
    thresholds = np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    likely = confident.argmax(1)
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    confidence = probabilities[rows, likely]
    doubtful = np.flatnonzero((confident.max(1) >= 0) & (likely != labels) & (confidence - own >= MARGIN))
    ranked = doubtful[np.argsort((own - confidence)[doubtful], kind="stable")]
    return [Suspect(int(k), int(labels[k]), int(likely[k]), float(own[k]), float(confidence[k])) for k in ranked]


def check(report: Report, recipe: Recipe) -> list[Finding]:
    """The doctor's finding `label_error` on an examined folder, by features of the recipe's backbone.

    Features come from the cache that training uses.

    Raises:
        LabelError: too few classes or photos.
        BackboneError: the backbone cannot be had.
    """
    exams = report.usable
    names = sorted({exam.item.class_ for exam in exams})
    labels = np.array([names.index(exam.item.class_) for exam in exams], dtype=np.int64)
    root = report.contents.root
    photos = [
        Photo(
            exam.item.path.relative_to(root).as_posix(), exam.item.class_, exam.item.split, exam.sha256,
            exam.width, exam.height, int(group),
        )
        for exam, group in zip(exams, report.groups, strict=True)
    ]  # fmt: skip
    features = Extractor(recipe.backbone).rows(root, photos).rows
    probabilities = out_of_sample(features, labels, report.groups, recipe.seed)
    cases = [
        Case(
            (exams[suspect.place].name,),
            f"labelled {names[suspect.given]} ({suspect.own:.0%}), looks like {names[suspect.likely]} "
            f"({suspect.confidence:.0%})",
        )
        for suspect in suspects(probabilities, labels)
    ]
    return finding("label_error", cases)
