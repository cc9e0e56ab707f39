import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from headstand import images
from headstand.errors import HeadstandError
from headstand.evaluation import calibration, leakage, unknown_inputs
from headstand.export import exporting, tflite_conversion
from headstand.export.acceptance import LIMITS, AcceptanceCriteria
from headstand.export.candidates import ConversionTrials
from headstand.export.exporting import export
from headstand.export.latency import Latency
from headstand.export.parity import ParityError
from headstand.export.photo_samples import ParitySamples, PhotoSample, PhotoSampleError
from headstand.export.trained import TrainedModel
from headstand.export_formats import FORMATS
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError, ModelMetadata
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset, ManifestError
from headstand.recipe import Backbone
from headstand.serve import bundle as serve
from headstand.serve.classifier import Classifier
from headstand.stats import lower_bound
from tests import networks, photos


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_bundle_predicts_as_the_checkpoint(model: Path, dataset: Dataset) -> None:
    before = files_in(model.parent)
    result = export(model)
    assert result.bundle == model.with_suffix(".tflite")
    assert result.certificate == model.with_suffix(".parity.json")
    assert files_in(model.parent) == before | {result.bundle.name, result.certificate.name, "labels.txt"}
    assert result.labels.read_text() == "".join(f"{label}\n" for label in dataset.classes)
    assert result.size == result.bundle.stat().st_size
    assert result.parity.count == 12
    assert result.parity.agreement == 1
    assert result.parity.largest_difference <= 1e-4
    classifier, keras_model = Classifier(result.bundle), checkpoint.load(model)
    for photo in dataset.photos:
        path = dataset.folder / photo.path
        wanted = keras_model(images.decode(path, networks.SIZE)[np.newaxis].astype(np.float32)).numpy()[0]
        given = classifier.predict(path.read_bytes()).probabilities
        assert [given[label] for label in dataset.classes] == pytest.approx(wanted.tolist(), abs=1e-4)
        assert next(iter(given)) == dataset.classes[wanted.argmax()]


