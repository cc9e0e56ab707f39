"""Kinds of findings of the data quality check, each with a severity and advice."""

from dataclasses import dataclass
from enum import StrEnum

from headstand.images.encoded import OWN_BYTES, OWN_PIXELS


class Severity(StrEnum):
    """Severity of a finding.

    An error makes metrics wrong or files unusable, a warning should be reviewed, a note is for information.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class IssueType:
    """A kind of finding.

    Attributes:
        code: stable identifier for programs.
        severity: severity of all findings of this kind.
        title: heading for readers.
        advice: recommended action for readers.
    """

    code: str
    severity: Severity
    title: str
    advice: str


@dataclass(frozen=True)
class IssueCase:
    """One instance of a finding.

    Attributes:
        files: paths of the affected files relative to the checked folder.
        detail: description of this instance.
    """

    files: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Issue:
    """A kind of finding with all its cases, the worst first."""

    kind: IssueType
    cases: tuple[IssueCase, ...]

    @property
    def files(self) -> int:
        """Number of distinct files in the cases."""
        return len({file for case in self.cases for file in case.files})


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_LEFT_OUT = "A preparation leaves such files out."

ISSUE_TYPES = {
    kind.code: kind
    for kind in (
        IssueType("empty_file", _ERROR, "Empty files",
                  f"They have no bytes: fetch them again or delete them. {_LEFT_OUT}"),
        IssueType("not_an_image", _ERROR, "Files that are not images",
                  f"Their names have the extension of an image, their content is something else. {_LEFT_OUT}"),
        IssueType("unsupported_format", _ERROR, "Images of unsupported formats",
                  f"Convert them to JPEG or PNG. {_LEFT_OUT}"),
        IssueType("truncated", _ERROR, "Cut-short images",
                  f"Part of the picture is missing: fetch them again. {_LEFT_OUT}"),
        IssueType("damaged", _ERROR, "Damaged images", f"They cannot be decoded: fetch them again. {_LEFT_OUT}"),
        IssueType("too_large", _ERROR, "Images too large to decode safely",
                  "The services refuse them too: scale them down, or prepare with --source.large true, which uses "
                  f"photos of up to {OWN_BYTES // 2**20} MiB and {OWN_PIXELS // 10**6} million pixels. {_LEFT_OUT}"),
        IssueType("unreadable", _ERROR, "Files that cannot be read", f"Check their permissions. {_LEFT_OUT}"),
        IssueType("changed_file", _ERROR, "Prepared files that have changed",
                  "Their bytes are not those of the manifest: prepare again."),
        IssueType("missing_file", _ERROR, "Files that are missing",
                  "The manifest or table lists them: restore them or prepare again."),
        IssueType("leak", _ERROR, "The same picture in more than one split",
                  "Metrics on such photos are too optimistic: keep all copies in one split."),
        IssueType("label_conflict", _ERROR, "The same picture under more than one class",
                  "One of the labels is wrong: decide, and delete the other copies."),
        IssueType("one_class", _ERROR, "Fewer than two classes", "A classifier needs two classes or more."),
        IssueType("empty_class", _ERROR, "Classes without a usable photo", "Fill or remove them."),
        IssueType("too_few", _ERROR, "Too few different photos in a class",
                  "Each class needs three photos that are not copies of each other, one for each split."),
        IssueType("likely_leak", _WARNING, "Probably the same picture in more than one split",
                  "They match after a rotation or crop: compare them and keep copies in one split."),
        IssueType("likely_label_conflict", _WARNING, "Probably the same picture under more than one class",
                  "They match after a rotation or crop: compare them and decide for one class."),
        IssueType("label_error", _WARNING, "Labels that are probably wrong",
                  "A model that was not trained on the photo is confident of another class: check each label."),
        IssueType("wrong_extension", _WARNING, "Names that do not fit the content",
                  "Headstand goes by content; other programs may fail."),
        IssueType("dark", _WARNING, "Nearly black photos",
                  "Hardly anything is visible: check whether they are useful."),
        IssueType("bright", _WARNING, "Nearly white photos",
                  "Hardly anything is visible: check whether they are useful."),
        IssueType("low_information", _WARNING, "Photos with next to nothing in them",
                  "Plain surfaces, placeholders, failed downloads: check whether they are useful."),
        IssueType("blurry", _WARNING, "Blurry photos", "Unsharp even at the size of a model's input."),
        IssueType("size_outlier", _WARNING, "Photos of an unusual size",
                  "Far smaller or larger than the others: thumbnails and banners often show something else."),
        IssueType("aspect_outlier", _WARNING, "Photos of an unusual shape",
                  "Squashed to a square they are distorted far more than the others: crop them."),
        IssueType("imbalance", _WARNING, "Classes of very different size",
                  "Read the metrics of each class, not accuracy alone; training gives rare classes a higher weight."),
        IssueType("few_examined", _WARNING, "Too few photos in a split", "Metrics of such a class are unreliable."),
        IssueType("outside_classes", _WARNING, "Photos outside of all classes",
                  "They are not used: move them into a class."),
        IssueType("exact_duplicates", _NOTE, "Identical files in a class", "A preparation keeps them in one split."),
        IssueType("near_duplicates", _NOTE, "Near duplicates in a class",
                  "The same picture re-encoded, scaled or slightly cropped; a preparation keeps them in one split."),
        IssueType("mirror_copies", _NOTE, "Mirror copies in a class", "A preparation keeps them in one split."),
        IssueType("geometric_matches", _NOTE, "Probable near duplicates in a class",
                  "They match after a rotation or crop. A preparation keeps them in one split."),
        IssueType("animated", _NOTE, "Animations", "Their first frame is used."),
        IssueType("converted", _NOTE, "Photos that are not 8-bit RGB",
                  "They are converted: transparency over white, 16 bits "
                  "scaled to 8, CMYK by the file's own marker."),
        IssueType("exif_turn", _NOTE, "Photos turned by their EXIF data", "They are turned upright when decoded."),
        IssueType("other_file", _NOTE, "Other files", "Neither images nor named like images; they are not used."),
        IssueType("outside_link", _NOTE, "Symbolic links that are not followed",
                  "They are broken, or lead to files of another user or to a folder that is listed already."),
    )
}  # fmt: skip
"""All kinds by code, the most severe first; a report keeps this order."""


def issue(code: str, cases: list[IssueCase]) -> list[Issue]:
    """Returns a list with the finding of the kind `code`; empty if there are no cases."""
    return [Issue(ISSUE_TYPES[code], tuple(cases))] if cases else []
