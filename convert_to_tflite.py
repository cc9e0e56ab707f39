"""Convert a trained model to the one file that is served.

    python convert_to_tflite.py                                   the newest run's best checkpoint
    python convert_to_tflite.py runs/yoga6/TIME/yoga6_08_0.862.h5      or its run's folder, runs/yoga6/TIME
    python convert_to_tflite.py --format best                     the fastest format that gives the same predictions
    python convert_to_tflite.py --format onnx                     NAME.onnx for other programs, checked in the same way
    python convert_to_tflite.py any.keras --labels labels.txt --preprocess caffe    a model not trained by Headstand

The .tflite with its labels inside, the certificate NAME.parity.json and labels.txt are written beside the checkpoint.
Nothing is written if the converted model predicts differently from the trained model on the test photos.
"""

from headstand.cli import app, command
from headstand.cli.options import invoke


def main(argv: list[str]) -> None:
    """Converts the model that the command line names."""
    invoke(app.convert, "python convert_to_tflite.py", argv)


if __name__ == "__main__":
    command.run(main)
