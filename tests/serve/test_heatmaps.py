"""A model of heatmaps behind the services: what photos go through, heatmaps go through."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.poses import heatmap_file
from headstand.poses.heatmap_file import HeatmapError
from headstand.serve import bundle as bundles
from headstand.serve import flask_app
from headstand.serve.bundle import BundleError
from headstand.serve.classifier import Classifier
from headstand.serve.lambda_handler import LambdaFunction
from headstand.serve.page import markup
from tests import tiny
from tests.serve.test_lambda_handler import HTTP, posted

LEFT_EYE = np.zeros(heatmap_file.SHAPE, np.float32)
LEFT_EYE[1] = 0.5
FILE = heatmap_file.encode(LEFT_EYE)
REQUESTS = {
    "npy": {"data": FILE, "content_type": "application/octet-stream"},
    "curl": {"data": FILE, "content_type": "application/x-www-form-urlencoded"},
    "form": {"data": {"image": (io.BytesIO(FILE), "person.npy")}},
    "base64": {"json": {"image": base64.b64encode(FILE).decode()}},
    "numbers": {"json": {"heatmaps": LEFT_EYE[None].tolist()}},
    "numbers of one person": {"json": {"heatmaps": LEFT_EYE.tolist()}},
    "address": {"json": {"url": "https://example.com/person.npy"}},
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier(tiny.heatmaps_bundle(tmp_path_factory.mktemp("model") / "poses.tflite", name="poses"))


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> FlaskClient:
    return flask_app.create_app(classifier, fetch=lambda url: FILE).test_client()


def array(values: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", REQUESTS)
def test_heatmaps_can_be_sent_like_photos_and_as_numbers(client: FlaskClient, name: str) -> None:
    given = dict(REQUESTS[name])
    if name == "form":
        given["data"] = {"image": (io.BytesIO(FILE), "person.npy")}
    response = client.post("/predict", **given)
    assert response.status_code == 200, response.text
    # The logits are a hundred times the means, which are 0, 0.5 and 0.
    assert next(iter(response.json)) == "left_eye" and response.json["left_eye"] > 0.999
    assert response.headers["Headstand-Confident"] == "true"


def test_a_batch_of_heatmaps_has_a_result_for_each(client: FlaskClient) -> None:
    encoded = base64.b64encode(FILE).decode()
    response = client.post("/predict/batch", json=[{"image": encoded}, {"image": "AAAA"}, {"heatmaps": [[1, 2], [3]]}])
    first, second, third = response.json["results"]
    assert next(iter(first["probabilities"])) == "left_eye"
    assert second["error"]["code"] == third["error"]["code"] == "not_heatmaps"


BAD = {
    "photo": (tiny.photo(), "not_heatmaps", 415),
    "nothing behind the magic": (b"\x93NUMPY", "not_heatmaps", 415),
    "cut short": (FILE[:-1], "corrupt_heatmaps", 422),
    "too long": (FILE + b"\0", "corrupt_heatmaps", 422),
    "another shape": (array(np.zeros((16, 64, 48), np.float32)), "not_heatmaps", 415),
    "a batch of two": (array(np.zeros((2, 17, 64, 48), np.float32)), "not_heatmaps", 415),
    "doubles": (array(np.zeros(heatmap_file.SHAPE)), "not_heatmaps", 415),
    "no number": (array(np.full(heatmap_file.SHAPE, np.nan, np.float32)), "corrupt_heatmaps", 422),
    "infinite": (array(np.full(heatmap_file.SHAPE, np.inf, np.float32)), "corrupt_heatmaps", 422),
    "huge": (array(np.zeros(2**18 + 1, np.float32)), "too_large", 413),
    "objects": (array(np.array([print]), allow_pickle=True), "not_heatmaps", 415),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_heatmaps_are_refused_with_the_reason(client: FlaskClient, case: str) -> None:
    data, code, status = BAD[case]
    response = client.post("/predict", data=data, content_type="application/octet-stream")
    assert (response.status_code, response.json["code"]) == (status, code), response.text


class Malicious:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_objects_in_a_file_are_never_unpickled(client: FlaskClient, tmp_path: Path) -> None:
    trap = np.empty(1, object)
    trap[0] = Malicious(tmp_path / "sprung")
    data = array(trap, allow_pickle=True)
    assert b"touch" in data or b"Path" in data
    assert client.post("/predict", data=data, content_type="application/octet-stream").status_code == 415
    assert not (tmp_path / "sprung").exists()


_NUMBERS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(st.recursive(_NUMBERS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner)))
def test_any_other_json_is_refused(value: Any) -> None:
    with pytest.raises(HeatmapError) as excinfo:
        heatmap_file.encode(value)
    assert excinfo.value.code == "not_heatmaps"


@pytest.mark.parametrize(
    ("value", "code"),
    [(1e300, "corrupt_heatmaps"), (10**400, "not_heatmaps"), (True, "not_heatmaps"), ("1", "not_heatmaps")],
)
def test_numbers_that_float32_cannot_hold_are_refused(value: Any, code: str) -> None:
    maps = np.full(heatmap_file.SHAPE, value, object if not isinstance(value, float) else float).tolist()
    with pytest.raises(HeatmapError) as excinfo:
        heatmap_file.encode(maps)
    assert excinfo.value.code == code


def test_only_one_field_is_allowed(client: FlaskClient) -> None:
    body = {"heatmaps": [], "url": "https://example.com/"}
    response = client.post("/predict", json=body)
    assert (response.status_code, response.json["code"]) == (400, "no_image")


def test_a_model_for_photos_refuses_heatmaps(tmp_path: Path) -> None:
    client = flask_app.create_app(Classifier(tiny.bundle(tmp_path / "tiny.tflite"))).test_client()
    for body in (REQUESTS["npy"], REQUESTS["numbers"]):
        response = client.post("/predict", **body)
        assert (response.status_code, response.json["code"]) == (415, "not_an_image")


def test_the_lambda_function_accepts_heatmaps(classifier: Classifier) -> None:
    function = LambdaFunction(classifier)
    for event in ({"image": base64.b64encode(FILE).decode()}, {"heatmaps": LEFT_EYE.tolist()}):
        assert next(iter(function.handle(event))) == "left_eye"
    result = function.handle({"image": base64.b64encode(tiny.photo()).decode()})
    assert result["error"]["code"] == "not_heatmaps"


@pytest.mark.parametrize("name", HTTP)
def test_gateways_pass_files_and_numbers_on_to_the_function(classifier: Classifier, name: str) -> None:
    function = LambdaFunction(classifier)
    for event in (
        posted(name, FILE, "application/octet-stream"),
        posted(name, json.dumps({"heatmaps": LEFT_EYE.tolist()})),
    ):
        response = function.handle(event)
        assert response["statusCode"] == 200
        assert next(iter(json.loads(response["body"]))) == "left_eye"


def test_a_file_can_be_classified_by_path(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "person.npy").write_bytes(FILE)
    assert classifier.predict(tmp_path / "person.npy") == classifier.predict(FILE) == classifier.classify(LEFT_EYE)
    with pytest.raises(ValueError, match=r"heatmaps must be float32 \[N, 17, 64, 48\], not float64 \[1, 17, 64, 48\]"):
        classifier.probabilities(LEFT_EYE[None].astype(float))


def test_a_bundle_for_heatmaps_must_have_their_input_shape(tmp_path: Path) -> None:
    path = tiny.bundle(tmp_path / "tiny.tflite", input={"kind": "heatmaps", "size": 64})
    with pytest.raises(BundleError, match=r"one input of float32 \[1, 17, 64, 48\]; the model has float32 \[1, 32"):
        Classifier(path)
    path = tiny.bundle(tmp_path / "other.tflite", input={"kind": "sounds", "size": 64})
    with pytest.raises(BundleError, match="damaged"):
        bundles.read(path)


def test_the_service_describes_its_input(client: FlaskClient) -> None:
    model = client.get("/model").json
    assert (model["takes"], model["shape"]) == ("heatmaps", [17, 64, 48])
    document = client.get("/openapi.json").json
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data", "application/octet-stream"}
    ways = document["components"]["schemas"]["Image"]["oneOf"]
    lengths, schema = [], ways[2]["properties"]["heatmaps"]
    while schema["type"] == "array":
        assert schema["minItems"] == schema["maxItems"]
        lengths.append(schema["maxItems"])
        schema = schema["items"]
    assert tuple(lengths) == heatmap_file.SHAPE
    assert "not_heatmaps" in json.dumps(document["paths"]["/predict"]["post"]["responses"]["415"])
    assert "heatmaps" in client.get("/docs").text


def test_the_page_accepts_files_and_draws_the_samples(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "left_eye.npy").write_bytes(FILE)
    (tmp_path / "samples" / "nose.png").write_bytes(tiny.photo())
    bundle = bundles.read(tiny.heatmaps_bundle(tmp_path / "poses.tflite"))
    pictures = markup.samples(bundle)
    assert list(pictures) == ["left_eye"]
    text = markup.html(bundle, pictures)
    assert 'data-takes="heatmaps"' in text and 'accept=".npy"' in text and "JPEG" not in text
    assert '<img data-heatmaps="samples/left_eye.npy" alt=""' in text
    client = flask_app.create_app(Classifier(bundle.path)).test_client()
    sample = client.get("/samples/left_eye.npy")
    assert (sample.data, sample.mimetype) == (FILE, "application/octet-stream")
    usage = client.get("/", headers={"Accept": "application/json"}).json["usage"]
    assert '"heatmaps"' in usage
