"""Static checks of the Dockerfile, and the copied files run without building the image."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests import tiny
from tests.serve.service import running

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


LAMBDA = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
CODE, WEB = (DOCKERFILE.partition(f" AS {name}\n")[2].partition("\nFROM ")[0] for name in ("code", "web"))


def copied(stage: str) -> list[tuple[list[str], str]]:
    """Returns sources and destination of each COPY from the checkout into a stage."""
    lines = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY ") and "--from" not in line]
    lines = [[path for path in paths if not path.startswith("--")] for paths in lines]
    return [(paths[:-1], paths[-1]) for paths in lines]


def assemble(stage: str, folder: Path, model: Path) -> Path:
    """Copies the files of a stage, with this model, into a new folder and returns it."""
    folder.mkdir()
    for sources, destination in copied(stage):
        for source in sources:
            target = folder / destination
            if source == "${MODEL}":
                shutil.copy(model, target)
            elif source == "${SAMPLES}":
                target.mkdir()
            elif (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    return folder


def test_the_handler_runs_on_the_files_of_the_image(tmp_path: Path) -> None:
    task = assemble(CODE + LAMBDA, tmp_path / "task", tiny.bundle(tmp_path / "tiny.tflite"))
    script = """if True:
        import base64, io, json, sys
        from PIL import Image
        import lambda_function
        assert lambda_function.__file__.startswith(sys.argv[1]), lambda_function.__file__
        stream = io.BytesIO()
        Image.new("RGB", (40, 30), "red").save(stream, "PNG")
        event = {"image": base64.b64encode(stream.getvalue()).decode()}
        response = lambda_function.lambda_handler(event, None)
        assert list(response)[0] == "red", response
        lazy = {"requests", "python_multipart", "http.client", "ssl", "email.message", "numpy.random"}
        assert not (lazy | {"PIL.PdfImagePlugin", "PIL.TiffImagePlugin"}) & set(sys.modules)
        assert lambda_function.lambda_handler({"url": "http://10.0.0.1/"}, None)["error"]["code"] == "forbidden_address"
        event = {
            "requestContext": {}, "httpMethod": "POST", "path": "/predict", "body": "--e--",
            "headers": {"content-type": "multipart/form-data; boundary=e"},
        }
        assert lambda_function.lambda_handler(event, None)["statusCode"] == 400
        event = {"requestContext": {}, "httpMethod": "GET", "path": "/model"}
        assert lambda_function.lambda_handler(event, None)["statusCode"] == 200
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
    assert not modules & {"tensorflow", "keras", "flask", "werkzeug", "jinja2", "prometheus_client", "gunicorn"}
    assert not modules & {"pydantic", "sklearn", "matplotlib", "h5py", "optuna"}
    locked = json.loads((ROOT / "Pipfile.lock").read_text())["lambda"]
    assert {
        "numpy",
        "PIL",
        "ai_edge_litert",
        "requests",
        "requests_hardened",
        "keras_image_helper",
        "python_multipart",
    } <= modules
    assert {"numpy", "pillow", "ai-edge-litert", "requests", "requests-hardened", "keras-image-helper"} <= set(locked)


def test_the_locked_packages_have_hashes_and_no_index() -> None:
    text = (ROOT / "Pipfile.lock").read_text()
    assert "://" not in text and "://" not in (ROOT / "Pipfile").read_text()
    lock = json.loads(text)
    assert lock["_meta"]["sources"] == []
    for name, entry in lock["lambda"].items():
        assert entry["version"].startswith("==") and entry["hashes"], name
    assert not {"tensorflow", "keras", "flask"} & set(lock["lambda"])
    assert "--require-hashes" in DOCKERFILE and "--categories lambda --hash" in DOCKERFILE


