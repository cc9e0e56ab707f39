"""The demo as in `make demo`, in a temporary folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headstand.recipe import HOME
from headstand.serve import bundle


@pytest.mark.slow
def test_the_demo_prepares_trains_converts_and_predicts(workplace):
    argv = ["--source.per_class", "40", "--source.size", "160"]
    done = subprocess.run(
        [sys.executable, "-m", "headstand", "demo", "demo", *argv],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for step in ("prepare", "train", "convert", "predict"):
        assert re.search(rf"^-- {step} took \d+\.\d s: \S+", done.stdout, re.MULTILINE), done.stdout
    accuracy, count = re.search(r"^test accuracy (\d\.\d{3}) on (\d+) photos", done.stdout, re.MULTILINE).groups()
    assert int(count) == 48
    # Chance is 1/6: a random classifier reaches 19 of 48 in one run in a thousand.
    assert float(accuracy) >= 20 / 48
    (bundle_path,) = Path("runs/demo").glob("*/*.tflite")
    assert bundle.read(bundle_path).labels == ("chair", "cobra", "downdog", "goddess", "tree", "warrior")
    assert f"HEADSTAND_MODEL={bundle_path}" in done.stdout


@pytest.mark.slow
def test_the_heatmap_demo_prepares_trains_converts_and_predicts(workplace):
    done = subprocess.run(
        [sys.executable, "-m", "headstand", "demo", "demo-heatmaps", "--source.per_class", "60"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracy, count = re.search(r"^test accuracy (\d\.\d{3}) on (\d+) photos", done.stdout, re.MULTILINE).groups()
    assert int(count) >= 17 * 10
    assert float(accuracy) >= 0.8
    (bundle_path,) = Path("runs/demo-heatmaps").glob("*/*.tflite")
    found = bundle.read(bundle_path)
    assert (len(found.labels), found.input.kind) == (17, "heatmaps")
    assert found.labels[0] == "action_aside"
