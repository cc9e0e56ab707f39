"""Size, speed and accuracy of a model in each TFLite format and in other runtimes.

    python -m benchmarks.formats [CHECKPOINT ...] [--xception] [--data data] [--rounds 100] [--calibration 128]

For each checkpoint (default: the shipped ones) it compares LiteRT in float32, float16, dynamic range and int8, ONNX
Runtime in float32 and int8, and Keras, as a `tf.function` and with `predict`. The
photos are those of the checkpoint's prepared data. int8 is calibrated on the train split. Accuracy and agreement are
measured on the whole validation split. Latency is measured on its photos one at a time, with the models in turn in a
random order each round, as the median over the rounds, with one and with two threads, each in a separate process.
Throughput is measured with batches of 16 on two threads. `--xception` adds Xception at 150 pixels with random weights
and six classes, whose accuracy is meaningless and not measured.

Needs the packages of the Pipfile category `benchmarks`.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly
from headstand import features, heads, images
from headstand.errors import HeadstandError
from headstand.evaluation.predictions import class_indices
from headstand.export import quantize, tflite_conversion
from headstand.export.photo_samples import PhotoSample
from headstand.features import backbones
from headstand.heads import checkpoint
from headstand.preparation import manifest
from headstand.quiet import quiet
from headstand.recipe import Backbone, Head

import keras  # isort: skip - after headstand.tensorflow_setup
import tensorflow as tf  # isort: skip
from ai_edge_litert.interpreter import Interpreter  # isort: skip

try:
    with quiet():
        import onnxruntime
        import tf2onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
except ImportError as error:
    raise SystemExit(f'error: {error}; `pipenv sync --categories "packages benchmarks"` installs it') from error

BATCH = 16
Call = Callable[[np.ndarray], np.ndarray]
"""Function from `uint8 [N, size, size, 3]` to probabilities `[N, classes]`."""


@dataclass(frozen=True)
class Contestant:
    """Model file in one format, with the runtime that loads it."""

    runtime: str
    format: str
    path: Path

    @property
    def precision(self) -> str:
        return "int8" if self.format.startswith("int8") else self.format

    @property
    def name(self) -> str:
        return f"{self.runtime} {self.format}"

    def load(self, threads: int) -> Call:
        return {"LiteRT": litert, "ONNX Runtime": onnx, "tf.function": function, "Keras predict": predict}[
            self.runtime
        ](self.path, threads)


def litert(path: Path, threads: int) -> Call:
    with quiet():
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def call(pixels: np.ndarray) -> np.ndarray:
        if len(pixels) != interpreter.get_input_details()[0]["shape"][0]:
            interpreter.resize_tensor_input(taken["index"], pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], pixels.astype(taken["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return call


def onnx(path: Path, threads: int) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels.astype(np.float32)})[0]


def function(path: Path, threads: int) -> Call:
    call = features.compiled(checkpoint.load(path))
    return lambda pixels: call(tf.constant(pixels)).numpy()


def predict(path: Path, threads: int) -> Call:
    model = checkpoint.load(path)
    return lambda pixels: model.predict(pixels.astype(np.float32), batch_size=BATCH, verbose=0)


def contestants(path: Path, calibration: np.ndarray, folder: Path) -> Iterator[Contestant]:
    """Writes a checkpoint in every format to files in `folder`, and yields them."""
    model = checkpoint.load(path)
    flatbuffers = {
        one.__name__: one(model)
        for one in (tflite_conversion.float32, tflite_conversion.float16, tflite_conversion.dynamic)
    }
    flatbuffers["int8"] = quantize.int8(model, calibration)
    for format_, flatbuffer in flatbuffers.items():
        target = folder / f"{format_}.tflite"
        target.write_bytes(flatbuffer)
        yield Contestant("LiteRT", format_, target)
    exact, prepared, integers = (folder / f"{name}.onnx" for name in ("float32", "prepared", "int8"))
    signature = [tf.TensorSpec([None, *model.input.shape[1:]], tf.float32, name="pixels")]
    with quiet():
        tf2onnx.convert.from_function(
            tf.function(lambda pixels: model(pixels, training=False), input_signature=signature),
            signature, opset=18, output_path=str(exact),
        )  # fmt: skip
        quant_pre_process(str(exact), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared), str(integers), Reader(calibration), per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
    yield Contestant("ONNX Runtime", "float32", exact)
    yield Contestant("ONNX Runtime", "int8", integers)
    yield Contestant("tf.function", "float32", path)
    yield Contestant("Keras predict", "float32", path)


class Reader(quantization.CalibrationDataReader):
    """Calibration data for ONNX Runtime's static quantization, one photo at a time."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._rows = iter(pixels)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        return None if row is None else {"pixels": row[np.newaxis].astype(np.float32)}