def test_the_build_context_includes_copied_files_and_excludes_private_ones() -> None:
    """`.dockerignore` includes the source of each COPY, and excludes photos, checkpoints and credentials."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    included = [line[1:] for line in lines if line.startswith("!")]
    model = re.search(r"^ARG MODEL=(\S+)$", DOCKERFILE, re.M)
    assert model
    stages = copied(CODE) + copied(LAMBDA) + copied(WEB)
    sources = [source for sources, _ in stages for source in sources if not source.startswith("$")]
    named = ["Pipfile", "Pipfile.lock", model[1], "models/yoga6/samples", "runs/yoga6/2026-01-01/yoga6.tflite"]
    for source in [*sources, *named]:
        assert any(fnmatch(source, pattern.replace("**/", "*")) for pattern in included), source
    for private in ("kaggle.json", "data/yoga6/train/tree/tree0001.jpg", "runs/a/b/a.h5", ".venv/bin/python", ".git/x"):
        assert not any(fnmatch(private, pattern) for pattern in included), private


def test_the_service_runs_on_the_files_of_the_image_and_writes_only_to_tmp(tmp_path: Path) -> None:
    srv = assemble(WEB, tmp_path / "srv", tiny.bundle(tmp_path / "tiny.tflite"))
    command = json.loads(re.search(r"^CMD (.+)$", WEB, re.M)[1])  # type: ignore[index]
    assert command[:3] == ["python", "-m", "gunicorn"] and "0.0.0.0:8000" in command
    variables = dict(item.split("=") for item in re.search(r"^ENV (.+)$", WEB, re.M)[1].split())  # type: ignore[index]
    variables |= {"HEADSTAND_MODEL": str(srv / "model.tflite"), "PYTHONPATH": ""}
    argv = [argument.replace("0.0.0.0:8000", "127.0.0.1:0") for argument in command[2:]]
    before = sorted(srv.rglob("*"))
    with running(srv / "model.tflite", tmp_path / "run", code=srv, argv=tuple(argv), **variables) as service:
        check = json.loads(re.search(r"^HEALTHCHECK .+CMD \\\n +(.+)$", WEB, re.M)[1])  # type: ignore[index]
        probe = [sys.executable, *(argument.replace(":8000", f":{service.port}") for argument in check[1:])]
        assert subprocess.run(probe, check=False, timeout=60).returncode == 0
        assert service.ask("POST", "/predict", tiny.photo()).status == 200
        assert b"<html" in service.ask("GET", "/", Accept="text/html").body
        assert sorted(srv.rglob("*")) == before
    assert subprocess.run(probe, check=False, timeout=60, stderr=subprocess.DEVNULL).returncode != 0


def test_the_service_is_unprivileged_and_has_no_tensorflow_and_no_compiler() -> None:
    assert re.search(r"^USER 65534:65534$", WEB, re.M) and "apt" not in WEB and "gcc" not in DOCKERFILE
    assert "--categories serve --hash" in DOCKERFILE and DOCKERFILE.count("--only-binary :all:") == 2
    locked = json.loads((ROOT / "Pipfile.lock").read_text())["serve"]
    assert {"flask", "gunicorn", "prometheus-client", "ai-edge-litert"} <= set(locked)
    assert not {"tensorflow", "keras", "pydantic", "boto3"} & set(locked)


def test_the_last_stage_runs_nothing_and_adds_the_model_last() -> None:
    """The image can be built for the other architecture, and another model changes one small layer."""
    instructions = [line.split()[0] for line in LAMBDA.splitlines() if re.match("[A-Z]+ ", line)]
    assert "RUN" not in instructions and LAMBDA.strip().splitlines()[-1] == "COPY --chmod=644 ${MODEL} model.tflite"
    assert DOCKERFILE.count("FROM --platform=${BUILDPLATFORM} ${BASE_IMAGE}") == 2


def test_the_default_is_the_lambda_container() -> None:
    assert "lambda_handler" in LAMBDA and LAMBDA.splitlines()[1] == "FROM ${BASE_IMAGE}"
