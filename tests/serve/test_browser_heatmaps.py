"""The page of a model of heatmaps in a real browser: it draws the skeleton that is in the file."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from werkzeug.serving import make_server

from headstand.poses import heatmap_file
from headstand.serve import flask_app
from headstand.serve.classifier import Classifier
from tests import skips, tiny
from tests.poses.heatmaps import STANDING, positions
from tests.poses.heatmaps import heatmaps as drawn
from tests.serve.test_browser import answer, browser, file, opened, playwright, problem

pytestmark = [pytest.mark.slow, skips.chromium]

__all__ = ["browser"]

PERSON = heatmap_file.encode(drawn(positions(STANDING), np.linspace(0.5, 0.9, 17)[::-1]))

PIXEL = """(image, [x, y]) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return [...pen.getImageData(x, y, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "samples").mkdir()
    (folder / "samples" / "nose.npy").write_bytes(PERSON)
    app = flask_app.create_app(Classifier(tiny.heatmaps_bundle(folder / "poses.tflite", threshold=0.0)))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    yield from opened(browser, site)


def test_a_chosen_file_is_drawn_and_classified(page: Any) -> None:
    page.set_input_files("#file", file(PERSON, "person.npy", ""))
    answer(page, "nose")
    preview = page.locator("#preview")
    playwright.expect(preview).to_be_visible()
    assert preview.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [48 * 8, 64 * 8]
    # The middles of the left and the right shin, and an empty corner: blue, orange and white.
    shins = [(np.array(STANDING[f"{side}_knee"]) + STANDING[f"{side}_ankle"]) / 2 for side in ("left", "right")]
    found = [preview.evaluate(PIXEL, [round((x + 0.5) * 8), round((y + 0.5) * 8)]) for x, y in [*shins, (2, 2)]]
    assert found == [[0x2A, 0x78, 0xB8], [0xC8, 0x64, 0x1E], [255, 255, 255]]
    playwright.expect(page.locator("#facts")).not_to_contain_text("pixels")


def test_a_sample_is_drawn_and_classified(page: Any) -> None:
    sample = page.locator("[data-sample]")
    playwright.expect(page.locator("[data-heatmaps]")).to_have_js_property("naturalWidth", 384)
    sample.click()
    answer(page, "nose")


def test_a_file_without_heatmaps_is_an_error_with_advice(page: Any) -> None:
    page.set_input_files("#file", file(tiny.photo()))
    problem(page, "not a NumPy array file", "numpy.save")
    playwright.expect(page.locator("#preview")).to_be_hidden()


def test_camera_and_paste_are_hidden(page: Any) -> None:
    for name in ("#shoot-open", "#paste"):
        playwright.expect(page.locator(name)).to_be_hidden()
    playwright.expect(page.get_by_role("heading", level=1)).to_contain_text("heatmaps")
    playwright.expect(page.locator("#program")).to_contain_text("@person.npy")
