"""Convert a trained model to the one file that is served.

    python convert_to_tflite.py                                   the newest run's best checkpoint
    python convert_to_tflite.py runs/yoga6/TIME/yoga6_08_0.862.h5
    python convert_to_tflite.py --format best                     the fastest format that answers alike

The .tflite is written beside the checkpoint, with its labels inside, and NAME.parity.json, its certificate. It is
refused, and nothing is written, if it answers the test photos differently from the trained model.
"""

import argparse
from pathlib import Path

from headstand import command

FORMATS = ("float32", "float16", "dynamic", "int8", "best")


def main(words: list[str]) -> None:
    """Convert the checkpoint that `words` name."""
    parser = argparse.ArgumentParser(
        "convert_to_tflite.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="a checkpoint; the newest run's when left out")
    parser.add_argument(
        "--format", choices=FORMATS, default="float32", help="best: all are tried, and the fastest that passes is taken"
    )
    parser.add_argument(
        "--representative", type=int, default=300, metavar="N", help="training photos that int8 takes its ranges from"
    )
    parser.add_argument(
        "--force", action="store_true", help="write it although it answers differently, marked as failed"
    )
    arguments = parser.parse_args(words)
    # TensorFlow takes seconds to import; a mistyped option is told before.
    import headstand.learn  # noqa: F401 - silences TensorFlow, which the next line would import aloud
    from headstand.export.exporting import export
    from headstand.learn.run import newest_checkpoint

    path = arguments.model or newest_checkpoint()
    print(f"converting {path}", flush=True)
    made = export(
        path,
        arguments.format,
        representative=arguments.representative,
        force=arguments.force,
        tell=lambda line: print(line, flush=True),
    )
    verdict = f"FAILED ({'; '.join(made.missing)}), written since forced" if made.missing else "passed"
    accuracy = made.parity.accuracy
    print(
        f"parity     {made.parity.count} {made.photos} photos, same top class on {made.parity.agreement:.2%}, "
        f"largest difference of a probability {made.parity.largest_difference:.1e}"
        + (f", {accuracy.lost} fewer right" if accuracy and accuracy.lost else "")
        + f": {verdict}"
    )
    print(f"written    {made.bundle} ({made.kind}, {made.size / 2**20:.1f} MiB), {made.certificate}")
    print(f"serve it   HEADSTAND_MODEL={made.bundle} gunicorn predict:app")


if __name__ == "__main__":
    command.run(main)