def test_metadata_and_certificate_describe_the_model(bundle: Path, trained: Path) -> None:
    read = serve.read(bundle)
    (path,) = bundle.parent.glob("shapes_*.h5")
    assert read.labels == photos.CLASSES
    assert (read.name, read.size) == ("shapes", networks.SIZE)
    metadata = read.metadata
    assert metadata["checkpoint"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert metadata["data"] == checkpoint.metadata(path).data
    assert metadata["input"]["decoder"] == images.DECODER
    certificate = metadata["certificate"]
    assert (certificate["verdict"], certificate["format"], certificate["photos"]) == ("passed", "float32", "test")
    assert (certificate["count"], certificate["agreement"], certificate["missing"]) == (12, 1, [])
    assert 0 <= certificate["mean_difference"] <= certificate["largest_difference"] <= 1e-4
    assert certificate["accuracy"]["trained"] == certificate["accuracy"]["served"] > 0.5
    low, high = certificate["accuracy"]["interval"]
    assert (certificate["accuracy"]["lost"], low) == (0, -high)
    assert not certificate["seen_in_training"]
    assert certificate["checkpoint"] == metadata["checkpoint"]
    assert certificate["model"] == hashlib.sha256(read.flatbuffer).hexdigest()
    assert set(metadata["versions"]) == {"headstand", "tensorflow", "keras", "ai-edge-litert"}
    assert metadata["threshold"] == checkpoint.metadata(path).threshold
    assert metadata["temperature"] == checkpoint.metadata(path).temperature != 1
    # The metadata contain no path of the machine.
    assert str(trained) not in json.dumps(metadata)


def test_the_score_of_unknown_inputs_is_certified_and_its_threshold_fitted(
    model: Path, run: Path, dataset: Dataset
) -> None:
    detector = unknown_inputs.load(model)
    network = unknown_inputs.with_features(checkpoint.load(model))
    for kind in ("float32", "int8"):
        result = export(model, kind, representative=8)
        classifier = Classifier(result.bundle)
        metadata, certificate = classifier.bundle.metadata, json.loads(result.certificate.read_text())
        known = certificate["known"]
        assert (metadata["known_threshold"], known["fitted_to"]) == (known["value"], "validation")
        validation, test = (
            np.stack([images.decode(dataset.folder / one.path, networks.SIZE) for one in dataset.split(split)])
            for split in ("validation", "test")
        )
        similarities = classifier.outputs(validation)[1]
        assert similarities is not None and known["value"] == pytest.approx(similarities.min(), abs=1e-6)
        assert known["accepted"]["validation"]["share"] == 1
        assert known["accepted"]["generated"]["count"] == 48
        assert certificate["detection"]["changed"] <= 1
        assert detector
        expected = detector.similarities(network(test.astype(np.float32))[1].numpy())
        difference = np.abs(classifier.outputs(test)[1] - expected).max()
        assert certificate["detection"]["largest_difference"] == pytest.approx(difference, abs=1e-6)
        # In 8 bits the few features of the small network differ by some percent.
        assert difference < (1e-5 if kind == "float32" else 0.2)
    text = (run / "MODEL_CARD.md").read_text()
    assert f"The `.tflite`: {unknown_inputs.described(known)}" in text
    assert f"| changed between known and unknown | {certificate['detection']['changed']} |" in text


def test_a_checkpoint_without_a_detector_is_converted_as_before(model: Path) -> None:
    checkpoint.save(checkpoint.load(model), model, checkpoint.metadata(model))
    result = export(model)
    assert serve.read(result.bundle).known_threshold is None
    assert json.loads(result.certificate.read_text())["known"] is None
    prediction = Classifier(result.bundle).predict(next(Path("data/shapes/test").rglob("*.jpg")))
    assert (prediction.known, prediction.similarity) == (None, None)


def test_only_built_in_operations(bundle: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(serve.read(bundle).flatbuffer, 0)
    codes = [(max(one.builtinCode, one.deprecatedBuiltinCode), one.customCode) for one in model.operatorCodes]
    assert all(code != schema.BuiltinOperator.CUSTOM and name is None for code, name in codes)


def test_converted_twice_it_is_the_same_file(anew: None, model: Path) -> None:
    first = export(model).bundle.read_bytes()
    assert export(model).bundle.read_bytes() == first


def test_a_model_that_predicts_differently_is_refused_and_nothing_is_written(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(model.parent)
    real = tflite_conversion.float32

    def changed(keras_model: networks.keras.Model) -> bytes:
        other = networks.keras.models.clone_model(keras_model)
        other.set_weights([values + 0.05 for values in keras_model.get_weights()])
        return real(other)

    monkeypatch.setattr(tflite_conversion, "float32", changed)
    with pytest.raises(
        ParityError, match=r"nothing was written: of 12 validation photos .*data/shapes/validation/.*--force"
    ):
        export(model)
    assert files_in(model.parent) == before


def test_an_accuracy_near_chance_is_reported_of_our_own_models_too(model: Path, run: Path) -> None:
    about = checkpoint.metadata(model)
    blind = checkpoint.load(model)
    blind.set_weights([values * 0 if values.ndim < 4 else values for values in blind.get_weights()])
    checkpoint.save(blind, model, about)
    result = export(model)
    (warning,) = result.warnings
    assert re.fullmatch(
        r"an accuracy of 0\.\d+ on 12 photos is near chance \(0\.\d+\); the model does not classify .*", warning
    )
    assert json.loads(result.certificate.read_text())["warnings"] == [warning]
    assert f"**Warning:** {warning}." in (run / "MODEL_CARD.md").read_text()


def test_a_refusal_leaves_an_older_bundle_alone(model: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = model.with_suffix(".tflite")
    shutil.copy(bundle, older)
    monkeypatch.setitem(LIMITS, "float32", -1.0)
    with pytest.raises(ParityError):
        export(model)
    assert older.read_bytes() == bundle.read_bytes()


def test_without_data_the_error_names_the_command(model: Path) -> None:
    shutil.rmtree("data")
    with pytest.raises(
        ManifestError, match=r"no prepared data at data/shapes: run `python -m headstand explore PHOTOS --name shapes`"
    ):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_data_that_has_changed_since_is_refused(model: Path, dataset: Dataset) -> None:
    first = dataset.photos[0]
    manifest.write(Dataset(dataset.folder, (dataclasses.replace(first, group=999), *dataset.photos[1:])))
    with pytest.raises(PhotoSampleError, match=r"data/shapes is not the data .* `python train.py shapes`"):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_a_test_photo_that_is_gone_is_named(model: Path, dataset: Dataset) -> None:
    path = dataset.folder / dataset.split("test")[3].path
    path.unlink()
    with pytest.raises(HeadstandError, match=re.escape(str(path))):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_a_test_photo_that_was_damaged_is_named(model: Path, dataset: Dataset) -> None:
    path = dataset.folder / dataset.split("test")[3].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(HeadstandError, match=re.escape(str(path))):
        export(model)
    assert not model.with_suffix(".tflite").exists()


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_what_is_no_checkpoint_is_refused(model: Path, content: bytes | None) -> None:
    path = model.with_name("other.h5")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.h5"):
        export(path)
    assert not path.with_suffix(".tflite").exists()


def test_a_bundle_is_no_checkpoint(bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint that Headstand wrote"):
        export(bundle)


def test_the_size_inside_must_be_the_models(model: Path) -> None:
    about = dataclasses.replace(checkpoint.metadata(model), size=48)
    checkpoint.save(checkpoint.load(model), model, about)
    with pytest.raises(HeadstandError, match="48"):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_photos_of_every_kind_are_compared_from_their_files(model: Path, dataset: Dataset) -> None:
    """The parity check decodes what the service decodes: a turned photo too."""
    path = dataset.folder / dataset.split("test")[0].path
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(path, format="JPEG", exif=exif)
    assert export(model).parity.largest_difference <= 1e-4


def test_the_certificate_lies_beside_the_bundle(model: Path) -> None:
    result = export(model, clock=clock)
    record = json.loads(result.certificate.read_text())
    inside = serve.read(result.bundle).metadata["certificate"]
    assert {key: record[key] for key in inside} == inside
    assert record["bundle"] == hashlib.sha256(result.bundle.read_bytes()).hexdigest()
    assert record["bytes"] == result.size
    assert record["milliseconds"] == {"1 thread": 1.0, "2 threads": 0.5}
    assert len(record["worst"]) == 5
    assert record["worst"][0]["difference"] == inside["largest_difference"]
    assert record["choice"]["photos"] == "validation"
    assert [row["format"] for row in record["choice"]["candidates"]] == ["float32"]
    assert "milliseconds" not in inside


def clock(flatbuffers: Sequence[bytes], threads: int) -> list[Latency]:
    """The first model is the slowest."""
    return [Latency((len(flatbuffers) - place) / threads, 1.0) for place in range(len(flatbuffers))]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format(model: Path, kind: str) -> None:
    result = export(model, kind, representative=7)
    read = serve.read(result.bundle)
    certificate = read.metadata["certificate"]
    assert (result.kind, certificate["format"], certificate["verdict"]) == (kind, kind, "passed")
    assert read.metadata["input"]["dtype"] == ("uint8" if kind == "int8" else "float32")
    types = {tensor.type for tensor in schema.ModelT.InitFromPackedBuf(read.flatbuffer, 0).subgraphs[0].tensors}
    assert (schema.TensorType.FLOAT16 in types) == (kind == "float16")
    # The stand-in's weights are too few for the converter to take 8 bits for them with activations as they come.
    assert (schema.TensorType.INT8 in types) == (kind == "int8")
    assert (schema.TensorType.UINT8 in types) == (kind == "int8")


def test_the_best_is_the_fastest_that_passes(model: Path) -> None:
    said: list[str] = []
    result = export(model, "best", log=said.append, clock=clock)
    # The clock has the last one fastest.
    assert result.kind == "int8"
    record = json.loads(result.certificate.read_text())
    assert record["choice"]["photos"] == "validation"
    assert [row["format"] for row in record["choice"]["candidates"]] == list(FORMATS)
    assert [row["milliseconds"] for row in record["choice"]["candidates"]] == [[4, 2], [3, 1.5], [2, 1], [1, 0.5]]
    assert (record["photos"], record["format"]) == ("test", "int8")
    assert any(line.startswith("format ") for line in said)


def test_the_best_is_never_one_that_fails(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstand.export.acceptance.AGREEMENT", 1.1)
    result = export(model, "best", clock=clock)
    assert result.kind == "float16"
    record = json.loads(result.certificate.read_text())
    missing = [row["missing"] for row in record["choice"]["candidates"]]
    assert [bool(each) for each in missing[:3]] == [False, False, True]
    assert all(missing[2:])


def test_a_format_that_fails_where_it_is_chosen_is_never_certified(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstand.export.acceptance.AGREEMENT", 1.1)
    with pytest.raises(ParityError, match=r"the int8 model predicts differently .* of 12 validation photos"):
        export(model, "int8")
    assert not model.with_suffix(".tflite").exists()
    assert not model.with_suffix(".parity.json").exists()


def test_forced_it_is_written_and_marked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTAND_ALLOW_FAILED", raising=False)
    monkeypatch.setitem(LIMITS, "float32", -1.0)
    result = export(model, force=True)
    assert result.unmet
    inside = serve.read(result.bundle).metadata["certificate"]
    assert inside["verdict"] == "FAILED"
    assert inside["missing"] == list(result.unmet)
    with pytest.raises(HeadstandError, match="failed its comparison"):
        Classifier(result.bundle)


@pytest.fixture
def refitted(run: Path, model: Path) -> Path:
    """A refitted checkpoint of the same run, whose metadata list the evaluation photos as training photos."""
    about = checkpoint.metadata(model)
    path = model.with_name("shapes_12_all.h5")
    other = networks.keras.models.clone_model(whole := checkpoint.load(model))
    other.set_weights([values * 1.01 for values in whole.get_weights()])
    checkpoint.save(other, path, dataclasses.replace(about, training_fingerprints=about.evaluation_fingerprints))
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "refitted": path.name}))
    return path


def test_a_refitted_model_is_certified_with_the_earlier_model_too(run: Path, model: Path, refitted: Path) -> None:
    result = export(refitted, "int8", representative=8)
    record = json.loads(result.certificate.read_text())
    assert record["checkpoint"] == hashlib.sha256(refitted.read_bytes()).hexdigest()
    assert record["seen_in_training"]
    assert record["before_refit"]["count"] == record["count"] == 12
    # The figures are those of the certificate of the model before the refit.
    alone = json.loads(export(model, "int8", representative=8).certificate.read_text())
    assert record["before_refit"] == {key: alone[key] for key in record["before_refit"]}
    assert record["before_refit"]["mean_difference"] != record["mean_difference"]
    assert alone["before_refit"] is None and not alone["seen_in_training"]
    assert record["choice"]["candidates"][0]["agreement"] == alone["choice"]["candidates"][0]["agreement"]


def test_the_card_of_a_refitted_model_has_both_comparisons(run: Path, refitted: Path) -> None:
    export(refitted)
    text = (run / "MODEL_CARD.md").read_text()
    assert "| these weights, which were trained on these photos | the weights before the refit |" in text


def test_a_refitted_model_fails_if_the_earlier_model_fails(refitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed, failed = AcceptanceCriteria("", ()), AcceptanceCriteria("", ("of the earlier model",))
    verdicts = iter([passed, failed, passed] * 2)  # chosen, earlier model, refitted model
    monkeypatch.setattr("headstand.export.candidates.check", lambda kind, parity: next(verdicts))
    with pytest.raises(ParityError, match="It fails because of the earlier model;"):
        export(refitted)
    assert not refitted.with_suffix(".tflite").exists()
    next(verdicts)
    result = export(refitted, force=True)
    assert result.unmet == ("of the earlier model",)
    assert serve.read(result.bundle).metadata["certificate"]["missing"] == ["before the refit: of the earlier model"]


def measured(threshold: float | None, photos: int = 60) -> ConversionTrials:
    labels = np.arange(photos) % 3
    choosing = PhotoSample("validation", tuple(Path(f"{place}.png") for place in range(photos)), labels)
    about = ModelMetadata("shapes", ("a", "b", "c"), networks.SIZE, "", "", threshold=threshold)
    model = TrainedModel(networks.classifier(), about, "0" * 64)
    return ConversionTrials(model, ParitySamples(choosing, choosing, choosing), 1, lambda text: None)


def test_the_threshold_is_fitted_to_the_outputs_of_the_served_file(small_networks: None) -> None:
    trials = measured(0.42)
    labels = trials.samples.choosing.labels
    assert labels is not None
    right = np.arange(60) < 57
    outputs = np.full((60, 3), 0.05)
    outputs[np.arange(60), np.where(right, labels, (labels + 1) % 3)] = 0.9
    served = exporting._confidence(trials, outputs, 0.8)
    assert served is not None
    # 57 of 60 right at one confidence: all are accepted, whatever the float model's threshold was.
    assert (served["value"], served["accepted"], served["photos"]) == (0.0, 60, 60)
    assert served["at_least"] == lower_bound(57, 60, 0.995)
    assert (served["target"], served["reached"], served["fitted_to"]) == (0.8, True, "validation")


def test_training_photos_give_no_guarantee(small_networks: None) -> None:
    trials, outputs = measured(0.42), np.full((60, 3), 1 / 3)
    trials.samples = dataclasses.replace(trials.samples, trained_on_choosing=True)
    kept = exporting._confidence(trials, outputs, 0.8)
    assert kept is not None
    assert (kept["value"], kept["at_least"], kept["reached"], kept["fitted_to"]) == (0.42, None, False, None)
    assert exporting._confidence(measured(None), outputs, 0.8) is None


def test_the_guarantee_is_in_metadata_certificate_and_card(
    run: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstand.evaluation.calibration.FEWEST", 6)
    result = export(model)
    metadata = serve.read(result.bundle).metadata
    confidence = metadata["certificate"]["confidence"]
    assert metadata["threshold"] == confidence["value"]
    assert (confidence["photos"], confidence["target"], confidence["fitted_to"]) == (12, 0.95, "validation")
    assert json.loads(result.certificate.read_text())["confidence"] == confidence
    text = " ".join((run / "MODEL_CARD.md").read_text().split())
    assert f"{calibration.described(confidence)} Fitted to the outputs of the `.tflite`." in text


def test_a_refitted_models_threshold_is_fitted_before_the_refit(run: Path, model: Path, refitted: Path) -> None:
    confidence = serve.read(export(refitted).bundle).metadata["certificate"]["confidence"]
    assert confidence == serve.read(export(model).bundle).metadata["certificate"]["confidence"]
    model.unlink()
    confidence = serve.read(export(refitted).bundle).metadata["certificate"]["confidence"]
    assert (confidence["at_least"], confidence["fitted_to"]) == (None, None)


@pytest.mark.parametrize(("splits", "fitted_to"), [(("test",), "validation"), (("validation",), None)])
def test_only_training_on_the_photos_of_the_choice_prevents_a_guarantee(
    model: Path, dataset: Dataset, splits: tuple[str, ...], fitted_to: str | None
) -> None:
    about = checkpoint.metadata(model)
    checkpoint.save(
        checkpoint.load(model),
        model,
        dataclasses.replace(about, training_fingerprints=leakage.after(Backbone(), dataset, splits)),
    )
    certificate = serve.read(export(model).bundle).metadata["certificate"]
    assert certificate["confidence"]["fitted_to"] == fitted_to
    assert certificate["seen_in_training"] == (splits == ("test",))


def test_each_checkpoint_is_loaded_once(refitted: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []
    real = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda path: loaded.append(path) or real(path))
    export(refitted, "best", clock=clock)
    assert loaded == [refitted, model]
