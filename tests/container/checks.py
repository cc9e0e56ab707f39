"""Tests of the built Lambda container: `make test-container`."""

import base64
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from headstand.serve.classifier import SHIPPED, Classifier
from tests.container import engines, layers

ROOT = engines.ROOT
SAMPLES = sorted((SHIPPED.parent / "samples").glob("*.webp"))
MACHINES = {"amd64": 0x3E, "arm64": 0xB7}
"""Bytes 18 and 19 of an ELF file (ELF specification: e_machine), by architecture."""


@pytest.fixture(scope="session")
def engine() -> Iterator[engines.Engine]:
    found = engines.found()
    print(f"\nwith {found.name}, {platform.machine()}")
    yield found
    found.close()


@pytest.fixture(scope="session")
def image(engine: engines.Engine) -> str:
    return engine.build(engines.NATIVE, layers.MODEL)


@pytest.fixture(scope="session")
def endpoint(engine: engines.Engine, image: str) -> Iterator[str]:
    with engine.serving(image) as url:
        yield url


@pytest.fixture(scope="session")
def saved(engine: engines.Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> list[layers.Layer]:
    file = tmp_path_factory.mktemp("saved") / "image.tar"
    engine.save(image, file)
    config, found = layers.read(file)
    assert config["architecture"] == engines.NATIVE
    return found


def test_the_test_script_gets_the_predictions_of_the_classifier(endpoint: str) -> None:
    classifier = Classifier(SHIPPED)
    assert SAMPLES
    for path in SAMPLES:
        command = [sys.executable, "test.py", str(path), "--endpoint", endpoint]
        response = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120).stdout)
        assert response == pytest.approx(classifier.predict(path).probabilities, abs=1e-5)
        assert next(iter(response)) == path.stem


def test_it_responds_to_gateways_and_refuses_private_addresses(endpoint: str) -> None:
    def invoke(event: object) -> dict[str, object]:
        return requests.post(endpoint, json=event, timeout=60).json()

    photo = base64.b64encode(SAMPLES[0].read_bytes()).decode()
    events = ROOT / "tests" / "events"
    for name in ("rest_api", "http_api_2", "function_url", "load_balancer"):
        event = json.loads((events / f"{name}.json").read_text())
        response = invoke(event | {"body": json.dumps({"image": photo}), "isBase64Encoded": False})
        assert response["statusCode"] == 200 and SAMPLES[0].stem in str(response["body"]), response
    form = b'--e\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + SAMPLES[0].read_bytes()
    event = json.loads((events / "http_api_2.json").read_text())
    event["headers"] |= {"content-type": "multipart/form-data; boundary=e"}
    response = invoke(event | {"body": base64.b64encode(form + b"\r\n--e--\r\n").decode(), "isBase64Encoded": True})
    assert response["statusCode"] == 200 and SAMPLES[0].stem in str(response["body"]), response
    refused = invoke({"url": "http://169.254.169.254/latest/meta-data/"})
    assert refused["error"]["code"] == "forbidden_address"  # type: ignore[index]
    assert invoke({"warmup": True}) == {"status": "ready", "model": "yoga6"}


def test_all_modules_are_compiled_and_tensorflow_is_not_installed(engine: engines.Engine, image: str) -> None:
    script = """if True:
        import importlib.util, json, os, sys
        import lambda_function
        files = [m for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith("/var/task")]
        print(json.dumps({
            "source": [m.__name__ for m in files if m.__file__.endswith(".py") and not os.path.exists(m.__cached__)],
            "found": [name for name in ("tensorflow", "keras", "flask") if importlib.util.find_spec(name)],
            "modules": len(files),
            "writable": os.access("/var/task", os.W_OK),
        }))
    """
    found = json.loads(engine.run(image, "python", "-c", script).splitlines()[-1])
    assert found["source"] == [] and found["found"] == [] and found["modules"] > 100
    assert isinstance(engine, engines.Docker) or not found["writable"]


def test_our_layers_are_small(saved: list[layers.Layer]) -> None:
    packages, code, model = saved[-len(layers.ADDED) :]
    assert (packages.unpacked, packages.compressed) < (115e6, 40e6)
    assert code.unpacked < 1e6 and list(model.files) == ["var/task/model.tflite"]
    assert model.unpacked == SHIPPED.stat().st_size
    assert "var/task/headstand/images/__init__.py" in code.files
    assert not [name for name in packages.files if "/numpy/_core/tests/" in name or "WebGpu" in name]


def test_another_model_changes_one_layer(engine: engines.Engine, saved: list[layers.Layer], tmp_path: Path) -> None:
    engine.save(engine.build(engines.NATIVE, "models/yoga66/yoga66.tflite"), tmp_path / "other.tar")
    other = layers.read(tmp_path / "other.tar")[1]
    assert [layer.digest for layer in other[:-1]] == [layer.digest for layer in saved[:-1]]
    assert other[-1].digest != saved[-1].digest and other[-1].compressed < 4e6


def test_each_architecture_gets_its_own_machine_code(
    engine: engines.Engine, saved: list[layers.Layer], tmp_path: Path
) -> None:
    foreign = "arm64" if engines.NATIVE == "amd64" else "amd64"
    engine.save(engine.build(foreign, layers.MODEL), tmp_path / "image.tar")
    config, found = layers.read(tmp_path / "image.tar")
    assert config["architecture"] == foreign
    for architecture, packages in ((engines.NATIVE, saved[-3]), (foreign, found[-3])):
        libraries = [data for data in packages.files.values() if data[:4] == b"\x7fELF"]
        assert len(libraries) > 40
        assert {int.from_bytes(data[18:20], "little") for data in libraries} == {MACHINES[architecture]}
