"""Cold start time, memory and cost of an AWS Lambda handler, compared with a minimal, a usual and a Keras handler.

python benchmarks/coldstart.py BUNDLE.tflite CHECKPOINT.h5 [--runs 21] [--only bare ours ...]
    [--gb-second PRICE --request PRICE --priced "WHERE, WHEN"]

Each handler starts in a new process, receives one event with a JPEG of 640 x 480 in base64, and writes its prediction;
the handlers take turns. They are

- bare: a script that only imports NumPy, Pillow and LiteRT, loads the model, decodes the photo and runs the model,
- ours: `lambda_function.lambda_handler`,
- original: keras-image-helper, the interpreter at module level and urllib, as such handlers are usually written,
- keras: Keras with the checkpoint itself.

Medians over the runs: seconds from process start to the first response, CPU seconds until then (less affected by other
load on the machine), the ratio of both to the bare script in the same round, and peak memory.
Targets: ours at most 1.15 of bare, keras at least 10 times ours.

With prices (AWS lists them for each region at https://aws.amazon.com/lambda/pricing/) a second table contains the cost
of a million requests by memory size: all warm, and with one in a hundred cold. Lambda provides one core per 1,769 MB;
below that, both times are scaled up in proportion.
"""

import argparse
import base64
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CORE = 1769
"""Megabytes of memory for which Lambda provides one core."""

COLD = 0.01
"""Share of cold starts in the table of costs."""

# Source of the processes. They print the probabilities, then the median milliseconds of later calls.
LATER = """
import statistics, time
def later(call):
    taken = []
    for _ in range(15):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)
"""

HANDLERS = {
    "bare": """
import base64, io, json, sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter

model = Interpreter(model_path=sys.argv[1], num_threads=1)
model.allocate_tensors()
given, output, size = model.get_input_details()[0], model.get_output_details()[0]["index"], int(sys.argv[3])

def handler(event):
    image = Image.open(io.BytesIO(base64.b64decode(event["image"])))
    image.draft("RGB", (2 * size, 2 * size))
    pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), given["dtype"])
    model.set_tensor(given["index"], pixels[None])
    model.invoke()
    return model.get_tensor(output)[0].tolist()
""",
    "ours": """
import json, sys
import lambda_function

def handler(event):
    return list(lambda_function.lambda_handler(event, None).values())
""",
    "original": """
import base64, json, sys
from io import BytesIO
from urllib import request
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
from keras_image_helper import create_preprocessor

preprocessor = create_preprocessor("xception", target_size=(int(sys.argv[3]), int(sys.argv[3])))
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
output_index = interpreter.get_output_details()[0]["index"]

def handler(event):
    X = preprocessor.convert_to_tensor(Image.open(BytesIO(base64.b64decode(event["image"]))))
    interpreter.set_tensor(given["index"], X.astype(given["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(output_index)[0].tolist()
""",
    "keras": """
import base64, io, json, sys
import keras
import numpy as np

model = keras.models.load_model(sys.argv[2], compile=False)

def handler(event):
    image = keras.utils.load_img(io.BytesIO(base64.b64decode(event["image"])), target_size=[int(sys.argv[3])] * 2)
    return model.predict(np.asarray(image, np.float32)[None], verbose=0)[0].tolist()
""",
}

