"""The page in a real browser, against a real server on the loopback interface."""

import base64
import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import request
from PIL import Image
from werkzeug.serving import make_server

from headstand.images import MAX_BYTES
from headstand.serve import bundle as bundles
from headstand.serve import download, flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.page import markup
from tests import skips, tiny
from tests.serve.hostile import HostileServer

pytestmark = [pytest.mark.slow, skips.chromium]
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

RED = tiny.photo((255, 0, 0))
UNCERTAIN = tiny.photo((110, 90, 70))
"""Classified as red with 47.2 %, below the threshold of the tiny model. No tie: rounding would break it either way."""


def file(data: bytes, name: str = "photo.png", kind: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


@pytest.fixture(scope="module")
def received() -> list[bytes]:
    """The bodies of all requests to the site."""
    return []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, received: list[bytes]) -> Iterator[str]:
    """The service with the tiny model and two samples; it fetches from this machine, which the real one never does."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "samples").mkdir()
    (folder / "samples" / "red.png").write_bytes(RED)
    (folder / "samples" / "green.png").write_bytes(tiny.photo((0, 255, 0)))
    classifier = Classifier(tiny.known_bundle(folder / "tiny.tflite", threshold=0.05))
    app = flask_app.create_app(classifier, fetch=lambda url: download.fetch(url, allow_loopback="127.0.0.1" in url))
    # Before the hook that responds.
    record = lambda: received.append(request.get_data()) if request.method == "POST" else None  # noqa: E731
    app.before_request_funcs[None].insert(0, record)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        # A fake camera, without a permission dialog.
        fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = running.chromium.launch(executable_path=skips.CHROMIUM, args=fake)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    yield from opened(browser, site)


def opened(browser: Any, site: str, **options: Any) -> Iterator[Any]:
    """An opened page; finally checks that it raised no error, violated no policy and contacted no other host."""
    context = browser.new_context(reduced_motion="reduce", **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Security Policy" in message.text else None)
    page.on("request", lambda sent: problems.append(sent.url) if not sent.url.startswith((site, "blob:http://127.0.0.1"))
            and "127.0.0.1" not in sent.url else None)  # fmt: skip
    page.goto(site)
    yield page
    context.close()
    assert problems == []


def answer(page: Any, label: str, heading: str = "It looks like") -> None:
    """Wait for an answer and check what is seen of it."""
    playwright.expect(page.locator("#bars li:first-child .label")).to_have_text(label)
    playwright.expect(page.locator("#verdict")).to_have_text(heading)
    playwright.expect(page.locator("#facts")).to_contain_text("Answered in")
    playwright.expect(page.locator("#problem")).to_be_empty()


def problem(page: Any, *texts: str) -> None:
    for text in texts:
        playwright.expect(page.get_by_role("alert")).to_contain_text(text)
    playwright.expect(page.locator("#answer")).to_be_hidden()


def drop(page: Any, script: str, value: Any = None) -> None:
    """Drop what the script puts into `data`, a DataTransfer."""
    data = page.evaluate_handle(f"(value) => {{ const data = new DataTransfer(); {script}; return data; }}", value)
    for kind in ("dragenter", "dragover"):
        page.dispatch_event("#stage", kind, {"dataTransfer": data})
    playwright.expect(page.locator("body.dragging")).to_have_count(1)
    page.dispatch_event("#stage", "drop", {"dataTransfer": data})
    playwright.expect(page.locator("body.dragging")).to_have_count(0)


def test_a_chosen_file_is_displayed_with_the_probabilities(page: Any) -> None:
    page.set_input_files("#file", file(RED))
    answer(page, "red")
    expected = tiny.expected((255, 0, 0))
    shown = dict(zip(page.locator(".label").all_inner_texts(), page.locator(".percent").all_inner_texts(), strict=True))
    assert shown == {label: f"{value * 100:.1f}%" for label, value in expected.items()}
    widths = page.locator(".fill").evaluate_all(
        "fills => fills.map(f => f.getBoundingClientRect().width / f.parentElement.getBoundingClientRect().width)"
    )
    assert widths[0] == pytest.approx(expected["red"], abs=0.01)
    playwright.expect(page.locator("#preview")).to_be_visible()
    playwright.expect(page.locator("#facts")).to_contain_text("40\u00a0×\u00a030\u00a0pixels")
    # The text for screen readers.
    playwright.expect(page.get_by_role("status")).to_have_text(f"red, {expected['red'] * 100:.1f}%.")


def test_the_bytes_are_sent_unchanged(page: Any, received: list[bytes]) -> None:
    with page.expect_request("**/predict") as sent:
        page.set_input_files("#file", file(RED))
    answer(page, "red")
    assert sent.value.headers["content-type"] == "image/png" and received[-1] == RED


def test_an_unknown_input_is_displayed(page: Any) -> None:
    page.set_input_files("#file", file(tiny.photo((20, 0, 0))))
    answer(page, "red", "Perhaps none of them. The nearest is")
    playwright.expect(page.locator("#low-confidence")).to_contain_text("unlike the pictures that the model was trained")
    playwright.expect(page.get_by_role("status")).to_contain_text("Perhaps none of them. The nearest is red, ")


def test_low_confidence_is_displayed(page: Any) -> None:
    page.set_input_files("#file", file(UNCERTAIN))
    answer(page, "red", "Not sure, perhaps")
    playwright.expect(page.locator("#low-confidence")).to_contain_text(
        "Predictions with a probability of 50.0% or more are confident."
    )
    playwright.expect(page.get_by_role("status")).to_contain_text("Not sure. The likeliest is red, 47.2%.")
    page.set_input_files("#file", file(RED))
    answer(page, "red")
    playwright.expect(page.locator("#low-confidence")).to_be_hidden()


def test_a_dropped_file_is_classified(page: Any) -> None:
    drop(page, "data.items.add(new File([new Uint8Array(value)], 'red.png', {type: 'image/png'}))", list(RED))
    answer(page, "red")


def test_a_dropped_link_is_classified(page: Any, server: HostileServer) -> None:
    drop(page, "data.setData('text/uri-list', value)", f"# a comment\r\n{server.url()}")
    answer(page, "red")


def test_other_dropped_items_are_an_error_and_do_not_leave_the_page(page: Any, site: str) -> None:
    drop(page, "data.setData('text/plain', 'words')")
    problem(page, "The dropped item is not a picture")
    assert page.url == site


def test_a_pasted_picture_is_classified(page: Any, site: str) -> None:
    copy_picture(page, site)
    page.keyboard.press("Control+V")
    answer(page, "red")


def test_the_paste_button_reads_the_clipboard(page: Any, site: str) -> None:
    copy_picture(page, site)
    page.get_by_role("button", name="Paste").click()
    answer(page, "red")
    page.evaluate("navigator.clipboard.writeText('words')")
    page.get_by_role("button", name="Paste").click()
    problem(page, "The clipboard contains no picture and no web address")


def test_a_forbidden_clipboard_is_an_error(page: Any) -> None:
    page.evaluate("() => { navigator.clipboard.read = async () => { throw new DOMException('', 'NotAllowedError') } }")
    page.get_by_role("button", name="Paste").click()
    problem(page, "does not allow the page to read the clipboard", "Ctrl+V")


def test_a_pasted_url_is_classified_and_its_picture_displayed(page: Any, site: str, server: HostileServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    page.evaluate("text => navigator.clipboard.writeText(text)", server.url())
    page.keyboard.press("Control+V")
    answer(page, "red")
    playwright.expect(page.locator("#url")).to_have_value(server.url())
    playwright.expect(page.locator("#preview")).to_be_visible()


def test_pasting_into_the_field_only_inserts_text(page: Any, site: str, server: HostileServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    page.evaluate("text => navigator.clipboard.writeText(text)", server.url())
    page.get_by_label("Or its web address").focus()
    page.keyboard.press("Control+V")
    playwright.expect(page.locator("#url")).to_have_value(server.url())
    assert server.requests == []
    page.keyboard.press("Enter")
    answer(page, "red")


@pytest.mark.parametrize(
    ("address", "text", "advice"),
    [
        ("http://10.0.0.1/a.png", "not public", "Save the picture and choose the file"),
        ("http://[::1]/a.png", "not public", "Save the picture"),
        ("http://user:word@127.0.0.1/a.png", "user", "https://"),
        ("ftp://example.com/a.png", "This is not a web address", "https://"),
        ("two words", "This is not a web address", "https://"),
        ("", "The address is empty", "https://"),
    ],
)
def test_a_refused_url_is_an_error_and_never_fetched_by_the_browser(
    page: Any, address: str, text: str, advice: str
) -> None:
    page.get_by_label("Or its web address").fill(address)
    page.get_by_role("button", name="Classify").click()
    problem(page, text, advice)
    playwright.expect(page.locator("#preview")).not_to_have_attribute("src", re.compile("."))


@pytest.mark.parametrize(
    ("name", "data", "text", "advice"),
    [
        ("words.txt", b"words", "not a picture", "JPEG, PNG, WebP"),
        ("photo.jxl", b"\xff\x0a\0\0", "not a picture", "Most Compatible"),
        ("cut.png", RED[:60], "damaged or cut short", "save a copy"),
        ("empty.png", b"", "The file is empty", "Choose another"),
    ],
)
def test_a_file_that_is_not_a_picture_is_an_error_with_advice(
    page: Any, name: str, data: bytes, text: str, advice: str
) -> None:
    kinds = {"txt": "text/plain", "jxl": "image/jxl", "png": "image/png"}
    page.set_input_files("#file", file(data, name, kinds[name.split(".")[1]]))
    problem(page, "This did not work", text, advice)
    playwright.expect(page.locator("#caption")).to_have_text(name)
    page.set_input_files("#file", file(RED))
    answer(page, "red")


def test_a_folder_is_an_error(page: Any, site: str, tmp_path: Path) -> None:
    """A real folder, because a script cannot create its drop event."""
    (tmp_path / "folder").mkdir()
    session = page.context.new_cdp_session(page)
    box = page.locator("#stage").bounding_box()
    data = {"items": [], "files": [str(tmp_path / "folder")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 50, "y": box["y"] + 50, "data": data})
    problem(page, "The file", "Choose")


def test_a_file_over_the_limit_is_not_sent(page: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.set_input_files("#file", large)
    problem(page, "The picture has 21.0 MB; the limit is 20 MB", "Save a smaller copy")
    assert sent == []


@pytest.mark.parametrize(
    ("answered", "text"),
    [
        ({"status": 503, "headers": {"Retry-After": "60"}, "body": "{}"}, ("The service is busy", "Try again in 60 s")),
        ({"status": 500, "json": {"error": {"code": "bug", "message": "x"}}}, ("The service failed", "Wait")),
        ({"status": 500, "body": "<html>"}, ("The service failed",)),
        ({"status": 200, "body": "<html>"}, ("not that of this service",)),
    ],
)  # fmt: skip
def test_a_request_to_a_failing_service_can_be_retried(
    page: Any, answered: dict[str, Any], text: tuple[str, ...]
) -> None:
    page.route("**/predict", lambda route: route.fulfill(**answered), times=1)
    page.set_input_files("#file", file(RED))
    problem(page, *text)
    page.get_by_role("button", name="Try again").click()
    answer(page, "red")


def test_the_page_waits_as_long_as_a_busy_service_says_and_tries_again(page: Any) -> None:
    times: list[float] = []
    past = "Wed, 21 Oct 2015 07:28:00 GMT"

    def respond(route: Any) -> None:
        times.append(time.monotonic())
        if len(times) < 3:
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="{}")
        else:
            route.continue_()

    page.route("**/predict", respond)
    page.set_input_files("#file", file(RED))
    answer(page, "red")
    assert len(times) == 3 and times[1] - times[0] >= 1 <= times[2] - times[1]
    # A date in the past, or a service that stays busy: the user decides.
    page.unroute("**/predict")
    page.route("**/predict", lambda route: route.fulfill(status=503, headers={"Retry-After": past}, body="{}"))
    page.set_input_files("#file", file(RED))
    problem(page, "The service is busy", "Wait a moment")


def test_the_page_asks_for_an_api_key_and_sends_it(page: Any) -> None:
    sent: list[str | None] = []

    def respond(route: Any) -> None:
        sent.append(route.request.headers.get("authorization"))
        if sent[-1] == "Bearer right":
            route.continue_()
        else:
            details = {"code": "unauthorized", "detail": "x"}
            route.fulfill(status=401, json=details, content_type="application/problem+json")

    page.route("**/predict", respond)
    playwright.expect(page.get_by_label("API key")).to_be_hidden()
    page.set_input_files("#file", file(RED))
    problem(page, "This service needs an API key", "Enter the key")
    for key in ("wrong", "right"):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Send").click()
        playwright.expect(page.locator("#panel")).to_have_attribute("aria-busy", "false")
    answer(page, "red")
    playwright.expect(page.get_by_label("API key")).to_be_hidden()
    page.set_input_files("#file", file(RED))
    answer(page, "red")
    assert sent == [None, "Bearer wrong", "Bearer right", "Bearer right"]


def test_a_request_to_an_unreachable_service_can_be_retried(page: Any) -> None:
    page.route("**/predict", lambda route: route.abort(), times=1)
    page.set_input_files("#file", file(RED))
    problem(page, "The server cannot be reached", "Check your connection")
    page.get_by_role("button", name="Try again").click()
    answer(page, "red")


def test_problem_details_are_displayed(page: Any) -> None:
    details = {"type": "about:blank", "title": "Too Large", "code": "too_large", "detail": "the image is 9 x 9",
               "request_id": "abc"}  # fmt: skip
    page.route(
        "**/predict", lambda route: route.fulfill(status=413, json=details, content_type="application/problem+json")
    )
    page.set_input_files("#file", file(RED))
    problem(page, "The image is 9 x 9.", "Save a smaller copy")


def test_only_the_result_of_the_last_request_is_displayed(page: Any) -> None:
    held: list[Any] = []
    page.route("**/predict", lambda route: held.append(route), times=1)
    page.set_input_files("#file", file(UNCERTAIN))
    playwright.expect(page.locator("#waiting")).to_be_visible()
    playwright.expect(page.locator("#panel")).to_have_attribute("aria-busy", "true")
    page.set_input_files("#file", file(RED))
    answer(page, "red")
    playwright.expect(page.locator("#panel")).to_have_attribute("aria-busy", "false")
    assert len(held) == 1


def test_a_sample_is_classified(page: Any) -> None:
    page.get_by_role("button", name="green").click()
    answer(page, "green")
    playwright.expect(page.get_by_role("button", name="green")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="red").click()
    answer(page, "red")
    playwright.expect(page.get_by_role("button", name="green")).to_have_attribute("aria-pressed", "false")


def test_the_camera_takes_a_picture_and_is_stopped(page: Any) -> None:
    page.get_by_role("button", name="Camera").click()
    playwright.expect(page.get_by_role("button", name="Take the picture")).to_be_enabled()  # at the first frame
    page.evaluate("window.track = document.getElementById('video').srcObject.getTracks()[0]")
    page.get_by_role("button", name="Take the picture").click()
    answer(page, "green")  # the colour of Chromium's fake camera
    assert page.evaluate("window.track.readyState") == "ended"
    playwright.expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_forbidden_or_missing_camera_is_an_error(page: Any) -> None:
    for name, text in (
        ("NotAllowedError", "does not allow the page to use the camera"),
        ("NotFoundError", "No camera"),
    ):
        page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name) } }", name
        )
        page.get_by_role("button", name="Camera").click()
        problem(page, text, "choose a picture" if name == "NotAllowedError" else "Choose a picture")


def test_the_page_can_be_used_by_keyboard(page: Any) -> None:
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.innerText.trim()"))
    assert reached == ["Skip to the picture", "file", "shoot-open", "paste", "url", "Classify", "green", "red"]
    page.keyboard.press("Enter")
    answer(page, "red")
    assert page.evaluate("document.activeElement.innerText.trim()") == "red"  # nothing takes the focus away
    with page.expect_file_chooser() as chooser:
        page.locator("#file").press("Space")
    chooser.value.set_files(file(tiny.photo((0, 255, 0))))
    answer(page, "green")
    page.locator("#shoot-open").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "shoot-open"


@pytest.mark.parametrize("width", [320, 375, 820])
def test_a_small_screen_needs_no_horizontal_scrolling_and_displays_the_result(
    browser: Any, site: str, width: int
) -> None:
    for page in opened(browser, site, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True):
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0
        playwright.expect(page.get_by_text("Tap to choose a picture")).to_be_visible()
        small = "all => all.filter(e => e.getBoundingClientRect().height < 44).map(e => e.innerText)"
        assert page.locator("button:visible, .button:visible").evaluate_all(small) == []
        page.get_by_role("button", name="red").tap()
        answer(page, "red")
        assert page.evaluate(overflow) == 0
        playwright.expect(page.locator("#bars li:first-child")).to_be_in_viewport()
        page.get_by_label("Or its web address").fill("http://10.0.0.1/" + "a" * 300)
        page.get_by_role("button", name="Classify").tap()
        problem(page, "not public")
        assert page.evaluate(overflow) == 0


def test_the_camera_app_of_a_phone_is_used(browser: Any, site: str) -> None:
    for page in opened(browser, site, viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Camera").tap()
        assert chooser.value.element.get_attribute("capture") == "environment"
        chooser.value.set_files(file(RED))
        answer(page, "red")


def test_text_can_be_read_in_dark_and_light(browser: Any, site: str) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        for page in opened(browser, site, color_scheme=scheme):
            page.set_input_files("#file", file(UNCERTAIN))
            answer(page, "red", "Not sure, perhaps")
            for selector in (
                "h1",
                ".intro p",
                "label.primary",
                "#verdict",
                "#low-confidence",
                "#facts",
                "footer p",
                ".percent",
            ):
                assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (scheme, selector)
            backgrounds.append(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]


def test_the_form_works_without_scripts(browser: Any, site: str) -> None:
    for page in opened(browser, site, java_script_enabled=False):
        page.set_input_files("#file", file(RED))
        page.locator("#picture noscript button, #picture button:visible").last.click()
        playwright.expect(page.locator("body")).to_contain_text('"red"')


def test_the_static_page_sends_json_to_the_endpoint(browser: Any, site: str, tmp_path: Path) -> None:
    bundle = bundles.read(tiny.bundle(tmp_path / "tiny.tflite"))
    endpoint = "https://api.example.com/live/predict"
    files = {path.name: path for path in markup.write(tmp_path / "site", bundle, endpoint)}
    context = browser.new_context()
    page = context.new_page()
    sent: list[dict[str, Any]] = []

    def gateway(route: Any) -> None:
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type",
                   "Access-Control-Expose-Headers": "Headstand-Confident", "Headstand-Confident": "false"}  # fmt: skip
        if route.request.method == "POST":
            sent.append(route.request.post_data_json)
        route.fulfill(headers=headers, json={"red": 0.6, "blue": 0.4})

    page.route(endpoint, gateway)
    page.route(
        "https://bucket.example.com/**", lambda route: route.fulfill(path=files[route.request.url.rsplit("/", 1)[1]])
    )
    page.goto("https://bucket.example.com/index.html")
    page.set_input_files("#file", file(RED))
    answer(page, "red", "Not sure, perhaps")
    assert list(sent[0]) == ["image"]
    assert Image.open(io.BytesIO(base64.b64decode(sent[0]["image"]))).getpixel((0, 0)) == (255, 0, 0)
    context.close()


def test_the_docs_send_a_request_and_show_the_response(browser: Any, site: str) -> None:
    for page in opened(browser, site):
        page.goto(f"{site}docs")
        page.locator("#operations-default-predict .opblock-summary").click()
        page.locator("#operations-default-predict .body-param-content-type, .content-type").first.select_option(
            "image/png"
        )
        page.set_input_files("#operations-default-predict input[type=file]", file(RED))
        page.get_by_role("button", name="Execute").click()
        playwright.expect(page.locator(".live-responses-table")).to_contain_text('"red": 0.98')
        playwright.expect(page.locator(".live-responses-table")).to_contain_text("headstand-confident: true")


def copy_picture(page: Any, site: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    page.evaluate(
        "async bytes => navigator.clipboard.write([new ClipboardItem("
        "{'image/png': new Blob([new Uint8Array(bytes)], {type: 'image/png'})})])",
        list(RED),
    )


CONTRAST = """element => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  let ground = null;
  for (let e = element; e && !ground; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) ground = colour;
  }
  const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
"""WCAG 2.2's contrast ratio of an element's text against what lies behind it."""
