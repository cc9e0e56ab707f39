import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from headstand.preparation.explore import explore_page
from headstand.preparation.explore.groups import GROUPS, MEMBERS, Groups
from headstand.preparation.explore.thumbnails import Thumbnails
from headstand.preparation.manifest import Dataset, Photo

MARKUP = "<script>alert('1')</script> & \"co\""


def png(colour: str = "red") -> bytes:
    data = BytesIO()
    Image.new("RGB", (12, 8), colour).save(data, "png")
    return data.getvalue()


def result(folder: Path, photos: list[tuple[str, str, int]]) -> Dataset:
    """A dataset of `(class, split, group)`."""
    rows = []
    for number, (name, split, group) in enumerate(photos):
        path = folder / split / name.replace("/", "_") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
        rows.append(Photo(path.relative_to(folder).as_posix(), name, split, "0" * 64, 12, 8, group))
    return Dataset(folder, tuple(rows))


def html(dataset: Dataset) -> str:
    findings = Groups.of(dataset)
    return explore_page.page(dataset, findings, Thumbnails.of(dataset, findings.photos), png("blue"))


def section(text: str, name: str) -> str:
    return re.search(rf'<section id="{name}">(.*?)</section>', text, re.DOTALL)[1]


def argv(text: str) -> list[str]:
    return [part.strip() for part in re.sub("<[^>]*>", "\n", text).split("\n") if part.strip()]