END = """
event = json.load(open(sys.argv[4]))
print(json.dumps(handler(event)), flush=True)
print(later(lambda: handler(event)) if sys.stdin.readline().strip() else "", flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--only", nargs="*", choices=sorted(HANDLERS), default=list(HANDLERS))
    parser.add_argument("--gb-second", type=float, metavar="PRICE", help="of a gigabyte for a second")
    parser.add_argument("--request", type=float, metavar="PRICE", help="of one request")
    parser.add_argument("--priced", metavar="DATE", help="when and where these were the prices, for the table")
    options = parser.parse_args()
    if options.gb_second is not None and not (options.request is not None and options.priced):
        parser.error("--gb-second needs --request and --priced")
    sys.path.insert(0, str(ROOT))
    from headstand.serve import bundle

    size = bundle.read(options.bundle).size
    event = ROOT / ".cache" / "coldstart.json"
    event.parent.mkdir(exist_ok=True)
    event.write_text(json.dumps({"image": base64.b64encode(photo()).decode()}))
    arguments = [str(options.bundle.resolve()), str(options.checkpoint.resolve()), str(size), str(event)]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    print(f"{options.bundle.name}, {size} px, {options.runs} runs, Python {platform.python_version()}, "
          f"{os.cpu_count()} cores, load {load}", flush=True)  # fmt: skip
    best = {name: once(name, arguments)[-1] for name in options.only}  # warm-up: fills the caches of files and bytecode
    if abs(best.get("ours", 0) - best.get("bare", best.get("ours", 0))) > 0.02:
        raise SystemExit(f"bare and ours predict differently: {best}")
    rounds = [{name: once(name, arguments) for name in options.only} for _ in range(options.runs)]
    first = table(rounds, options.only)
    if options.gb_second is not None:
        costs(first, options)


def photo() -> bytes:
    """Returns a JPEG of 640 x 480 whose level of detail gives it the file size of a photo."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


Run = tuple[float, float, float, float, float]


def once(name: str, arguments: list[str]) -> Run:
    """Runs a handler in a new process.

    Returns:
        Wall and CPU seconds until the first response, peak memory in MB until then, milliseconds of a later call, and
        the top probability.
    """
    script = LATER + HANDLERS[name] + END
    environment = {**os.environ, "HEADSTAND_MODEL": arguments[0], "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the container image contains bytecode too
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin and process.stdout
    answer = process.stdout.readline()
    wall = time.perf_counter() - started
    if not answer:
        raise SystemExit(f"{name} returned nothing")
    processor, memory = spent(process.pid)
    process.stdin.write("go\n")
    process.stdin.close()
    later = float(process.stdout.readline())
    process.wait()
    return wall, processor, memory, later, max(json.loads(answer))


def spent(pid: int) -> tuple[float, float]:
    """Returns CPU seconds and peak resident memory in MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return processor, int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"no memory figure for process {pid}")


def table(rounds: list[dict[str, Run]], names: list[str]) -> dict[str, tuple[float, ...]]:
    """Prints and returns the medians per handler."""
    print(f"\n{'handler':<10}{'first answer s':>16}{'of bare':>9}{'processor s':>13}{'of bare':>9}"
          f"{'memory MB':>11}{'later ms':>10}")  # fmt: skip
    medians = {}
    for name in names:
        columns = [statistics.median(found[name][column] for found in rounds) for column in range(4)]
        ratios = ["", ""]
        if "bare" in names:
            ratios = [
                f"{statistics.median(found[name][column] / found['bare'][column] for found in rounds):.2f}"
                for column in (0, 1)
            ]
        print(f"{name:<10}{columns[0]:>16.3f}{ratios[0]:>9}{columns[1]:>13.3f}{ratios[1]:>9}"
              f"{columns[2]:>11.0f}{columns[3]:>10.1f}")  # fmt: skip
        medians[name] = tuple(columns)
    return medians


def costs(medians: dict[str, tuple[float, ...]], options: argparse.Namespace) -> None:
    """Prints the cost of a million requests by memory size, except for sizes that are too small for the handler."""
    print(f"\nA million requests, at {options.gb_second:g} a GB-second and {options.request:g} a request "
          f"({options.priced}); warm / with {COLD:.0%} cold:")  # fmt: skip
    sizes = (256, 512, 1024, CORE, 3008)
    print(f"{'handler':<10}" + "".join(f"{f'{size} MB':>16}" for size in sizes))
    for name, (first, _, memory, later) in medians.items():
        cells = []
        for size in sizes:
            stretch = max(1.0, CORE / size)
            warm = 1e6 * (later / 1000 * stretch * size / 1024 * options.gb_second + options.request)
            cold = COLD * 1e6 * first * stretch * size / 1024 * options.gb_second
            cells.append(f"{warm:.2f} / {warm + cold:.2f}" if memory < 0.9 * size else "-")
        print(f"{name:<10}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
