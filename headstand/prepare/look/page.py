"""A look at a prepared dataset in one HTML page that needs nothing beside it: its pictures lie inside."""

import base64
import math
from collections import Counter
from html import escape
from io import BytesIO
from pathlib import Path
from statistics import median
from urllib.parse import quote

import numpy as np
from PIL import Image

from headstand.prepare.look.findings import GROUPS, MEMBERS, Findings, some
from headstand.prepare.look.thumbnails import AVERAGED, FEW, SHOWN, Thumbnails, stretched
from headstand.prepare.manifest import SPLITS, Dataset, Photo
from headstand.prepare.summary import counts

FILES = 500
"""Most files that are named for one reason to leave them out."""


def page(dataset: Dataset, findings: Findings, thumbnails: Thumbnails, sizes: bytes) -> str:
    """The page.

    Args:
        dataset: what it is about; links lead to its files while the page lies in its `look/`.
        findings: of this dataset.
        thumbnails: of this dataset and `findings.photos`.
        sizes: the plot of photo sizes, PNG.
    """
    name = escape(dataset.folder.resolve().name)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    sections = {
        "Photos per class": _counts(dataset),
        "Sizes": f'<img class="plot" src="{_uri("png", sizes)}" alt="photo sizes and shapes by class">',
        "Classes": _classes(dataset, thumbnails),
        "Label conflicts": _conflicts(findings, thumbnails),
        "Groups" if findings.related else "Twins": _groups(findings, thumbnails),
        "Left out": _left_out(findings),
    }
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in sections)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{title}</h2>{text}</section>' for title, text in sections.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: a look at the data</title><style>{style}</style></head>"
        f'<body style="--side:{thumbnails.side}px">'
        f"<header><h1>{name}</h1>{_facts(dataset, findings)}<nav>{links}</nav></header>{body}"
        "<footer>Made by <code>data_preparation.py</code>. A photo leads to its file while this page lies in the "
        f"dataset's folder.<br>Manifest <code>{dataset.digest}</code></footer></body></html>\n"
    )


def _facts(dataset: Dataset, findings: Findings) -> str:
    sizes = Counter(photo.class_ for photo in dataset.photos)
    side = median(math.sqrt(photo.width * photo.height) for photo in dataset.photos)
    facts = [
        ("photos", f"{len(dataset.photos):,}", False),
        ("classes", f"{len(sizes):,}", False),
        ("smallest class", f"{min(sizes.values()):,}", False),
        ("largest class", f"{max(sizes.values()):,}", False),
        ("median side, pixels", f"{side:,.0f}", False),
        ("groups" if findings.related else "groups of twins", f"{len(findings.groups):,}", False),
        ("in several splits", f"{findings.straddling:,}", bool(findings.straddling)),
        ("label conflicts", f"{len(findings.conflicts):,}", bool(findings.conflicts)),
        ("left out", f"{sum(map(len, findings.left_out.values())):,}", False),
    ]
    tiles = (f"<div{' class=warn' * warn}><dt>{name}</dt><dd>{value}</dd></div>" for name, value, warn in facts)
    return f'<dl class="facts">{"".join(tiles)}</dl>'


def _counts(dataset: Dataset) -> str:
    table = counts(dataset)
    most = max(sum(line.values()) for line in table.values())
    whole = {split: sum(line[split] for line in table.values()) for split in SPLITS}
    edges = [whole["train"] / len(dataset.photos), 1 - whole["test"] / len(dataset.photos)]
    marks = "".join(f'<b style="left:{edge:.2%}"></b>' for edge in edges)
    keys = "".join(f'<th scope="col"><i class="key {split}"></i>{split}</th>' for split in SPLITS)
    rows = []
    for name, line in table.items():
        cells = "".join(f"<td{'' if line[split] else ' class=none'}>{line[split]:,}</td>" for split in SPLITS)
        count = sum(line.values())
        rows.append(
            f'<tr><th scope="row">{_name(name)}</th>{cells}<td>{count:,}</td>'
            f'<td class="bar">{_bar(line, most)}</td><td class="bar">{_bar(line, count, marks)}</td></tr>'
        )
    foot = "".join(f"<td>{total:,}</td>" for total in [*whole.values(), len(dataset.photos)])
    return (
        f'<table><thead><tr><th scope="col">class</th>{keys}<th scope="col">all</th><th class="bar">photos</th>'
        f'<th class="bar">shares; lines: of all classes</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        f'<tfoot><tr><th scope="row">all</th>{foot}<td></td><td></td></tr></tfoot></table>'
    )


def _bar(line: dict[str, int], whole: int, marks: str = "") -> str:
    parts = "".join(f'<i class="{split}" style="width:{line[split] / whole:.2%}"></i>' for split in SPLITS)
    return f"<span>{parts}{marks}</span>"


