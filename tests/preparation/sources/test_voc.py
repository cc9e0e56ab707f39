import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.preparation.sources import voc
from headstand.preparation.sources.voc import Box, VocError, parse

DOG = """<annotation>
  <folder>02086240</folder><filename>n02086240_1011</filename>
  <size><width>500</width><height>375</height><depth>3</depth></size>
  <object><name>Shih-Tzu</name><pose>Unspecified</pose>
    <bndbox><xmin>25</xmin><ymin>10.5</ymin><xmax>276</xmax><ymax>375</ymax></bndbox></object>
</annotation>"""


def element(name: str, *edges: object) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=False)
    box = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in tags)
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def annotation(*elements: str, more: str = "") -> bytes:
    return f"<annotation>{more}{''.join(elements)}</annotation>".encode()


def test_reads_name_size_and_boxes():
    found = parse(DOG.encode())
    assert found.filename == "n02086240_1011"
    assert found.size == (500, 375)
    (dog,) = found.objects
    assert (dog.name, dog.box, dog.fault) == ("Shih-Tzu", Box(25, 10.5, 276, 375), "")


def test_objects_keep_their_order_and_their_number():
    found = parse(annotation(element("cat", 1, 2, 3, 4), element("dog", 9, 9, 2, 12), element(" cow ", 5, 6, 7, 8)))
    assert [t.name for t in found.objects] == ["cat", "dog", "cow"]
    assert [t.box for t in found.objects] == [Box(1, 2, 3, 4), None, Box(5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("edges", "fault"),
    [
        ((9, 1, 3, 4), "an inverted box (9, 1, 3, 4)"),
        ((1, 9, 3, 4), "an inverted box (1, 9, 3, 4)"),
        ((3, 1, 3, 4), "an empty box (3, 1, 3, 4)"),
        ((1, 4, 3, 4), "an empty box (1, 4, 3, 4)"),
        ((1, 2, 3), "an object without a box"),
        ((1, 2, 3, "wide"), "an object without a box"),
        ((1, 2, 3, "nan"), "an object without a box"),
        ((1, 2, 3, "inf"), "an object without a box"),
        ((1, 2, 3, "1" * 400), "an object without a box"),
        ((), "an object without a box"),
    ],
)
def test_invalid_boxes_are_reported(edges, fault):
    (found,) = parse(annotation(element("dog", *edges))).objects
    assert (found.box, found.fault) == (None, fault)


def test_boxes_of_parts_are_not_objects_boxes():
    head = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    (found,) = parse(annotation(f"<object><name>person</name>{head}</object>")).objects
    assert (found.name, found.box) == ("person", None)


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>"])
def test_a_missing_size_is_none(size):
    assert parse(annotation(element("dog", 1, 2, 3, 4), more=size)).size is None


def test_other_encodings_that_hold_ascii_are_read():
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + annotation(element("châtaigne", 1, 2, 3, 4)).decode()
    assert parse(text.encode("latin-1")).objects[0].name == "châtaigne"


BOMB = (
    '<!DOCTYPE annotation [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><annotation><filename>&i;</filename></annotation>"
)
OUTSIDE = (
    '<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><filename>&a;</filename></annotation>'
)
REMOTE = '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, REMOTE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_document_types_are_refused_in_every_encoding(text, encoding):
    with pytest.raises(VocError, match="declares a document type or is not in UTF-8"):
        parse(text.encode(encoding))


def test_a_document_type_in_an_encoding_without_ascii_letters_is_refused_too():
    for encoding in ("utf-7", "cp037", "utf-16"):
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        with pytest.raises(VocError):
            parse((head + BOMB).encode(encoding))
        with pytest.raises(VocError):
            parse(head.encode() + BOMB.encode(encoding))


def test_undeclared_entities_are_refused():
    with pytest.raises(VocError, match="undefined entity"):
        parse(b"<annotation><filename>&a;</filename></annotation>")


def test_too_large_is_refused_before_it_is_parsed():
    data = annotation(element("dog", 1, 2, 3, 4))
    padded = data + b" " * (voc.MAX_BYTES - len(data))
    assert len(parse(padded).objects) == 1
    with pytest.raises(VocError, match="more than 1,048,576 bytes"):
        parse(padded + b" ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not XML"),
        (b"\xff\xd8\xff\xe0 a photo", "is not XML"),
        (DOG.encode()[:200], "is not XML"),
        (b'<?xml version="1.0" encoding="no-such-thing"?><annotation/>', "is not XML"),
        (b"<html><body/></html>", "its root is <html>"),
        (b"<" + b"a" * 500 + b"/>", "its root is <a{40}>"),
    ],
)
def test_a_file_that_is_not_an_annotation_is_reported(data, message):
    with pytest.raises(VocError, match=message):
        parse(data)


def test_deep_nesting_is_accepted():
    deep = b"<annotation>" + b"<a>" * 10_000 + b"</a>" * 10_000 + b"</annotation>"
    assert parse(deep).objects == ()


@settings(max_examples=50)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: DOG[:150].encode() + text.encode()))
def test_any_bytes_are_read_or_refused(data):
    try:
        parse(data)
    except VocError as error:
        assert "\n" not in str(error)


@given(st.tuples(*[st.floats(-1e4, 1e4)] * 4))
def test_a_box_has_an_area_or_is_none(edges):
    (found,) = parse(annotation(element("dog", *(repr(edge) for edge in edges)))).objects
    left, top, right, bottom = edges
    assert (found.box is not None) == (left < right and top < bottom)
    assert found.box is None or found.box == Box(*edges)
    assert bool(found.fault) == (found.box is None)
