"""The checkpoint in the forms that the services load.

python -m benchmarks.services.conversion CHECKPOINT.h5 MODEL.onnx MODEL.tflite
"""

from pathlib import Path

import numpy as np

import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow
from headstand import files, images
from headstand.cli import command
from headstand.export import bundle_writer, tflite_conversion
from headstand.heads import checkpoint
from headstand.quiet import quiet


def main(argv: list[str]) -> None:
    """Converts the model: checkpoint, path of the ONNX file, path of the bundle."""
    source, onnx, tflite = map(Path, argv)
    about, model = checkpoint.metadata(source), checkpoint.load(source)
    model(np.zeros((1, about.size, about.size, 3), np.float32))  # Keras exports only what was called
    with quiet():
        model.export(onnx, format="onnx", verbose=False)  # through tf2onnx
    size = {"size": about.size, "dtype": "float32", "range": [0, 255], "decoder": images.DECODER}
    record = {"name": about.name, "input": size, "temperature": about.temperature, "threshold": about.threshold}
    files.write(tflite, bundle_writer.pack(tflite_conversion.float32(model), about.labels, record))


if __name__ == "__main__":
    command.run(main)
