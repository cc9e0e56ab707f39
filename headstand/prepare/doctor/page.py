"""`doctor.html`: the report as one file that opens anywhere, with a gallery for every finding."""

import base64
import io
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path

from PIL import Image

from headstand import files
from headstand.errors import HeadstandError
from headstand.images import decode
from headstand.prepare.doctor.examination import Exam
from headstand.prepare.doctor.findings import Case, Finding, Severity
from headstand.prepare.doctor.report import Report

SIDE = 132
"""Longer side of a thumbnail in pixels."""

QUALITY = 72
"""JPEG quality of a thumbnail; one takes about 4 kB."""

SHOWN, ABREAST = 48, 8
"""Cases in a gallery, and pictures in a case; the others are named in doctor.json."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5c6670; --paper: #fbfaf8; --card: #fff; --line: #dcd8d1;
  --error: #b3261e; --warning: #8a5a00; --note: #33658a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e3; --soft: #a2a9b0; --paper: #16191c; --card: #202529;
  --line: #363c42; --error: #ff8a80; --warning: #f6bd60; --note: #8fc1e3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 0; }
p { margin: .25rem 0 .75rem; } .soft { color: var(--soft); }
.tallies { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.tally { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; }
.tally b { display: block; font-size: 1.5rem; line-height: 1.2; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; } .error { color: var(--error); } .warning { color: var(--warning); }
.note { color: var(--note); } a { color: inherit; }
section { margin: 2rem 0; padding-top: 1rem; border-top: 2px solid var(--line); }
.gallery { display: flex; flex-wrap: wrap; gap: .75rem; align-items: flex-start; }
.case { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; max-width: 100%; }
.case > div { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; width: 132px; }
figure img, .none { display: block; width: 132px; height: 132px; object-fit: contain;
  background: repeating-conic-gradient(#8882 0 25%, #0000 0 50%) 0 0 / 16px 16px; border-radius: .25rem; }
.none { display: grid; place-items: center; color: var(--soft); font-size: 2rem; }
figcaption { font-size: .72rem; line-height: 1.3; overflow-wrap: anywhere; color: var(--soft); margin-top: .2rem; }
.detail { font-size: .8rem; margin: 0 0 .35rem; overflow-wrap: anywhere; }
.more { align-self: center; color: var(--soft); }
"""


class PageError(HeadstandError):
    """The page cannot be written."""


def write(report: Report, path: Path) -> None:
    """Write the page; a reader sees the old one or the new one.

    Raises:
        PageError: the place cannot be written to.
    """
    try:
        files.write(path, _page(report).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise PageError(f"cannot write {path}: {error.strerror or error}") from error


def _page(report: Report) -> str:
    exams = {exam.name: exam for exam in report.exams}
    name = escape(str(report.contents.root))
    picture = cache(lambda file: _picture(exams.get(file)))
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: doctor</title><style>{_STYLE}</style></head><body>",
            f'<h1>{name}</h1><p class="soft">{_LAYOUTS[report.contents.layout]}, examined by <code>python -m headstand '
            "doctor</code>.</p>",
            _tallies(report),
            _contents(report),
            _done(report),
            *(f'<p class="soft">{escape(remark)}.</p>' for remark in report.remarks),
            *(_section(found, picture) for found in report.findings),
            _counts(report),
            "</body></html>",
        ]
    )


_LAYOUTS = {
    "classes": "A folder of class folders",
    "splits": "A folder of split folders",
    "prepared": "A prepared dataset",
}


def _tallies(report: Report) -> str:
    cells = [("", len(report.usable), "usable photos"), ("", len(report.counts()), "classes")]
    for severity in Severity:
        count = sum(len(found.cases) for found in report.of(severity))
        cells.append((f"{severity}" if count else "soft", count, f"{severity}{'s' * (count != 1)}"))
    boxes = (f'<div class="tally {style}"><b>{count:,}</b>{text}</div>' for style, count, text in cells)
    return f'<div class="tallies">{"".join(boxes)}</div>'


def _contents(report: Report) -> str:
    if not report.findings:
        return "<p>Nothing to report: the folder is in good health.</p>"
    rows = (
        f'<tr><td class="{found.kind.severity}">{found.kind.severity}</td>'
        f'<td><a href="#{found.kind.code}">{escape(found.kind.title)}</a></td>'
        f'<td class="n">{len(found.cases):,}</td><td class="n">{f"{found.files:,}" if found.files else ""}</td></tr>'
        for found in report.findings
    )
    head = '<tr><th></th><th>Finding</th><th class="n">Cases</th><th class="n">Files</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _done(report: Report) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in report.done)
    return f"<h2>What was done</h2><ul>{items}</ul>" if items else ""


def _section(found: Finding, picture: Callable[[str], str]) -> str:
    kind = found.kind
    cases = "".join(_case(case, picture) for case in found.cases[:SHOWN])
    more = len(found.cases) - SHOWN
    rest = f'<p class="soft">and {more:,} more; doctor.json (--json) names them all.</p>' if more > 0 else ""
    return (
        f'<section id="{kind.code}"><h2><span class="{kind.severity}">{kind.severity}</span> {escape(kind.title)} '
        f'<span class="soft">({len(found.cases):,})</span></h2><p class="soft">{escape(kind.advice)}</p>'
        f'<div class="gallery">{cases}</div>{rest}</section>'
    )


def _case(case: Case, picture: Callable[[str], str]) -> str:
    figures = "".join(
        f"<figure>{picture(file)}<figcaption>{escape(file)}</figcaption></figure>" for file in case.files[:ABREAST]
    )
    more = len(case.files) - ABREAST
    rest = f'<span class="more">and {more:,} more</span>' if more > 0 else ""
    detail = f'<p class="detail">{escape(case.detail)}</p>' if case.detail else ""
    return f'<div class="case">{detail}<div>{figures}{rest}</div></div>'


def _counts(report: Report) -> str:
    table = report.counts()
    splits = list(next(iter(table.values()), {}))
    head = "".join(f'<th class="n">{escape(split or "photos")}</th>' for split in splits)
    rows = (
        f"<tr><td>{escape(name)}</td>" + "".join(f'<td class="n">{row[split]:,}</td>' for split in splits) + "</tr>"
        for name, row in table.items()
    )
    return f"<section><h2>Usable photos</h2><table><tr><th>Class</th>{head}</tr>{''.join(rows)}</table></section>"


def _picture(exam: Exam | None) -> str:
    """A thumbnail as it is decoded, inside the page."""
    if exam is None or exam.problem:
        return '<div class="none" title="cannot be shown">&#8709;</div>'
    scale = min(1.0, SIDE / max(exam.upright))
    width, height = (max(1, round(side * scale)) for side in exam.upright)
    try:
        pixels = decode(exam.item.path, (width, height), large=True)
    except HeadstandError:  # it was removed meanwhile
        return '<div class="none">&#8709;</div>'
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY)
    source = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{escape(exam.name)}" loading="lazy" src="data:image/jpeg;base64,{source}">'
