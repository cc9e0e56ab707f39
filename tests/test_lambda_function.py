import base64
import importlib
import json
from pathlib import Path

import pytest

from headstand.serve.bundle import BundleError
from tests import runtime_api, tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bundle(tmp_path_factory.mktemp("model") / "tiny.tflite")


def test_the_runtime_responds_to_events_over_http_and_logs_json_lines(model: Path, tmp_path: Path) -> None:
    event = json.loads((Path(__file__).parent / "events" / "http_api_2.json").read_text())
    photo = base64.b64encode(tiny.photo((200, 100, 0))).decode()
    with (tmp_path / "log").open("wb") as log, runtime_api.function(model, log=log) as server:
        refused = runtime_api.invoke(server, event | {"body": json.dumps({"url": "http://10.0.0.1/secret"})})
        response = runtime_api.invoke(server, {"image": photo})
        events = {"forbidden_address": {"url": "http://169.254.169.254/"}, "no_image": {}, "bad_request": "text"}
        errors = {code: runtime_api.invoke(server, event) for code, event in events.items()}
    assert isinstance(refused, dict) and refused["statusCode"] == 400
    assert isinstance(response, dict) and list(response) == ["red", "green", "blue"]
    assert response == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
    for code, found in errors.items():
        assert isinstance(found, dict) and found["error"]["code"] == code
    first, second, *_ = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (first["code"], first["hosts"], first["level"]) == ("forbidden_address", ["10.0.0.1"], "info")
    assert len(first["aws_request_id"]) == 36 and first["request_id"] == refused["headers"]["X-Request-ID"]
    assert (second["form"], second["status"], second["images"]) == ("direct", 200, 1)
    assert "secret" not in (tmp_path / "log").read_text()


def test_a_missing_model_fails_the_initialisation(tmp_path: Path) -> None:
    with runtime_api.function(tmp_path / "none.tflite") as server:
        error = json.loads(server.init_error.get(timeout=60))
    assert error["errorType"] == "BundleError" and "there is no model" in error["errorMessage"]


def test_internal_errors_are_function_errors(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text(
        "import lambda_function\n"
        "def fail(pixels): raise RuntimeError('ours')\n"
        "lambda_function.classifier.classify = fail\n"
        "handler = lambda_function.lambda_handler\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with runtime_api.function(model, "broken.handler") as server:
        response = runtime_api.invoke(server, {"image": base64.b64encode(tiny.photo()).decode()})
    assert isinstance(response, dict) and (response["errorType"], response["errorMessage"]) == ("RuntimeError", "ours")


def test_the_handler_can_be_called_directly(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(model))
    module = importlib.import_module("lambda_function")
    response = module.lambda_handler({"image": base64.b64encode(tiny.photo((0, 0, 250))).decode()}, None)
    assert next(iter(response)) == "blue"
    monkeypatch.setenv("HEADSTAND_MODEL", str(model.with_name("none.tflite")))
    with pytest.raises(BundleError, match="there is no model"):
        importlib.reload(module)
