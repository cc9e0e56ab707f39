import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import convert_to_tflite
from headstand.cli.convert import _measured
from headstand.errors import HeadstandError
from headstand.export import tflite_conversion
from headstand.heads import checkpoint
from headstand.preparation import manifest
from headstand.runs import RunError
from headstand.serve import bundle
from tests import networks
from tests.commands import status
from tests.export.conftest import (  # noqa: F401 - the run that the export tests work on
    cached_conversions,
    conversions,
    exported,
    model,
    run,
    trained,
)

SCRIPT = Path(__file__).parents[1] / "convert_to_tflite.py"


def test_the_newest_run_is_converted_and_the_next_command_printed(
    model: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    convert_to_tflite.main([])
    made, labels = model.with_suffix(".tflite"), model.with_name("labels.txt")
    assert bundle.read(made).name == "shapes"
    converting, converted, choice, parity, accuracy, written, try_it, serve = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"converting {re.escape(str(model))} \(accuracy on 12 test photos: \d\.\d{{3}}\)", converting)
    assert re.fullmatch(r"float32    0\.0 MB in \d+ s", converted)
    assert choice.strip() == "on 12 validation photos: passes"
    assert re.fullmatch(
        r"parity     12 test photos, same top class on 100\.00%, largest difference .* \d\.\de-0\d: passed", parity
    )
    assert re.fullmatch(r"accuracy   \d\.\d{4} on these photos, \d\.\d{4} before conversion", accuracy)
    beside = re.escape(str(model.with_suffix(".parity.json")))
    assert re.fullmatch(
        rf"written    {re.escape(str(made))} \(float32, \d\.\d MiB\), {beside}, {re.escape(str(labels))}", written
    )
    photo = Path("data/shapes") / manifest.read(Path("data/shapes")).split("test")[0].path
    assert try_it == f"try it     python predict.py --model {made} {photo}"
    assert serve == f"serve it   HEADSTAND_MODEL={made} gunicorn predict:app"


def test_a_model_may_be_named(model: Path) -> None:  # noqa: F811
    moved = Path("elsewhere.h5")
    shutil.copy(model, moved)
    convert_to_tflite.main([str(moved)])
    assert bundle.read("elsewhere.tflite").labels == checkpoint.metadata(moved).labels
    assert not model.with_suffix(".tflite").exists()


@pytest.mark.parametrize("folder", [lambda path: path.parent, lambda path: path.parent.parent])
def test_a_run_s_folder_may_be_named(
    model: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    folder: Callable[[Path], Path],
) -> None:
    convert_to_tflite.main([str(folder(model))])
    assert capsys.readouterr().out.startswith(f"converting {model} (accuracy on 12 test photos: ")
    assert model.with_suffix(".tflite").is_file()


def test_a_folder_without_a_run_is_refused(model: Path) -> None:  # noqa: F811
    (model.parent / "report.json").unlink()
    with pytest.raises(
        RunError, match=rf"is a folder without a finished run .*name a checkpoint: {re.escape(str(model))}"
    ):
        convert_to_tflite.main([str(model.parent)])
    with pytest.raises(RunError, match=r"data is a folder without a finished run .*headstand train PHOTOS"):
        convert_to_tflite.main(["data"])


def test_without_a_run_the_error_names_the_command(workplace: Path) -> None:
    with pytest.raises(RunError, match="`python -m headstand train PHOTOS`"):
        convert_to_tflite.main([])


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls the script with arguments that must fail, and returns its standard error."""

    def call(*argv: str) -> str:
        assert status(monkeypatch, convert_to_tflite.main, "convert_to_tflite.py", *argv) == 1
        return capsys.readouterr().err

    return call


def test_a_missing_model_is_one_line(workplace: Path) -> None:
    result = subprocess.run([sys.executable, str(SCRIPT), "nothing.h5"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        1, "error: there is no checkpoint nothing.h5: `python -m headstand train PHOTOS` trains a model\n",
    )  # fmt: skip


def test_a_text_file_is_one_line(workplace: Path, failed: Callable[..., str]) -> None:
    Path("text.h5").write_text("not a model\n")
    error = failed("text.h5")
    assert re.fullmatch(r"error: text\.h5 is not a checkpoint that Headstand wrote .*\n", error), error
    assert [path.name for path in Path().iterdir()] == ["text.h5"]


def test_a_model_that_predicts_differently_is_refused(
    model: Path,  # noqa: F811
    failed: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = tflite_conversion.float32

    def swapped(network: networks.keras.Model) -> bytes:
        other = networks.keras.models.clone_model(network)
        other.set_weights([values + 0.05 for values in network.get_weights()])
        return real(other)

    monkeypatch.setattr(tflite_conversion, "float32", swapped)
    before = sorted(model.parent.iterdir())
    error = failed(str(model))
    assert re.fullmatch(
        r"error: the float32 model predicts differently from the trained one, so nothing was written: .*\n", error
    ), error
    assert sorted(model.parent.iterdir()) == before


def test_a_format_may_be_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    convert_to_tflite.main([str(model), "--format", "int8", "--representative", "30"])
    assert bundle.read(model.with_suffix(".tflite")).metadata["certificate"]["format"] == "int8"
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("int8 ")
    assert said[2].strip() == "on 12 validation photos: passes"


@pytest.mark.parametrize("argv", [["a.h5", "--labels", "l.txt"], ["--labels", "l.txt", "--preprocess", "torch"]])
def test_missing_options_of_a_foreign_model_are_reported(argv: list[str]) -> None:
    with pytest.raises(HeadstandError, match="needs MODEL, --labels FILE and --preprocess"):
        convert_to_tflite.main(argv)


def test_the_test_accuracy_of_a_checkpoint_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "shapes_08_0.933.h5"
    assert _measured(path) == ""
    record = {"recipe": {}, "scored": path.name, "test": {"accuracy": 0.8171, "count": 60}}
    (tmp_path / "report.json").write_text(json.dumps(record))
    assert _measured(path) == " (accuracy on 60 test photos: 0.817)"
    assert _measured(tmp_path / "shapes_08_0.933_all.h5") == ""
