import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.images import decode
from headstand.preparation.doctor import doctor_page, examine
from tests.preparation.doctor.faults import encoded, healthy, photo


def test_the_page_is_self_contained_and_names_are_escaped(tmp_path):
    folder = healthy(tmp_path / "photos <b>")
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = photo("tree", 44).resize((200, 110))
    (folder / "tree/<i>.jpg").write_bytes(encoded(wide, exif=exif))
    (folder / "tree/short.jpg").write_bytes(encoded(photo("tree", 31))[:2000])
    doctor_page.write(examine(folder), tmp_path / "out/doctor.html")
    text = (tmp_path / "out/doctor.html").read_text()
    assert "tree/&lt;i&gt;.jpg" in text and "<i>" not in text and "<b>.jpg" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert re.findall(r'<section id="(\w+)"', text) == ["truncated", "exif_turn"]
    pictures = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", text)
    assert len(pictures) == 1
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))), dtype=int)
    assert shown.shape[:2] == (doctor_page.SIDE, round(doctor_page.SIDE * 110 / 200))  # upright
    expected = decode(folder / "tree/<i>.jpg", (shown.shape[1], shown.shape[0]))
    assert np.abs(shown - expected).mean() < 6
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["doctor.html"]


def test_a_long_gallery_is_shortened_with_a_note(tmp_path):
    folder = healthy(tmp_path / "photos")
    for number in range(doctor_page.SHOWN + 3):
        (folder / "tree" / f"none{number}.jpg").write_bytes(b"")
    doctor_page.write(examine(folder), tmp_path / "doctor.html")
    text = (tmp_path / "doctor.html").read_text()
    assert text.count("<figure>") == doctor_page.SHOWN
    assert "and 3 more" in text


def test_a_healthy_folder_is_reported_as_such(tmp_path):
    doctor_page.write(examine(healthy(tmp_path / "photos", count=3)), tmp_path / "doctor.html")
    assert "<p>No findings.</p>" in Path(tmp_path / "doctor.html").read_text()
