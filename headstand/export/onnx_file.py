"""Converts a Keras model to an ONNX file, and runs it with ONNX Runtime.

The packages are optional: the services need neither, and `convert_to_tflite.py` only for `--format onnx`.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headstand.export.tflite_conversion import ConversionError
from headstand.quiet import quiet

INPUT, OUTPUT = "pixels", "probabilities"
"""Names of the model's input and output; the input of a model for heatmaps has this name too."""


def float32(model: keras.Model) -> bytes:
    """Converts without loss of precision, through tf2onnx.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` to probabilities.

    Returns:
        An ONNX model for any batch size, with the input `INPUT` and the output `OUTPUT`.

    Raises:
        ConversionError: the packages are not installed, or the model has an operation that ONNX does not have.
    """
    onnx, _ = _packages()
    shape = model.input_shape[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            with quiet():
                model(np.zeros((1, *shape), np.float32))  # Keras exports only what was called
                signature = [tf.TensorSpec((None, *shape), tf.float32, name=INPUT)]
                model.export(path, format="onnx", verbose=False, input_signature=signature)
            # tf2onnx leaves operations that it does not know in the file.
            onnx.checker.check_model(path)
        except Exception as error:  # tf2onnx and onnx raise many types
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ConversionError(f"the model cannot be converted to ONNX: {reason}") from error
        converted = onnx.load(path)
    graph = converted.graph
    renamed = {graph.output[0].name: OUTPUT}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    graph.output[0].name = OUTPUT
    for tensor in (graph.input[0], graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    return bytes(converted.SerializeToString())


def pack(model: bytes, labels: tuple[str, ...], metadata: dict[str, Any]) -> bytes:
    """Returns an ONNX model with metadata: `labels`, one per line in output order, and `headstand`, JSON.

    Args:
        model: the result of `float32`.
        labels: class names in output order.
        metadata: as of a bundle, see `headstand.serve.bundle.Bundle`.
    """
    onnx, _ = _packages()
    described = onnx.load_from_string(model)
    properties = {"labels": "\n".join(labels), "headstand": json.dumps(metadata, sort_keys=True)}
    onnx.helper.set_model_props(described, properties)
    return bytes(described.SerializeToString())


def runner(model: bytes, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from decoded images `[N, size, size, 3]` to probabilities `float32 [N, classes]`.

    Args:
        model: an ONNX model.
        threads: threads per run.

    Raises:
        ConversionError: ONNX Runtime is not installed, or cannot run the model.
    """
    _, runtime = _packages()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ConversionError(f"ONNX Runtime cannot run the converted model: {error}") from error

    def run(decoded: np.ndarray) -> np.ndarray:
        outputs: list[np.ndarray] = session.run([OUTPUT], {INPUT: decoded.astype(np.float32)})
        return outputs[0]

    return run


def repeated(model: bytes, threads: int) -> Callable[[], object]:
    """Returns a function that runs an ONNX model on the same random pixels each time, for measurements."""
    onnx, _ = _packages()
    shape = [dim.dim_value for dim in onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim[1:]]
    pixels = np.random.default_rng(0).integers(0, 256, (1, *shape)).astype(np.float32)
    run = runner(model, threads)
    return lambda: run(pixels)


def _packages() -> tuple[Any, Any]:
    """Returns the modules onnx and onnxruntime, if tf2onnx is installed, too."""
    try:
        import onnx
        import onnxruntime
        import tf2onnx  # noqa: F401 - Keras imports it
    except ImportError as error:
        raise ConversionError(
            f"--format onnx needs a package that is not installed ({error.name}): install tf2onnx and onnxruntime, "
            'with `pipenv sync --categories "packages onnx"` or pip'
        ) from None
    return onnx, onnxruntime
