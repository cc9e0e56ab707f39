import os
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from headstand.errors import HeadstandError
from headstand.serve import endpoint
from headstand.serve.classifier import Classifier
from tests import tiny
from tests.serve.service import ROOT, running
from tests.test_dockerfile import WEB, assemble

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> FlaskClient:
    return endpoint.create_app(classifier).test_client()


def test_ping_and_invocations_are_added_to_the_services_paths(client: FlaskClient) -> None:
    assert client.get("/ping").status_code == 200
    photo = tiny.photo((255, 0, 0))
    for kind in ("image/png", "application/x-image", "application/octet-stream"):
        answer = client.post("/invocations", data=photo, content_type=kind)
        assert answer.status_code == 200
        assert answer.json == pytest.approx(tiny.expected((255, 0, 0)), abs=1e-4)
    assert client.post("/predict", data=photo, content_type="image/png").json == answer.json
    assert client.post("/ping").status_code == 405
    assert client.get("/invocations").status_code == 405


@pytest.mark.parametrize(("rgb", "expected"), [((255, 0, 0), "confident=true"), ((100, 100, 100), "confident=false")])
def test_the_custom_attributes_contain_the_confidence(
    client: FlaskClient, rgb: tuple[int, int, int], expected: str
) -> None:
    answer = client.post("/invocations", data=tiny.photo(rgb))
    assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == expected


def test_the_custom_attributes_contain_whether_the_input_is_known(tmp_path: Path) -> None:
    client = endpoint.create_app(Classifier(tiny.known_bundle(tmp_path / "a.tflite"))).test_client()
    for rgb, expected in (((255, 0, 0), "confident=true,known=true"), ((20, 0, 0), "confident=false,known=false")):
        answer = client.post("/invocations", data=tiny.photo(rgb))
        assert answer.headers["X-Amzn-SageMaker-Custom-Attributes"] == expected


def test_data_that_is_not_an_image_is_a_client_error(client: FlaskClient) -> None:
    answer = client.post("/invocations", data=b"no image", content_type="image/png")
    assert (answer.status_code, answer.json["code"]) == (415, "not_an_image")
    assert "X-Amzn-SageMaker-Custom-Attributes" not in answer.headers


def test_the_model_is_the_one_bundle_in_the_archive(tmp_path: Path) -> None:
    with pytest.raises(HeadstandError, match=r"must contain one \.tflite file and contains none"):
        endpoint.bundle(tmp_path)
    (tmp_path / "yoga6").mkdir()
    one = tiny.bundle(tmp_path / "yoga6" / "yoga6.tflite")
    assert endpoint.bundle(tmp_path) == one
    (tmp_path / "b.tflite").touch()
    with pytest.raises(HeadstandError, match=r"contains b\.tflite, yoga6/yoga6\.tflite"):
        endpoint.bundle(tmp_path)


def stage() -> str:
    return DOCKERFILE.partition("\nFROM web AS endpoint\n")[2].partition("\nFROM ")[0]


def test_the_command_of_the_image_serves_and_stops_on_sigterm(model: Path, tmp_path: Path) -> None:
    argv = [*_exec(stage(), "ENTRYPOINT")[2:], *_exec(stage(), "CMD")]
    assert argv == ["headstand.serve.endpoint", "serve"]
    srv = assemble(WEB, tmp_path / "srv", model)
    variables = {"GUNICORN_CMD_ARGS": "--bind 127.0.0.1:0", "PYTHONPATH": ""}
    with running(srv / "model.tflite", tmp_path / "run", code=srv, argv=tuple(argv), **variables) as service:
        assert service.ask("GET", "/ping").status == 200
        answer = service.ask("POST", "/invocations", tiny.photo(), **{"Content-Type": "image/png"})
        assert answer.json == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-4)
        service.process.terminate()
        assert service.process.wait(60) == 0


def test_the_image_loads_the_model_that_sagemaker_unpacks() -> None:
    assert "ENV HEADSTAND_MODEL=\n" in stage() and "EXPOSE 8080" in stage() and "HEALTHCHECK NONE" in stage()
    assert "COPY" not in stage() and "RUN" not in stage()
    assert str(endpoint.MODEL) == "/opt/ml/model"


def test_it_listens_on_the_port_that_sagemaker_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(endpoint, "MODEL", tmp_path)
    bundle = tiny.bundle(tmp_path / "yoga6.tflite")
    for port, expected in ((None, "--bind 0.0.0.0:8080"), ("7001", "--bind 0.0.0.0:7001")):
        monkeypatch.setenv("HEADSTAND_MODEL", "")
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "")
        monkeypatch.delenv("GUNICORN_CMD_ARGS")
        if port:
            monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", port)
        endpoint.main(["serve"])
        assert os.environ["GUNICORN_CMD_ARGS"] == expected
        assert os.environ["HEADSTAND_MODEL"] == str(bundle)
    assert started[0][1:] == ["-m", "gunicorn", "headstand.serve.endpoint:served()"]
    with pytest.raises(HeadstandError, match="unknown arguments 'train': this container takes only 'serve'"):
        endpoint.main(["train"])


def test_without_a_usable_model_it_exits_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the status after which gunicorn stops: tests/test_predict.py."""
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"nothing")
    monkeypatch.setenv("HEADSTAND_MODEL", str(broken))
    with pytest.raises(SystemExit) as caught:
        endpoint.served()
    assert caught.value.code == 4
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "broken.tflite" in error and error.count("\n") == 1


def _exec(text: str, instruction: str) -> list[str]:
    (found,) = re.findall(rf"^{instruction} (\[.+\])$", text, re.M)
    return [item.strip(' "') for item in found.strip("[]").split(",")]
