"""Classifier that runs a bundle with LiteRT, without TensorFlow: photos or heatmaps to class probabilities."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from headstand import HOME, images
from headstand.quiet import without_information
from headstand.serve import bundle as bundles
from headstand.serve.bundle import ALLOW_FAILED, BundleError

KEPT: bundles.Bundle | None = None
"""The bundle that `keep` has read; None before."""

SHIPPED = HOME / "models" / "yoga6" / "yoga6.tflite"
"""The bundle that comes with Headstand, served unless `HEADSTAND_MODEL` names another."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        probabilities: probability by label, highest first, ties in label order.
        confident: whether the highest probability reaches the bundle's threshold.
        known: whether the image is similar enough to the training photos; None if the model does not compute it.
        similarity: the largest cosine similarity to a prototype of the training photos; None if it is not computed.
    """

    probabilities: dict[str, float]
    confident: bool
    known: bool | None = None
    similarity: float | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))

    def _repr_html_(self) -> str:
        from html import escape  # only notebooks need it

        rows = "".join(f"<tr><td>{escape(label)}<td>{value:.3f}" for label, value in self.probabilities.items())
        notes = ["not confident"] * (not self.confident) + ["unlike the training photos"] * (self.known is False)
        return f"<table>{rows}</table>{', '.join(notes)}"

    def leading(self, top: int | None) -> dict[str, float]:
        """Returns the `top` highest probabilities by label, or all if `top` is None."""
        return dict(islice(self.probabilities.items(), top))


class Classifier:
    """Thread-safe classifier with a pool of LiteRT interpreters for one bundle.

    Any number of threads may share it: they decode in parallel, and wait for a free interpreter to run the model.

    Args:
        path: the bundle's file, or a bundle that has been read already.
        interpreters: size of the pool; each interpreter holds its own copy of the weights, packed for this processor.
        threads: cores that one interpreter uses. With more than one, the process must not fork afterwards, because a
            fork does not copy threads.
        mapped: map the model's file, which nobody may write to, instead of copying it; see `bundle.read`.

    Raises:
        BundleError: the file is not a bundle, is damaged, or its model does not fit its labels or its input size; or
            its certificate has the verdict FAILED and `HEADSTAND_ALLOW_FAILED` is not 1.
    """

    def __init__(
        self, path: str | Path | bundles.Bundle, *, interpreters: int = 1, threads: int = 1, mapped: bool = False
    ) -> None:
        self.bundle = path if isinstance(path, bundles.Bundle) else bundles.read(path, mapped=mapped)
        path = self.bundle.path
        if self.bundle.failed and os.environ.get(ALLOW_FAILED) != "1":
            raise BundleError(
                f"{path} failed its comparison with the trained model and was written with --force; convert it again "
                f"with `python convert_to_tflite.py`, or set {ALLOW_FAILED}=1 to serve it nevertheless"
            )
        try:
            with without_information():
                self._pool = [self._interpreter(threads) for _ in range(interpreters)]
        except (ValueError, RuntimeError) as error:  # LiteRT raises these for a broken flatbuffer or unknown operations
            reason = str(error).splitlines()[0] if str(error) else "no reason given"
            raise BundleError(f"the model in {path} cannot be run: {reason}") from error
        self._input = self._pool[0].get_input_details()[0]
        self._outputs = self._pool[0].get_output_details()
        self._free = threading.Semaphore(interpreters)

    def _interpreter(self, threads: int) -> Interpreter:
        model = self.bundle.flatbuffer
        # LiteRT takes bytes, or the path of a file that it maps itself.
        given = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(self.bundle.path)}
        interpreter = Interpreter(**given, num_threads=threads)
        self._check(interpreter.get_input_details(), interpreter.get_output_details())
        interpreter.allocate_tensors()
        return interpreter

    def _check(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        input_kind, classes = self.bundle.input, len(self.bundle.labels)
        photos = input_kind.dtype == np.uint8
        if self.bundle.known_threshold is not None:
            found = [(tensor["shape"].tolist(), tensor["dtype"].__name__) for tensor in outputs[1:]]
            if found != [([1, 1], "float32")]:
                raise BundleError(
                    f"{self.bundle.path}: its metadata has a threshold for unknown inputs, which requires a second "
                    f"output float32 [1, 1]; the model has {found or 'none'}"
                )
            outputs = outputs[:1]
        for kind, tensors, shape in (("input", inputs, [1, *input_kind.shape]), ("output", outputs, [1, classes])):
            found = [(tensor["shape"].tolist(), tensor["dtype"].__name__) for tensor in tensors]
            allowed = ("float32", "uint8") if photos or kind == "output" else ("float32",)
            if found not in [[(shape, dtype)] for dtype in allowed]:
                description = ", ".join(f"{dtype} {shape}" for shape, dtype in found) or "none"
                reason = "its labels" if kind == "output" else "its metadata"
                raise BundleError(
                    f"{self.bundle.path}: {reason} require one {kind} of {' or '.join(allowed)} {shape}; the model has "
                    f"{description}"
                )
        if outputs[0]["dtype"] == np.uint8 and not outputs[0]["quantization"][0]:
            raise BundleError(
                f"{self.bundle.path}: the model's uint8 output has no scale, so it cannot be converted to probabilities"
            )

    def predict(self, image: bytes | Path) -> Prediction:
        """Decodes and classifies one encoded image, or one person's heatmaps if the model takes heatmaps.

        Args:
            image: the encoded bytes, or the path of a file.

        Raises:
            ImageError: the input cannot be decoded, as `headstand.inputs.InputKind.decode`.
        """
        return self.classify(self.bundle.input.decode(image))

    def classify(self, decoded: np.ndarray) -> Prediction:
        """Classifies one decoded image.

        Args:
            decoded: as returned by `bundle.input.decode`: `uint8 [size, size, 3]`, or heatmaps `float32 [17, 64, 48]`.

        Raises:
            ValueError, BundleError: as `probabilities`.
        """
        values, similarities = self.outputs(decoded[np.newaxis])
        order = np.argsort(-values[0], kind="stable")
        ranked = {self.bundle.labels[index]: float(values[0, index]) for index in order}
        confident = bool(values[0, order[0]] >= self.bundle.threshold)
        known = self.bundle.known_threshold
        if similarities is None or known is None:
            return Prediction(ranked, confident)
        return Prediction(ranked, confident, bool(similarities[0] >= known), float(similarities[0]))

    def probabilities(self, decoded: np.ndarray) -> np.ndarray:
        """Returns the class probabilities of decoded images, the first of `outputs`."""
        return self.outputs(decoded)[0]

    def outputs(self, decoded: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Runs the model on decoded images, one at a time.

        Args:
            decoded: `uint8 [N, size, size, 3]`, RGB; heatmaps `float32 [N, 17, 64, 48]`.

        Returns:
            The class probabilities, `float32 [N, classes]`, in label order; and the similarities to the training
            photos, `float32 [N]`, or None if the model does not compute them.

        Raises:
            ValueError: `decoded` has another shape or dtype.
            BundleError: a value of an output of the model is not finite.
        """
        input_kind = self.bundle.input
        if decoded.dtype != input_kind.dtype or decoded.shape[1:] != input_kind.shape:
            expected = f"{np.dtype(input_kind.dtype)} [N, {', '.join(map(str, input_kind.shape))}]"
            raise ValueError(f"{input_kind.kind} must be {expected}, not {decoded.dtype} {list(decoded.shape)}")
        classes, scored = len(self.bundle.labels), self.bundle.known_threshold is not None
        result = np.empty((len(decoded), classes + scored), np.float32)
        for index, image in enumerate(decoded):
            values = _quantized(image[np.newaxis], self._input)
            result[index] = np.concatenate(self._run(values), axis=1)[0]
        if not np.isfinite(result).all():
            raise BundleError(f"{self.bundle.path} returns probabilities that are not finite")
        return result[:, :classes], result[:, classes] if scored else None

    def warm(self, formats: Sequence[str] = images.FORMATS) -> None:
        """Runs every interpreter and the decoders of these formats once, because the first use is slow.

        Raises:
            BundleError: as `probabilities`.
        """
        input_kind = self.bundle.input
        *_, decoded = map(input_kind.decode, input_kind.examples(formats))
        for _ in self._pool:
            self.probabilities(decoded[np.newaxis])
            # `_run` takes the last interpreter of the list: rotate, so that each one runs.
            self._pool.append(self._pool.pop(0))

    def _run(self, values: np.ndarray) -> list[np.ndarray]:
        with self._free:
            interpreter = self._pool.pop()  # the last one used, whose memory is still in the processor's caches
            try:
                interpreter.set_tensor(self._input["index"], values)
                interpreter.invoke()
                return [_dequantized(interpreter.get_tensor(output["index"]), output) for output in self._outputs]
            finally:
                self._pool.append(interpreter)