class Tags(HTMLParser):
    """Balanced tags, and every address in the page."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "data")]
        self.links += [value for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_complete_and_self_contained(tmp_path):
    dataset = result(tmp_path, [("chair", "train", 0), ("chair", "test", 1), ("to & fro#1", "validation", 2)])
    text = html(dataset)
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert len(tags.sources) == 1 + 2 + 3
    assert all(source.startswith("data:image/") for source in tags.sources)
    assert not {"script", "link", "iframe", "object", "form"} & set(tags.names)
    anchors = [link[1:] for link in tags.links if link.startswith("#")]
    assert anchors and all(f'id="{anchor}"' in text for anchor in anchors)
    files = [unquote(link) for link in tags.links if not link.startswith("#")]
    assert sorted(files) == sorted(f"../{photo.path}" for photo in dataset.photos)
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    assert dataset.digest in text


def test_counts_per_class_and_split_with_sums_and_gaps(tmp_path):
    rows = [("chair", "train", n) for n in range(3)] + [("chair", "test", 9), ("tree", "validation", 10)]
    text = section(html(result(tmp_path, rows)), "photos-per-class")
    table = argv(text)
    assert table[table.index("chair") :] == [
        "chair", "3", "0", "1", "4",
        "tree", "0", "1", "0", "1",
        "all", "3", "1", "1", "5",
    ]  # fmt: skip
    assert text.count("<td class=none>0</td>") == 3
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", text)]
    assert widths == [75, 0, 25, 75, 0, 25, 0, 25, 0, 0, 100, 0]
    assert re.findall(r"left:([\d.]+)%", text) == ["60.00", "80.00"] * 2


def test_names_and_reasons_are_escaped(tmp_path):
    dataset = result(tmp_path / "<b>data", [(MARKUP, "train", 0), (MARKUP, "test", 0), ("tree", "train", 0)])
    record = {"summary": {"left_out": [["<img src=x>.jpg", "<i>why</i>"]]}}
    (dataset.folder / "prepared.json").write_text(json.dumps(record))
    text = html(dataset)
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert "script" not in tags.names and not {"b"} & set(tags.names[: tags.names.index("section")])
    assert "x" not in tags.sources
    assert "&lt;img src=x&gt;.jpg" in text and "&lt;i&gt;why&lt;/i&gt;" in text


def test_near_duplicates_are_shown_largest_group_first(tmp_path):
    rows = [("tree", "train", 5)] + [("chair", "train", 1)] * 2 + [("cobra", "test", 2)] * 3
    rows += [("mixed", "train", 3), ("mixed", "test", 3)]
    dataset = result(tmp_path, rows)
    text = section(html(dataset), "near-duplicates")
    titles = [argv(title) for title in re.findall("<h3>(.*?)</h3>", text)]
    assert titles == [
        ["cobra", "3 photos, all in test"],
        ["chair", "2 photos, all in train"],
        ["mixed", "2 photos, in train and test"],
    ]
    assert text.count("<img") == 7


def test_label_conflicts_show_each_label(tmp_path):
    rows = [("chair", "train", 1)] * 40 + [("tree", "train", 1), ("cobra", "train", 2), ("cobra", "train", 2)]
    dataset = result(tmp_path, rows)
    text = html(dataset)
    conflict = section(text, "label-conflicts")
    assert argv(conflict)[2] == "chair 40 / tree 1"
    assert re.findall("([a-z]+)</a>", conflict) == ["chair"] * (MEMBERS - 1) + ["tree"]
    assert argv(conflict)[-1] == f"and {41 - MEMBERS} more"
    assert "<div class=warn><dt>label conflicts</dt><dd>1</dd>" in text


def test_only_the_largest_of_many_groups_are_shown(tmp_path):
    dataset = result(tmp_path, [("chair", "train", n // 2) for n in range(2 * GROUPS + 6)])
    text = section(html(dataset), "near-duplicates")
    assert text.count("<article") == GROUPS
    assert f"{GROUPS} of {GROUPS + 3} groups are shown" in text


def test_left_out_files_are_listed_by_reason_the_most_frequent_first(tmp_path):
    dataset = result(tmp_path, [("chair", "train", 0), ("tree", "test", 1)])
    left_out = [
        ["chair/x.jpg", "damaged"],
        *([f"tree/{n}.jpg", "near duplicates of yoga6"] for n in range(explore_page.FILES + 2)),
    ]
    (tmp_path / "prepared.json").write_text(json.dumps({"summary": {"left_out": left_out}}))
    text = section(html(dataset), "left-out")
    found = argv(text)
    assert found[2] == f"{explore_page.FILES + 2} photos: near duplicates of yoga6"
    assert found[-2:] == ["1 photo: damaged", "chair/x.jpg"]
    assert "and 2 more, in prepared.json" in found and f"tree/{explore_page.FILES}.jpg" not in found


def test_groups_of_the_source_are_not_listed_as_near_duplicates(tmp_path):
    dataset = result(tmp_path, [("chair", "train", 0), ("tree", "test", 0)])
    (tmp_path / "prepared.json").write_text(json.dumps({"summary": {"related": 1, "conflicts": []}}))
    text = html(dataset)
    assert "belong together according to the source" in section(text, "groups")
    assert "<div class=warn><dt>in several splits</dt><dd>1</dd>" in text
    assert argv(section(text, "label-conflicts"))[1].startswith("None")


def test_clean_data_is_reported_as_such(tmp_path):
    text = html(result(tmp_path, [("chair", "train", 0), ("tree", "test", 1)]))
    assert argv(section(text, "near-duplicates"))[1].startswith("None")
    assert argv(section(text, "label-conflicts"))[1].startswith("None")
    assert argv(section(text, "left-out"))[1].startswith("Nothing")
    assert "class=warn" not in text


def test_facts_are_at_the_top_of_the_page(tmp_path):
    dataset = result(tmp_path, [("chair", "train", 0)] * 1200 + [("tree", "test", 1)])
    photos = tuple(replace(photo, width=100, height=400) for photo in dataset.photos)
    facts = explore_page._facts(replace(dataset, photos=photos), Groups.of(dataset))
    assert [text for name, value, _ in facts for text in (name, value)] == [
        "photos", "1,201", "classes", "2", "smallest class", "1", "largest class", "1,200",
        "median side, pixels", "200", "groups of near duplicates", "1", "in several splits", "0",
        "label conflicts", "0", "left out", "0",
    ]  # fmt: skip
