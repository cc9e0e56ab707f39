import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from headstand.images import MAX_BYTES, dimensions
from headstand.serve import bundle as bundles
from headstand.serve import flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.page import markup
from tests import tiny

ROOT = Path(__file__).parents[2]
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SHIPPED = [ROOT / "models" / name / f"{name}.tflite" for name in ("yoga6", "yoga66")]


class Elements(HTMLParser):
    """The start tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.found.append((tag, dict(attrs)))

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.found if attribute in attributes]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle with samples beside it, and with files that are none."""
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "red.png").write_bytes(tiny.photo((255, 0, 0)))
    (folder / "blue.webp").write_bytes(tiny.photo((0, 0, 255), "WEBP"))
    (folder / "violet.png").write_bytes(tiny.photo((200, 0, 255)))
    (folder / "green.txt").write_text("secret")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return tiny.bundle(tmp_path / "tiny.tflite")


@pytest.fixture
def client(model: Path) -> FlaskClient:
    return flask_app.create_app(Classifier(model)).test_client()


def test_browsers_receive_the_page_and_other_clients_json(client: FlaskClient) -> None:
    page = client.get("/", headers=HTML)
    assert page.mimetype == "text/html" and page.text.startswith("<!doctype html>")
    for accept in ("*/*", "application/json", None):
        answer = client.get("/", headers={"Accept": accept} if accept else {})
        assert answer.mimetype == "application/json", accept
        assert (answer.json["model"], answer.json["classes"]) == ("tiny", ["blue", "green", "red"])
        assert "POST /predict" in answer.json["usage"]
        assert "Accept" in answer.vary and "Accept" in page.vary  # no cache may hand one out for the other


DOCS = ("docs.js", "docs.css", "swagger-ui-bundle.js", "swagger-ui.css")


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/{name}" for name in (*markup.ASSETS, *DOCS)), "/samples/red.png"])
def test_the_page_has_strict_security_headers(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers=HTML)
    assert response.status_code == 200
    policy = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: http: https:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=(self)" in response.headers["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in markup.ASSETS), "/samples/blue.webp"])
def test_an_unchanged_file_is_not_sent_again(client: FlaskClient, path: str) -> None:
    first = client.get(path, headers=HTML)
    assert first.headers["Cache-Control"] == "no-cache" and first.data
    again = client.get(path, headers={**HTML, "If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and not again.data
    assert client.get(path, headers={**HTML, "If-None-Match": '"older"'}).status_code == 200


def test_the_files_have_their_types(client: FlaskClient) -> None:
    kinds = {"page.css": "text/css", "page.js": "text/javascript", "page.svg": "image/svg+xml",
             "samples/red.png": "image/png", "samples/blue.webp": "image/webp"}  # fmt: skip
    for path, kind in kinds.items():
        assert client.get(f"/{path}").mimetype == kind, path


def test_samples_are_the_pictures_beside_the_bundle_named_after_a_label(client: FlaskClient, model: Path) -> None:
    elements = Elements(client.get("/", headers=HTML).text)
    assert elements.all("data-sample") == ["samples/blue.webp", "samples/red.png"]
    assert client.get("/samples/red.png").data == (model.parent / "samples" / "red.png").read_bytes()
    for path in ("violet.png", "green.txt", "none.png", "../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", ""):
        response = client.get(f"/samples/{path}")
        assert response.status_code == 404 and "secret" not in response.text, path


def test_without_samples_there_is_no_list_of_samples(tmp_path: Path) -> None:
    bundle = tiny.bundle(tmp_path / "tiny.tflite")
    page = flask_app.create_app(Classifier(bundle)).test_client().get("/", headers=HTML).text
    assert "samples" not in page


def test_the_page_contains_the_model_and_the_limit(client: FlaskClient) -> None:
    text = client.get("/", headers=HTML).text
    elements = Elements(text)
    assert elements.all("data-limit") == [str(MAX_BYTES)] and elements.all("data-threshold") == ["0.5"]
    assert elements.all("action") == ["predict", "predict"]
    assert "<title>tiny: what is in the picture?</title>" in text
    assert re.findall(r"<li>(\w+)</li>", text) == ["blue", "green", "red"]


def test_names_of_an_untrusted_bundle_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    bundle = bundles.read(tiny.bundle(tmp_path / "tiny.tflite", labels=(evil, "&amp;", "{{ 1 + 1 }}"), name=evil))
    text = markup.html(bundle, {})
    assert text.count("<script") == 1 and "&lt;script&gt;" in text
    assert "&amp;amp;" in text and "{{ 1 + 1 }}" in text


@pytest.mark.parametrize("name", ["page.html", "docs.html", "docs.js", "docs.css", *markup.ASSETS])
def test_no_file_refers_to_another_host(name: str) -> None:
    text = (markup.FOLDER / name).read_text(encoding="utf-8")
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")  # a name, which is never fetched
    assert re.findall(r"https?://[\w.]+|url\(|@import|//[a-z]+\.[a-z]", text) == []


def test_the_markup_is_valid(client: FlaskClient) -> None:
    text = client.get("/", headers=HTML).text
    elements = Elements(text)
    ids = elements.all("id")
    assert len(ids) == len(set(ids))
    assert {*elements.all("for"), *elements.all("aria-labelledby"), *elements.all("aria-controls")} <= set(ids)
    assert [attributes.get("lang") for tag, attributes in elements.found if tag == "html"] == ["en"]
    tags = [tag for tag, _ in elements.found]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "footer", "title")] == [1] * 5
    assert all("alt" in attributes for tag, attributes in elements.found if tag == "img")
    # The policy forbids scripts and styles in the markup; they would do nothing.
    assert "style" not in tags and not elements.all("style")
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert [attributes.get("src") for tag, attributes in elements.found if tag == "script"] == ["page.js"]
    for tag in ("main", "form", "section", "figure", "ul", "dialog", "div", "label", "button", "p", "span"):
        assert text.count(f"</{tag}>") == tags.count(tag), tag