def keep(*, again: bool = False) -> None:
    """Reads and checks the bundle to serve and stores it in `KEPT`, for processes that are forked later.

    The file may change or be damaged before they start.

    Args:
        again: replace the kept bundle, after the new one has been run.

    Raises:
        BundleError: as `default_model` and `Classifier`; the kept bundle stays.
    """
    global KEPT
    if again:
        fresh = Classifier(default_model())
        fresh.warm()
        KEPT = fresh.bundle
    KEPT = KEPT or bundles.read(default_model())


def default_model() -> Path:
    """Returns the path of the bundle to serve: `HEADSTAND_MODEL`, or else the bundle in the repository.

    `HEADSTAND_MODEL` is a file, or a folder that contains exactly one `.tflite`.

    Raises:
        BundleError: there is no bundle; the message names the commands that create one.
    """
    named = os.environ.get("HEADSTAND_MODEL")
    path = Path(named).expanduser() if named else SHIPPED
    if path.is_dir():
        files = sorted(path.glob("*.tflite"))
        if len(files) != 1:
            raise BundleError(
                f"the model folder {path} (HEADSTAND_MODEL) must contain one .tflite file, not {len(files)}"
            )
        return files[0]
    if not path.is_file():
        origin = " (HEADSTAND_MODEL)" if named else ""
        raise BundleError(
            f"there is no model {path}{origin}: train one with `python -m headstand train PHOTOS`, "
            "or set HEADSTAND_MODEL to the file to serve"
        )
    return path


def _quantized(pixels: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Returns pixels or heatmaps in the dtype of the model's input tensor.

    A uint8 input with a scale is quantized: `q = x / scale + zero point`.
    """
    scale, zero = tensor["quantization"]
    if tensor["dtype"] == np.float32:
        return pixels.astype(np.float32)
    if not scale or (scale == 1 and zero == 0):
        return pixels
    return np.clip(np.round(pixels / scale + zero), 0, 255).astype(np.uint8)


def _dequantized(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    if values.dtype == np.float32:
        return values
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
