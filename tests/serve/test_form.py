import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.serve.form import parse
from headstand.serve.payload import PayloadError

NAMES = st.text("abcdefgh", max_size=5)
BYTES = st.binary(max_size=300) | st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"--edge", b"x"])).map(b"".join)  # fmt: skip


@given(st.lists(st.tuples(NAMES, NAMES, BYTES), max_size=5))
def test_every_byte_of_a_file_arrives(files: list[tuple[str, str, bytes]]) -> None:
    edge = b"e5f1d0ba3c"
    if any(edge in data for _, _, data in files):
        return
    body = b"".join(
        b"--%b\r\nContent-Disposition: form-data; name=%b; filename=\"%b\"\r\nContent-Type: image/png\r\n\r\n%b\r\n"
        % (edge, name.encode(), filename.encode(), data)
        for name, filename, data in files if name
    )  # fmt: skip
    form = parse(f'multipart/form-data; boundary="{edge.decode()}"', body + b"--" + edge + b"--\r\n")
    assert form.files == [file for file in files if file[0]] and form.fields == {}


@settings(max_examples=30)  # each is parsed nine times
@given(st.binary(max_size=400), st.text(max_size=40))
def test_a_damaged_form_always_raises_a_payload_error(noise: bytes, text: str) -> None:
    for kind in ("multipart/form-data; boundary=edge", f"multipart/form-data; boundary={text}", text):
        for body in (noise, b"--edge\r\n" + noise, b'--edge\r\nContent-Disposition: form-data; name="a"\r\n' + noise):
            try:
                parse(kind, body)
            except PayloadError as error:
                assert error.code == "bad_request"


def test_a_transfer_encoding_is_decoded() -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--edge--\r\n"
    )
    assert parse("multipart/form-data; boundary=edge", body).image() == b"\x00\x01\x02"


def test_without_a_chosen_file_there_is_no_image() -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttps://\xc3\xa4.example\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="url"\r\n\r\nsecond\r\n--edge--\r\n'
    )
    form = parse("multipart/form-data; boundary=edge", body)
    assert form.image() is None and form.fields == {"url": "https://ä.example"}


def test_a_damaged_form_is_a_client_error() -> None:
    for body in (b"", b"--edge\r\n\r\n\r\n--edge--", b"--other--"):
        with pytest.raises(PayloadError):
            parse("multipart/form-data; boundary=edge", body)


def part(header: bytes, data: bytes = b"x") -> bytes:
    return b"--edge\r\n" + header + b"\r\n\r\n" + data + b"\r\n"


NAMED = b'Content-Disposition: form-data; name="image"; filename="%b"'
KIND = "multipart/form-data; boundary=edge"


def code_of(body: bytes, kind: str = KIND) -> str:
    with pytest.raises(PayloadError) as excinfo:
        parse(kind, body + b"--edge--\r\n")
    return excinfo.value.code


@pytest.mark.parametrize(
    "header",
    [
        NAMED % (b"a" * 2_000_000),
        NAMED % b"a" + b";" * 2_000_000,
        NAMED % b"a" + b"\r\nX: " + b"a" * 2_000_000,
        b"a" * 2_000_000 + b": b\r\n" + NAMED % b"a",
        NAMED % b"a" + b"\r\na: b" * 8,
        NAMED % b"a" + b"\r\na: b" * 1_000_000,
    ],
    ids=range(6),
)
def test_a_part_has_8_headers_of_1536_bytes(header: bytes) -> None:
    assert code_of(part(header)) == "bad_request"


def test_the_longest_header_of_a_part_is_parsed() -> None:
    longest = "ä" * 255  # what file systems allow, percent-encoded by some clients
    filename = "".join(f"%{byte:02X}" for byte in longest.encode()).encode()
    name = filename[: 1536 - len(NAMED % b"")]
    form = parse(KIND, part(NAMED % name + b"\r\na: b" * 7) + b"--edge--\r\n")
    assert form.files == [("image", name.decode(), b"x")] and len(name) > 1400
    assert code_of(part(NAMED % (name + b"a"))) == "bad_request"


def test_a_form_has_200_parts() -> None:
    parts = [part(NAMED % b"%d" % at) for at in range(201)]
    assert len(parse(KIND, b"".join(parts[:200]) + b"--edge--\r\n").files) == 200
    assert code_of(b"".join(parts)) == "request_entity_too_large"


def test_a_content_type_has_512_characters() -> None:
    body = part(NAMED % b"a")
    assert parse(KIND + ";" * (512 - len(KIND)), body + b"--edge--\r\n").image() == b"x"
    assert code_of(body, KIND + ";" * (513 - len(KIND))) == "bad_request"
    assert code_of(body, "multipart/form-data; boundary=" + "e" * 1_000_000) == "bad_request"


def test_what_the_library_refuses_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for body in (b"secret", part(b"secret"), part(NAMED % b"a" + b"\r\nContent-Transfer-Encoding: secret")):
        with contextlib.suppress(PayloadError):
            parse(KIND, body + b"--edge--\r\n")
    assert caplog.records == []
