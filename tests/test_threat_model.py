"""docs/threat-model.md refers to code and tests, which must exist; its limits must be those of the code."""

import ast
import re
from pathlib import Path

import pytest

from headstand.images import encoded
from headstand.serve import download, form, predictor, worker
from headstand.serve.content import MAX_BODY
from headstand.serve.download import transport
from tests.images import test_encoded
from tests.serve import test_ceiling

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_referenced_test_exists(file: str, name: str) -> None:
    names = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert name in names


def test_each_referenced_file_exists() -> None:
    named = set(re.findall(r"`((?:headstand|tests)/[\w/]+\.py|gunicorn\.conf\.py)`", TEXT))
    assert len(named) > 12 and [file for file in sorted(named) if not (ROOT / file).is_file()] == []


def test_each_threat_has_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    start = rows.index("| threat | defence | test |")
    threats = [row for row in rows[start:] if row != "| threat | defence | test |"]
    assert len(threats) > 40 and [row for row in threats if "::test_" not in row] == []


def test_the_limits_are_those_of_the_code() -> None:
    documented = {row.split(" | ")[0][2:]: row.split(" | ")[1] for row in TEXT.splitlines() if row.count(" | ") == 1}
    assert documented["one image, encoded"].startswith(f"{encoded.MAX_BYTES // 2**20} MiB")
    assert documented["one image, in pixels"].startswith(f"{encoded.MAX_PIXELS // 10**6} million; 16 million for WebP")
    assert documented["longest side"].startswith(f"{encoded.MAX_SIDE:,} ")
    assert documented["memory to decode one image"].startswith(f"{test_encoded.CEILING} MB;")
    assert f"{test_encoded.ORDINARY} MB each" in documented["memory to decode one image"]
    assert f"below {test_ceiling.CEILING:,} MB" in documented["memory of a worker, two interpreters"]
    assert documented["one download"].startswith(
        f"{download.TIMEOUT:g} s in all, {encoded.MAX_BYTES // 2**20} MiB, {download.MAX_REDIRECTS} redirects"
    )
    limits = (transport.MAX_LINES, transport.MAX_LINE_BYTES // 1024, transport.MIN_PIECE, transport.FREE_PIECES)
    assert [
        int(text.replace(",", "")) for text in re.findall(r"\d[\d,]*", documented["one download"].partition(";")[2])
    ] == [*limits]
    assert (
        documented["one form"] == f"{form._MAX_PARTS} parts, each with 8 header lines of {form._MAX_HEADER:,} bytes |"
    )
    assert documented["one URL"] == f"{download.MAX_URL:,} characters |"
    assert documented["one request's way in"].startswith(
        f"{worker.RECEIVE_SECONDS:g} s, headers and body; {round(MAX_BODY / 2**20)} MiB"
    )
    assert documented["a batch"].startswith(f"no image is begun after {predictor.BATCH_SECONDS:g} s")
