"""Detection of unknown inputs by a bundle: AUROC and accepted images, by similarity and by the highest probability.

    python -m benchmarks.unknown FOLDER --others FOLDER... [--model FILE] [--most 500]

FOLDER contains images of the model's classes that it was not trained on, at any depth; each folder of --others contains
images that show none of them. "accepted" counts the images above the bundle's threshold, for the probability that of
confident predictions; the threshold of the last column accepts 95 % of the images in FOLDER.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from headstand.errors import HeadstandError
from headstand.evaluation import unknown_inputs
from headstand.images import EXTENSIONS
from headstand.serve.classifier import SHIPPED, Classifier


def scores(classifier: Classifier, folder: Path, most: int) -> dict[str, np.ndarray]:
    """Returns similarity and highest probability of up to `most` images, evenly spaced in the sorted list of files."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise HeadstandError(f"{folder} holds no images ({', '.join(EXTENSIONS)})")
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int))
    images = np.stack([classifier.bundle.input.decode(paths[index]) for index in chosen])
    probabilities, similarities = classifier.outputs(images)
    if similarities is None:
        raise HeadstandError(f"{classifier.bundle.path} does not detect unknown inputs: train and convert it again")
    return {"similarity": similarities, "probability": probabilities.max(axis=1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--others", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--most", type=int, default=500, help="images per folder")
    options = parser.parse_args()
    classifier = Classifier(options.model)
    bundle = classifier.bundle
    thresholds = {"similarity": bundle.known_threshold or 0.0, "probability": bundle.threshold}
    own = scores(classifier, options.folder, options.most)
    print(f"{'images':32}{'count':>6}{'score':>13}{'AUROC':>8}{'accepted':>10}{'at 95 %':>9}")
    for folder in options.others:
        for score, values in scores(classifier, folder, options.most).items():
            truth = np.r_[np.ones(len(own[score])), np.zeros(len(values))]
            area = roc_auc_score(truth, np.r_[own[score], values])
            given = (values >= thresholds[score]).mean()
            matched = (values >= unknown_inputs.threshold(own[score])).mean()
            print(f"{str(folder)[-31:]:32}{len(values):6}{score:>13}{area:8.3f}{given:10.1%}{matched:9.1%}")
    for score, values in own.items():
        given = (values >= thresholds[score]).mean()
        print(f"{str(options.folder)[-31:]:32}{len(values):6}{score:>13}{'':8}{given:10.1%}")


if __name__ == "__main__":
    main()