def test_all_files_of_the_page_exist(client: FlaskClient) -> None:
    elements = Elements(client.get("/", headers=HTML).text)
    paths = [path for path in {*elements.all("href"), *elements.all("src")} if not path.startswith("#")]
    assert {"page.css", "page.js", "page.svg", "docs", "samples/red.png"} <= set(paths)
    for path in paths:
        assert client.get(f"/{path}").status_code == 200, path


def test_the_script_uses_existing_ids_and_sets_text_only(client: FlaskClient) -> None:
    script = "".join((markup.FOLDER / name).read_text(encoding="utf-8") for name in markup.SCRIPTS)
    ids = set(Elements(client.get("/", headers=HTML).text).all("id"))
    assert set(re.findall(r'\$\("([\w-]+)"\)(?!\?)', script)) <= ids
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_each_error_code_of_a_picture_has_advice() -> None:
    script = (markup.FOLDER / "problem.js").read_text(encoding="utf-8")
    table = script[script.index("const ADVICE_BY_CODE") : script.index("};", script.index("const ADVICE_BY_CODE"))]
    codes = (
        "not_an_image too_large corrupt_image unsupported_media_type bad_url forbidden_address download_failed "
        "download_timeout download_too_large http_error too_many_redirects"
    )
    assert set(codes.split()) <= set(re.findall(r"^  (\w+):", table, re.M))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_samples_are_small_and_classified_with_confidence(path: Path) -> None:
    classifier = Classifier(path)
    pictures = markup.samples(classifier.bundle)
    assert len(pictures) >= 4
    assert len(list((path.parent / "samples").glob("*.webp"))) == len(pictures)
    for label, picture in pictures.items():
        data = picture.read_bytes()
        assert len(data) < 10_000 and dimensions(data) == (360, 360)
        answer = classifier.predict(data)
        assert next(iter(answer.probabilities)) == label and answer.confident, (label, answer)


def test_the_page_can_be_on_another_host_than_the_endpoint(model: Path, tmp_path: Path) -> None:
    endpoint = "https://abc.example.com/live/predict"
    files = markup.write(tmp_path / "site", bundles.read(model), endpoint, limit=4_500_000)
    names = [path.relative_to(tmp_path / "site").as_posix() for path in files]
    assert names == ["index.html", *markup.ASSETS, "samples/blue.webp", "samples/red.png"]
    text = files[0].read_text(encoding="utf-8")
    elements = Elements(text)
    assert elements.all("action") == [endpoint, endpoint] and elements.all("data-limit") == ["4500000"]
    assert "up to 4 MB" in text
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert "connect-src 'self' https://abc.example.com;" in policy and "frame-ancestors" not in policy
    for path in files[1:]:
        assert path.read_bytes() == (
            (markup.FOLDER / path.name).read_bytes()
            if path.name in markup.ASSETS
            else (model.parent / "samples" / path.name).read_bytes()
        )


def test_the_json_describes_the_usage(client: FlaskClient) -> None:
    assert json.loads(client.get("/").data) == {
        "model": "tiny",
        "classes": ["blue", "green", "red"],
        "usage": 'POST /predict with {"url": "https://..."}, {"image": "<base64>"}, a form file "image", or the bytes',
    }