def measure(entries: list[Contestant], pixels: np.ndarray, threads: int, rounds: int) -> dict[str, Any]:
    """Measures all models with a number of threads; runs in a separate process.

    Returns:
        `milliseconds` per model; with more than one thread also `answers`, the probabilities, and `throughput` in
        photos per second.
    """
    calls = {entry.name: entry.load(threads) for entry in entries}
    order = np.random.default_rng(0)
    result = {"milliseconds": in_turn(calls, lambda number: pixels[[number % len(pixels)]], rounds, order)}
    if threads > 1:
        result["answers"] = {
            name: np.concatenate([call(row[np.newaxis]) for row in pixels]) for name, call in calls.items()
        }
        batches = [pixels[start : start + BATCH] for start in range(0, len(pixels) - BATCH + 1, BATCH)]
        seconds = in_turn(calls, lambda number: batches[number % len(batches)], max(rounds // 4, 50), order)
        result["throughput"] = {name: 1000 * BATCH / value for name, value in seconds.items()}
    return result


def in_turn(
    calls: dict[str, Call], take: Callable[[int], np.ndarray], rounds: int, order: np.random.Generator
) -> dict[str, float]:
    """Returns the median milliseconds of each call; the calls run in random order in each round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-3, rounds):  # negative rounds are warm-up
        for name in order.permutation(list(calls)):
            batch = take(number)
            start = time.perf_counter()
            calls[name](batch)
            if number >= 0:
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in taken.items()}


def compare(path: Path, data: Path, name: str, labelled: bool, options: argparse.Namespace) -> None:
    """Measures one checkpoint in all formats and prints the table."""
    dataset = manifest.read(data)
    size = checkpoint.load(path).input.shape[1]
    photos = _sample(dataset, "validation")
    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(lambda file: images.decode(file, size), photos.paths)))
    with tempfile.TemporaryDirectory() as folder:
        calibration = quantize.calibration(_sample(dataset, "train"), size, options.calibration)
        entries = list(contestants(path, calibration, Path(folder)))
        found = {}
        for threads in (1, 2):
            # TensorFlow reads its thread counts at import, so the environment is set before the process starts.
            os.environ |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
            with multiprocessing.get_context("spawn").Pool(1) as process:
                found[threads] = process.apply(measure, (entries, pixels, threads, options.rounds))
        sizes = {entry.name: entry.path.stat().st_size for entry in entries}
    base, exact = "LiteRT float32", found[2]["answers"]["tf.function float32"]
    print(f"\n{name}: {len(pixels)} validation photos, {options.rounds} rounds\n")
    print(
        "| | MB | smaller | ms, 1 thread | ms, 2 threads | faster, 1 / 2 | photos/s | accuracy | agreement | max diff |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for entry in entries:
        one, two = (found[threads]["milliseconds"][entry.name] for threads in (1, 2))
        faster = [found[threads]["milliseconds"][base] / value for threads, value in ((1, one), (2, two))]
        answers = found[2]["answers"][entry.name]
        accuracy = f"{(answers.argmax(1) == photos.labels).mean():.2%}" if labelled else "not measured"
        agreement = (answers.argmax(1) == exact.argmax(1)).mean()
        size_, rate = sizes[entry.name], found[2]["throughput"][entry.name]
        print(
            f"| {entry.name} | {size_ / 1e6:.2f} | {sizes[base] / size_:.2f} | {one:.2f} | {two:.2f} "
            f"| {faster[0]:.2f} / {faster[1]:.2f} | {rate:.0f} | {accuracy} | {agreement:.2%} "
            f"| {np.abs(answers - exact).max():.2g} |"
        )
    print()
    for precision in ("float32", "int8"):
        for threads in (1, 2):
            times = {
                entry: found[threads]["milliseconds"][entry.name] for entry in entries if entry.precision == precision
            }
            ours = min(value for entry, value in times.items() if entry.runtime == "LiteRT")
            fastest = min((entry for entry in times if entry.runtime != "LiteRT"), key=lambda entry: times[entry])
            print(
                f"{precision}, {threads} thread(s): LiteRT takes {ours / times[fastest]:.2f} of {fastest.name}'s time"
            )


def _sample(dataset: manifest.Dataset, split: str) -> PhotoSample:
    photos = dataset.split(split)
    return PhotoSample(split, tuple(dataset.folder / photo.path for photo in photos), class_indices(dataset, photos))


def xception(folder: Path) -> Path:
    """Returns a checkpoint of Xception at 150 pixels with random weights."""
    extractor = backbones.extractor(Backbone(name="Xception", size=150, weights="none"))
    model = heads.assemble(extractor, heads.build(Head(inner=(100,)), extractor.output.shape[-1], 6, 0), "xception")
    path = folder / "xception.h5"
    with quiet():
        model.save(path, include_optimizer=False)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = [Path("models/yoga6/yoga6.h5"), Path("models/yoga66/yoga66.h5")]
    parser.add_argument("checkpoints", type=Path, nargs="*", default=shipped)
    parser.add_argument("--xception", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the prepared datasets")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calibration", type=int, default=128)
    options = parser.parse_args()
    versions = f"LiteRT, ONNX Runtime {onnxruntime.__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; {versions}")
    try:
        abouts = [checkpoint.metadata(path) for path in options.checkpoints]
        for path, about in zip(options.checkpoints, abouts, strict=True):
            compare(path, options.data / about.name, f"{about.backbone} {about.size}, {about.name}", True, options)
        if options.xception:
            with tempfile.TemporaryDirectory() as folder:
                compare(xception(Path(folder)), options.data / abouts[0].name, "Xception 150, random", False, options)
    except HeadstandError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
