"""Put a finished run's model where it is shipped from: checkpoint, bundle and card in one folder."""

import json
import shutil
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.learn.report.card import card
from headstand.learn.run import REPORT
from headstand.serve import bundle


class PublishError(HeadstandError):
    """A run that is not ready to be published."""


def publish(run: Path, folder: Path) -> list[Path]:
    """Copy a run's model into a folder as NAME.h5 and NAME.tflite and write its card as README.md.

    Args:
        run: a finished run's folder, whose checkpoint has been converted.
        folder: made when missing; what it held under these names is replaced.

    Raises:
        PublishError: the run has no report, or its checkpoint no `.tflite` made from it.
    """
    if not (run / REPORT).is_file():
        raise PublishError(f"{run} holds no finished run; `python train.py` prints the folder of one")
    report = json.loads((run / REPORT).read_text(encoding="utf-8"))
    checkpoint = run / (report["refitted"] or report["checkpoint"])
    served = checkpoint.with_suffix(".tflite")
    if not served.is_file():
        raise PublishError(f"there is no {served}; `python convert_to_tflite.py {checkpoint}` makes it")
    parity = bundle.read(served).metadata["parity"]
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{report['name']}{source.suffix}" for source in (checkpoint, served)]
    for source, target in zip((checkpoint, served), targets, strict=True):
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.replace(target)
    page = folder / "README.md"
    page.write_text(card(report, parity), encoding="utf-8")
    return [*targets, page]
