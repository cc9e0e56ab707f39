"""What can be known of the container without building it."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests import tiny

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied() -> list[tuple[list[str], str]]:
    """Sources and destination of each COPY from the checkout into the final stage."""
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    lines = [line.split()[1:] for line in final.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [(words[:-1], words[-1]) for words in lines]


def test_the_handler_runs_on_what_the_image_holds(tmp_path: Path) -> None:
    model = tiny.bundle(tmp_path / "tiny.tflite")
    task = tmp_path / "task"
    task.mkdir()
    for sources, destination in copied():
        for source in sources:
            target = task / destination
            if source == "${MODEL}":
                shutil.copy(model, target)
            elif (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    script = """if True:
        import base64, io, json, sys
        from PIL import Image
        import lambda_function
        assert lambda_function.__file__.startswith(sys.argv[1]), lambda_function.__file__
        stream = io.BytesIO()
        Image.new("RGB", (40, 30), "red").save(stream, "PNG")
        event = {"image": base64.b64encode(stream.getvalue()).decode()}
        answer = lambda_function.lambda_handler(event, None)
        assert list(answer)[0] == "red", answer
        assert lambda_function.lambda_handler({"url": "http://10.0.0.1/"}, None)["error"]["code"] == "forbidden_address"
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    """
    environment = {**os.environ, "HEADSTAND_MODEL": str(task / "model.tflite")}
    found = subprocess.run(
        [sys.executable, "-c", script, str(task)],
        cwd=task,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    modules = set(json.loads(found.stdout))
    assert not modules & {"tensorflow", "keras", "flask", "pydantic", "sklearn", "matplotlib", "h5py", "optuna"}
    locked = json.loads((ROOT / "Pipfile.lock").read_text())["lambda"]
    assert {"numpy", "PIL", "ai_edge_litert", "requests", "requests_hardened", "keras_image_helper"} <= modules
    assert {"numpy", "pillow", "ai-edge-litert", "requests", "requests-hardened", "keras-image-helper"} <= set(locked)


def test_the_locked_packages_have_hashes_and_name_no_index() -> None:
    text = (ROOT / "Pipfile.lock").read_text()
    assert "://" not in text and "://" not in (ROOT / "Pipfile").read_text()
    lock = json.loads(text)
    assert lock["_meta"]["sources"] == []
    for name, entry in lock["lambda"].items():
        assert entry["version"].startswith("==") and entry["hashes"], name
    assert not {"tensorflow", "keras", "flask"} & set(lock["lambda"])
    assert "--require-hashes" in DOCKERFILE and "--categories lambda --hash" in DOCKERFILE


def test_the_build_context_holds_what_is_copied_and_nothing_private() -> None:
    """Each COPY's source is let through by `.dockerignore`; pictures, checkpoints and credentials are not."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_through = [line[1:] for line in lines if line.startswith("!")]
    model = re.search(r"^ARG MODEL=(\S+)$", DOCKERFILE, re.M)
    assert model
    sources = [source for sources, _ in copied() for source in sources if source != "${MODEL}"]
    for source in [*sources, "Pipfile", "Pipfile.lock", model[1], "runs/yoga6/2026-01-01/yoga6.tflite"]:
        assert any(fnmatch(source, pattern.replace("**/", "*")) for pattern in let_through), source
    for private in ("kaggle.json", "data/yoga6/train/tree/tree0001.jpg", "runs/a/b/a.h5", ".venv/bin/python", ".git/x"):
        assert not any(fnmatch(private, pattern) for pattern in let_through), private
