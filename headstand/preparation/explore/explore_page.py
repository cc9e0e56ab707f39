"""HTML report of the exploratory data analysis of a prepared dataset: one page with embedded images."""

import math
from collections import Counter
from io import BytesIO
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from PIL import Image

from headstand.html_layout import breakable, image, render
from headstand.preparation.explore.groups import GROUPS, MEMBERS, Groups, sample
from headstand.preparation.explore.thumbnails import AVERAGED, FEW, SHOWN, Thumbnails, stretched
from headstand.preparation.manifest import SPLITS, Dataset, Photo
from headstand.preparation.summary import counts

FILES = 500
"""Maximum number of left-out files that are listed per reason."""


def page(dataset: Dataset, findings: Groups, thumbnails: Thumbnails, sizes: bytes) -> str:
    """Returns the report as HTML.

    Args:
        dataset: the prepared dataset; relative links to its files work if the page is in its `explore/`.
        findings: findings of this dataset.
        thumbnails: thumbnails of this dataset and of `findings.photos`.
        sizes: plot of photo sizes, PNG.
    """
    name = dataset.folder.resolve().name
    table = counts(dataset)
    totals = {split: sum(line[split] for line in table.values()) for split in SPLITS}
    return render(
        "explore",
        f"{name}: photos of the dataset",
        name=name,
        side=thumbnails.side,
        facts=_facts(dataset, findings),
        counts=table,
        totals=totals,
        most=max(sum(line.values()) for line in table.values()),
        edges=[totals["train"] / len(dataset.photos), 1 - totals["test"] / len(dataset.photos)],
        plot=image("png", sizes, {"class": "plot", "alt": "photo sizes and shapes by class"}),
        classes=[_class(class_, line, thumbnails) for class_, line in table.items()],
        conflicts={
            "count": len(findings.conflicts),
            "cards": [_conflict(group, thumbnails) for group in findings.conflicts[:GROUPS]],
        },
        groups={
            "count": len(findings.groups),
            "cards": [_group(group, thumbnails) for group in findings.groups[:GROUPS]],
        },
        related=findings.related,
        left_out=findings.left_out,
        limits={"averaged": AVERAGED, "shown": SHOWN, "few": FEW, "files": FILES},
        digest=dataset.digest,
    )


def _facts(dataset: Dataset, findings: Groups) -> list[tuple[str, str, bool]]:
    """Returns name and value of each key figure, and whether it is a warning."""
    sizes = Counter(photo.class_ for photo in dataset.photos)
    side = median(math.sqrt(photo.width * photo.height) for photo in dataset.photos)
    return [
        ("photos", f"{len(dataset.photos):,}", False),
        ("classes", f"{len(sizes):,}", False),
        ("smallest class", f"{min(sizes.values()):,}", False),
        ("largest class", f"{max(sizes.values()):,}", False),
        ("median side, pixels", f"{side:,.0f}", False),
        ("groups" if findings.related else "groups of near duplicates", f"{len(findings.groups):,}", False),
        ("in several splits", f"{findings.in_several_splits:,}", bool(findings.in_several_splits)),
        ("label conflicts", f"{len(findings.conflicts):,}", bool(findings.conflicts)),
        ("left out", f"{sum(map(len, findings.left_out.values())):,}", False),
    ]


def _class(name: str, line: dict[str, int], thumbnails: Thumbnails) -> dict[str, Any]:
    mean = _picture(stretched(thumbnails.means[name]), f"mean of {name}", {"class": "mean"}, thumbnails.side)
    remark = " · ".join(f"{line[split]:,} {split}" for split in SPLITS)
    return {
        "name": name,
        "remark": remark,
        "photos": [mean, *(_linked(photo, thumbnails) for photo in thumbnails.shown[name])],
    }


def _conflict(group: list[Photo], thumbnails: Thumbnails) -> dict[str, Any]:
    labels = Counter(photo.class_ for photo in group).most_common()
    return {"labels": labels, **_members(group, thumbnails, True)}


def _group(group: list[Photo], thumbnails: Thumbnails) -> dict[str, Any]:
    splits = [split for split in SPLITS if any(photo.split == split for photo in group)]
    where = f"all in {splits[0]}" if len(splits) == 1 else f"in {' and '.join(splits)}"
    names = list(dict.fromkeys(photo.class_ for photo in group))
    return {"names": names, "remark": f"{len(group):,} photos, {where}", **_members(group, thumbnails, False)}


def _members(group: list[Photo], thumbnails: Thumbnails, labelled: bool) -> dict[str, Any]:
    photos = [_linked(photo, thumbnails, photo.class_ if labelled else "") for photo in sample(group)]
    return {"photos": photos, "more": len(group) - MEMBERS}


def _linked(photo: Photo, thumbnails: Thumbnails, caption: str = "") -> Markup:
    picture = _picture(thumbnails.pictures[photo.path], photo.path)
    link = Markup('<a href="../{}" title="{}">{}{}</a>')
    return link.format(quote(photo.path), photo.original_name or photo.path, picture, breakable(caption))


def _picture(
    pixels: np.ndarray, text: str, attributes: dict[str, str] | None = None, side: int | None = None
) -> Markup:
    data = BytesIO()
    Image.fromarray(pixels).save(data, "webp", quality=75)
    height, width = (side, side) if side else pixels.shape[:2]
    return image("webp", data.getvalue(), {**(attributes or {}), "width": width, "height": height, "alt": text})
