import json
import re
import shutil
from pathlib import Path

import pytest

from headstand.export.acceptance import LIMITS
from headstand.export.certificate import read_certificate
from headstand.export.exporting import export
from headstand.export.publish import PublishError, publish
from headstand.recipe import HOME
from headstand.serve.classifier import Classifier
from tests import photos


def published(exported: Path) -> tuple[Path, Path]:
    """Returns checkpoint and certificate of a converted run."""
    (model,), (certificate,) = exported.glob("shapes_*.h5"), exported.glob("*.parity.json")
    return model, certificate


def test_all_published_files_are_in_one_folder(exported: Path) -> None:
    model, certificate = published(exported)
    files = publish(exported, Path("models/shapes"))
    assert [str(path) for path in files] == [
        f"models/shapes/{name}" for name in ("shapes.h5", "shapes.tflite", "shapes.parity.json", "README.md")
    ]
    assert sorted(path.name for path in Path("models/shapes").iterdir()) == sorted(path.name for path in files)
    assert files[0].read_bytes() == model.read_bytes()
    assert Classifier(files[1]).bundle.labels == photos.CLASSES
    assert files[2].read_bytes() == certificate.read_bytes()


def test_the_card_describes_the_conversion(exported: Path) -> None:
    model, certificate = published(exported)
    text = publish(exported, Path("models/shapes"))[-1].read_text()
    # Published under the model's name; in the run's folder the files are called as the checkpoint.
    assert text.replace("`shapes.", f"`{model.stem}.") == (exported / "MODEL_CARD.md").read_text()
    for folder, card in ((Path("models/shapes"), text), (exported, (exported / "MODEL_CARD.md").read_text())):
        named = re.findall(r"^- `([^`]+)`", card[card.index("## Files") :], re.MULTILINE)
        assert len(named) == 3 and all((folder / name).is_file() for name in named)
    record = json.loads(certificate.read_text())
    assert "Passed. Required: every probability within 0.0001 of the trained model's" in text
    assert (
        "| 12 test photos, decoded from their files | these weights |\n| --- | --- |\n| same class | 100.00% |" in text
    )
    accuracy = record["accuracy"]["served"]
    assert f"| accuracy of the `.h5`, of the `.tflite` | {accuracy:.4f}, {accuracy:.4f} |" in text
    assert "were trained on these photos" not in text


def test_the_card_of_a_run_of_an_earlier_version_is_the_same(exported: Path) -> None:
    _, path = published(exported)
    card = publish(exported, Path("models/shapes"))[-1].read_text()
    report = json.loads((exported / "report.json").read_text())
    report["straddling"] = report.pop("split_leak")
    (exported / "report.json").write_text(json.dumps(report))
    certificate = json.loads(path.read_text())
    for present, earlier in {"conversion": "made", "required": "asked", "before_refit": "unseen"}.items():
        certificate[earlier] = certificate.pop(present)
    path.write_text(json.dumps(certificate))
    assert publish(exported, Path("models/earlier"))[-1].read_text() == card


@pytest.mark.parametrize(
    ("name", "conversion", "count"), [("yoga6", "plain", 353), ("yoga66", "biases corrected", 392)]
)
def test_shipped_certificates_are_read(name: str, conversion: str, count: int) -> None:
    certificate = read_certificate(HOME / "models" / name / f"{name}.parity.json")
    assert (certificate["conversion"], certificate["before_refit"]["count"]) == (conversion, count)
    assert certificate["required"].startswith("the same class for 97% of the photos")


def test_a_run_that_was_not_converted_is_refused(run: Path, model: Path) -> None:
    with pytest.raises(PublishError, match=r"there is no .*\.tflite: run `python -m headstand convert .*\.h5`"):
        publish(run, Path("models/shapes"))
    with pytest.raises(PublishError, match="holds no finished run"):
        publish(Path("runs"), Path("models/shapes"))
    assert not Path("models").exists()


def test_a_failed_conversion_is_not_published(run: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "float32", -1.0)
    export(model, force=True)
    with pytest.raises(PublishError, match="did not pass its comparison"):
        publish(run, Path("models/shapes"))
    assert "**Failed**: " in (run / "MODEL_CARD.md").read_text()
    assert not Path("models").exists()


def test_a_model_outside_a_run_has_no_card(model: Path) -> None:
    folder = Path("elsewhere")
    folder.mkdir()
    shutil.copy(model, folder / "a.h5")
    export(folder / "a.h5")
    assert sorted(path.name for path in folder.iterdir()) == ["a.h5", "a.parity.json", "a.tflite", "labels.txt"]