def _classes(dataset: Dataset, thumbnails: Thumbnails) -> str:
    cards = []
    for name, line in counts(dataset).items():
        mean = _picture(stretched(thumbnails.means[name]), f"mean of {name}", "mean", thumbnails.side)
        photos = "".join(_linked(photo, thumbnails) for photo in thumbnails.shown[name])
        numbers = " · ".join(f"{line[split]:,} {split}" for split in SPLITS)
        cards.append(_card(_name(name), numbers, mean + photos))
    return (
        f"<p>First the mean of the class's photos ({AVERAGED} at most, contrast stretched), "
        f"then {SHOWN}, evenly from its list.</p>"
        f'<div class="cards{" few" * (len(cards) <= FEW)}">{"".join(cards)}</div>'
    )


def _conflicts(findings: Findings, thumbnails: Thumbnails) -> str:
    if not findings.conflicts:
        return "<p>None: no picture is found under two labels.</p>"
    cards = []
    for group in findings.conflicts[:GROUPS]:
        labels = Counter(photo.class_ for photo in group).most_common()
        title = " / ".join(f"{_name(name)} {count}" for name, count in labels)
        cards.append(_card(title, "", _members(group, thumbnails, True), " labelled"))
    return (
        "<p>Twins under different labels: one of the labels is wrong, or the photo belongs to both classes."
        f'{_cut(findings.conflicts)}</p><div class="cards">{"".join(cards)}</div>'
    )


def _groups(findings: Findings, thumbnails: Thumbnails) -> str:
    if not findings.groups:
        return "<p>None: no two photos show the same picture.</p>"
    cards = []
    for group in findings.groups[:GROUPS]:
        splits = [split for split in SPLITS if any(photo.split == split for photo in group)]
        where = f"all in {splits[0]}" if len(splits) == 1 else f"in {' and '.join(splits)}"
        title = " / ".join(_name(name) for name in dict.fromkeys(photo.class_ for photo in group))
        cards.append(_card(title, f"{len(group):,} photos, {where}", _members(group, thumbnails, False)))
    also = " Photos that belong together, as the source says, are in them too." if findings.related else ""
    return (
        "<p>Photos that show the same picture: copies, scaled, mirrored or slightly cropped; the largest groups first."
        f'{also}{_cut(findings.groups)}</p><div class="cards">{"".join(cards)}</div>'
    )


def _left_out(findings: Findings) -> str:
    if not findings.left_out:
        return "<p>Nothing: every photo of the source is used.</p>"
    parts = []
    for reason, files in findings.left_out.items():
        names = "".join(f"<li>{escape(file)}</li>" for file in files[:FILES])
        more = f"<li>and {len(files) - FILES:,} more, in prepared.json</li>" if len(files) > FILES else ""
        parts.append(
            f"<details{' open' * (len(files) <= 10)}><summary>{len(files):,} "
            f"photo{'s' * (len(files) > 1)}: {escape(reason)}</summary><ul>{names}{more}</ul></details>"
        )
    return "<p>Files of the source that are not in the dataset.</p>" + "".join(parts)


def _members(group: list[Photo], thumbnails: Thumbnails, labelled: bool) -> str:
    photos = "".join(_linked(photo, thumbnails, photo.class_ if labelled else "") for photo in some(group))
    return photos + (f"and {len(group) - MEMBERS} more" if len(group) > MEMBERS else "")


def _cut(groups: list[list[Photo]]) -> str:
    return f" {GROUPS} of {len(groups):,} groups are shown." if len(groups) > GROUPS else ""


def _card(title: str, remark: str, photos: str, kind: str = "") -> str:
    small = f"<small>{remark}</small>" if remark else ""
    return f'<article class="card"><h3>{title}{small}</h3><div class="photos{kind}">{photos}</div></article>'


def _linked(photo: Photo, thumbnails: Thumbnails, caption: str = "") -> str:
    path = escape(photo.path)
    picture = _picture(thumbnails.pictures[photo.path], path)
    return f'<a href="../{quote(photo.path)}" title="{path}">{picture}{_name(caption)}</a>'


def _picture(pixels: np.ndarray, text: str, kind: str = "", side: int | None = None) -> str:
    data = BytesIO()
    Image.fromarray(pixels).save(data, "webp", quality=75)
    height, width = (side, side) if side else pixels.shape[:2]
    attribute = f'class="{kind}" ' if kind else ""
    return (
        f'<img {attribute}src="{_uri("webp", data.getvalue())}" width="{width}" height="{height}" alt="{escape(text)}">'
    )


def _name(text: str) -> str:
    """A class's name, which may break after its underscores."""
    return escape(text).replace("_", "_<wbr>")


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
