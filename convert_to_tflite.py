"""Convert a trained model to the one file that is served.

    python convert_to_tflite.py                                   the newest run's best checkpoint
    python convert_to_tflite.py runs/yoga6/TIME/yoga6_08_0.862.h5

The .tflite is written beside the checkpoint, with its labels inside. It is refused, and nothing is written, if it
answers any test photo differently from the trained model.
"""

import argparse
from pathlib import Path

from headstand import command


def main(words: list[str]) -> None:
    """Convert the checkpoint that `words` name."""
    parser = argparse.ArgumentParser(
        "convert_to_tflite.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="a checkpoint; the newest run's when left out")
    arguments = parser.parse_args(words)
    # TensorFlow takes seconds to import; a mistyped option is told before.
    import headstand.learn  # noqa: F401 - silences TensorFlow, which the next line would import aloud
    from headstand.export.exporting import export
    from headstand.learn.run import newest_checkpoint

    path = arguments.model or newest_checkpoint()
    print(f"converting {path}", flush=True)
    made = export(path)
    print(
        f"parity     {made.parity.count} test photos, same top class on {made.parity.agreement:.2%}, "
        f"largest difference of a probability {made.parity.largest_difference:.1e}"
    )
    print(f"written    {made.bundle} ({made.size / 2**20:.1f} MiB)")
    print(f"serve it   HEADSTAND_MODEL={made.bundle} gunicorn predict:app")


if __name__ == "__main__":
    command.run(main)
