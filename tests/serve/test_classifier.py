import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.images import ImageError
from headstand.serve import classifier as module
from headstand.serve.bundle import BundleError
from headstand.serve.classifier import Classifier, default_model
from tests import tiny


def pixels(*colors: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((tiny.SIZE, tiny.SIZE, 3), color, np.uint8) for color in colors])


def test_a_prediction_has_the_models_probabilities_highest_first(classifier: Classifier) -> None:
    answer = classifier.predict(tiny.photo((200, 100, 0)))
    assert list(answer.probabilities) == ["red", "green", "blue"]
    assert answer.probabilities == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
    assert all(type(value) is float for value in answer.probabilities.values())


def test_equal_probabilities_stay_in_label_order(classifier: Classifier) -> None:
    assert list(classifier.predict(tiny.photo((90, 90, 90))).probabilities) == ["blue", "green", "red"]
    assert list(classifier.predict(tiny.photo((0, 90, 0))).probabilities) == ["green", "blue", "red"]


def test_confident_is_decided_by_the_threshold_of_the_bundle(tmp_path: Path) -> None:
    top = tiny.expected((200, 100, 0))["red"]
    for threshold, confident in ((top - 1e-4, True), (top + 1e-4, False), (None, True)):
        classifier = Classifier(tiny.bundle(tmp_path / "a.tflite", threshold=threshold))
        assert classifier.predict(tiny.photo((200, 100, 0))).confident is confident


def test_a_failed_bundle_is_served_only_if_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTAND_ALLOW_FAILED", raising=False)
    path = tiny.bundle(tmp_path / "a.tflite", certificate={"verdict": "FAILED"})
    with pytest.raises(BundleError, match=r"failed its comparison .* HEADSTAND_ALLOW_FAILED=1 to serve it"):
        Classifier(path)
    monkeypatch.setenv("HEADSTAND_ALLOW_FAILED", "1")
    assert next(iter(Classifier(path).predict(tiny.photo()).probabilities)) == "red"


def test_probabilities_are_in_the_order_of_the_images(classifier: Classifier) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (10, 20, 250)]
    values = classifier.probabilities(pixels(*colors))
    assert values.dtype == np.float32 and values.shape == (3, 3)
    for row, color in zip(values, colors, strict=True):
        assert dict(zip(tiny.LABELS, row.tolist(), strict=True)) == pytest.approx(tiny.expected(color), abs=1e-6)


def test_no_images_return_no_rows(classifier: Classifier) -> None:
    assert classifier.probabilities(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize("unexpected", [np.zeros((1, 31, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)])
def test_pixels_of_another_shape_or_dtype_are_refused(classifier: Classifier, unexpected: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[N, 32, 32, 3\]"):
        classifier.probabilities(unexpected)


def test_inputs_and_outputs_of_a_quantized_model_are_scaled(tmp_path: Path) -> None:
    classifier = Classifier(tiny.bundle(tmp_path / "a.tflite", model=tiny.flatbuffer(quantized=True)))
    answer = classifier.predict(tiny.photo((200, 100, 0)))
    assert list(answer.probabilities) == ["red", "green", "blue"]
    assert answer.probabilities == pytest.approx(tiny.expected((200, 100, 0)), abs=1 / 256)
    assert answer.probabilities["red"] == 222 / 256


def test_data_that_is_not_an_image_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ImageError) as excinfo:
        classifier.predict(b"nothing of the kind")
    assert excinfo.value.code == "not_an_image"


def test_threads_share_one_classifier(classifier: Classifier) -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (200, 100, 0)]
    unexpected: list[object] = []

    def work(color: tuple[int, int, int]) -> None:
        for _ in range(100):
            found = dict(zip(tiny.LABELS, classifier.probabilities(pixels(color))[0].tolist(), strict=True))
            if found != pytest.approx(tiny.expected(color), abs=1e-5):
                unexpected.append((color, found))

    threads = [threading.Thread(target=work, args=(color,)) for color in colors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("a", "b")}, r"its labels require .* \[1, 2\]; the model has float32 \[1, 3\]"),
        ({"model": tiny.flatbuffer(labels=4)}, r"its labels require .* \[1, 3\]; the model has float32 \[1, 4\]"),
        ({"model": tiny.flatbuffer(size=16)}, r"its metadata require .* \[1, 32, 32, 3\]; .* float32 \[1, 16, 16, 3\]"),
    ],
)
def test_a_model_that_does_not_fit_its_metadata_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Classifier(tiny.bundle(tmp_path / "a.tflite", **options))


@pytest.mark.parametrize("kept", [8, 9, 100, 300, 600])
def test_a_broken_flatbuffer_with_right_labels_is_refused(tmp_path: Path, kept: int) -> None:
    broken = tiny.flatbuffer()[:kept] + b"\xff" * 40
    bundle = tiny.bundle(tmp_path / "a.tflite", model=broken)
    for mapped in (False, True):
        with pytest.raises(BundleError, match="cannot be run"):
            Classifier(bundle, mapped=mapped)


def test_probabilities_that_are_not_finite_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "GAIN", float("nan"))
    classifier = Classifier(tiny.bundle(tmp_path / "a.tflite", model=tiny.flatbuffer()))
    with pytest.raises(BundleError, match="not finite"):
        classifier.predict(tiny.photo())


def test_the_default_model_is_the_file_in_the_environment(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(model))
    assert default_model() == model


def test_the_default_model_may_be_the_only_one_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(tmp_path))
    with pytest.raises(BundleError, match=r"must contain one \.tflite file, not 0"):
        default_model()
    (tmp_path / "a.tflite").touch()
    assert default_model() == tmp_path / "a.tflite"
    (tmp_path / "b.tflite").touch()
    with pytest.raises(BundleError, match=r"must contain one \.tflite file, not 2"):
        default_model()


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_model_is_the_shipped_one(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HEADSTAND_MODEL", raising=False)
    if value is not None:
        monkeypatch.setenv("HEADSTAND_MODEL", value)
    assert Path(__file__).parents[2] / "models/yoga6/yoga6.tflite" == module.SHIPPED
    monkeypatch.setattr(module, "SHIPPED", tiny.bundle(tmp_path / "shipped.tflite"))
    monkeypatch.chdir(tmp_path)  # wherever the service is started from
    assert default_model() == tmp_path / "shipped.tflite"


def test_the_error_for_a_missing_model_names_the_commands_that_create_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(tmp_path / "none.tflite"))
    with pytest.raises(BundleError) as excinfo:
        default_model()
    for part in ("none.tflite (HEADSTAND_MODEL)", "python -m headstand train PHOTOS"):
        assert part in str(excinfo.value)


def test_several_interpreters_run_in_parallel_with_equal_results(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(model, interpreters=3, threads=1)
    used: list[int] = []
    entered = threading.Barrier(3)  # only passed if three are inside at once
    real = classifier._pool[0].__class__.invoke

    def invoke(interpreter: object) -> None:
        used.append(id(interpreter))
        entered.wait(60)
        real(interpreter)

    monkeypatch.setattr(classifier._pool[0].__class__, "invoke", invoke)
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    answers: list[str] = [""] * 3

    def work(index: int) -> None:
        answers[index] = next(iter(classifier.classify(pixels(colors[index])[0]).probabilities))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["red", "green", "blue"] and len(set(used)) == 3


def test_warming_runs_every_interpreter_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(model, interpreters=3)
    used: list[int] = []
    kind = classifier._pool[0].__class__
    invoke = kind.invoke

    def recorded(interpreter: Any) -> None:
        used.append(id(interpreter))
        invoke(interpreter)  # otherwise the output would be uninitialised memory

    monkeypatch.setattr(kind, "invoke", recorded)
    classifier.warm()
    assert len(used) == len(set(used)) == 3


def test_a_mapped_model_returns_the_same_probabilities(model: Path, classifier: Classifier) -> None:
    photo = tiny.photo((200, 100, 0))
    assert Classifier(model, mapped=True).predict(photo) == classifier.predict(photo)


def test_leading_returns_the_highest_probabilities(classifier: Classifier) -> None:
    answer = classifier.predict(tiny.photo((200, 100, 0)))
    assert list(answer.leading(2)) == ["red", "green"] and answer.leading(None) == answer.probabilities
    assert answer.leading(99) == answer.probabilities


def test_a_second_output_detects_unknown_inputs(tmp_path: Path) -> None:
    classifier = Classifier(tiny.known_bundle(tmp_path / "a.tflite", threshold=0.5))
    bright, dark = classifier.classify(pixels((200, 200, 200))[0]), classifier.classify(pixels((20, 30, 40))[0])
    assert (bright.known, bright.similarity) == (True, pytest.approx(600 / 765, abs=1e-6))
    assert (dark.known, dark.similarity) == (False, pytest.approx(90 / 765, abs=1e-6))
    without = Classifier(tiny.bundle(tmp_path / "b.tflite"))
    assert without.classify(pixels((20, 30, 40))[0]) == dataclasses.replace(dark, known=None, similarity=None)
    np.testing.assert_array_equal(classifier.probabilities(pixels((9, 8, 7))), without.probabilities(pixels((9, 8, 7))))


@pytest.mark.parametrize(
    ("similarity", "metadata", "reason"),
    [
        (False, {"known_threshold": 0.5}, r"requires a second output float32 \[1, 1\]; the model has none"),
        (True, {}, r"one output of float32 or uint8 \[1, 3\]; the model has float32 \[1, 3\], float32 \[1, 1\]"),
        (True, {"known_threshold": 1.5}, "a threshold that is out of range"),
        (True, {"known_threshold": "high"}, "no labels and metadata, or damaged ones"),
    ],
)
def test_outputs_and_metadata_must_agree(
    tmp_path: Path, similarity: bool, metadata: dict[str, Any], reason: str
) -> None:
    path = tiny.bundle(tmp_path / "a.tflite", model=tiny.flatbuffer(similarity=similarity), **metadata)
    with pytest.raises(BundleError, match=reason):
        Classifier(path)
