import json
from pathlib import Path
from typing import Any

import pytest

from headstand import __main__
from headstand.cli.diagnose import DiagnosisError
from headstand.errors import HeadstandError

FINDING = {
    "code": "overfitting",
    "severity": "warning",
    "title": "Overfitting of the head",
    "evidence": "val_loss rose",
    "advice": "try --head.dropout 0.5",
}
STEPS = {
    "features": {
        "seconds": 35.088,
        "cpu": 0.181,
        "peak_memory": 3 * 2**29,
        "parts": {"waiting for photos": 1.08, "network": 33.7},
        "photos": 1767,
        "photos_per_second": 50.4,
    },
    "head": {"seconds": 0.958, "cpu": 1.0, "peak_memory": 2**30},
}


def report(diagnosis: Any, folder: Path) -> None:
    record = {"diagnosis": diagnosis, "resources": {"cores": 4, "peak_memory": 3 * 2**29, "steps": STEPS}}
    (folder / "report.json").write_text(json.dumps(record))


def test_steps_and_findings_of_a_run_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([FINDING, {**FINDING, "severity": "note"}], tmp_path)
    __main__.main(["diagnose", str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        "features     35.1 s   18% of 4 processors   1.50 GiB  50 photos/s  (waiting for photos 1.1, network 33.7)",
        "head          1.0 s  100% of 4 processors   1.00 GiB",
        "warning overfitting: Overfitting of the head (val_loss rose): try --head.dropout 0.5",
        "note overfitting: Overfitting of the head (val_loss rose): try --head.dropout 0.5",
        "0 errors, 1 warning, 1 note",
    ]


def test_errors_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([{**FINDING, "severity": "error"}], tmp_path)
    with pytest.raises(SystemExit) as exit_:
        __main__.main(["diagnose", str(tmp_path)])
    assert exit_.value.code == 2
    assert capsys.readouterr().out.endswith("1 error, 0 warnings, 0 notes\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot read .*report.json \(No such file or directory\): name the folder of a finished run"),
        ("{", "no readable diagnosis .*: train again"),
        ("{}", "no readable diagnosis .*resources.*: train again"),
        ('{"resources": {"steps": {}, "cores": 1}, "diagnosis": ["a"]}', "no readable diagnosis"),
        ("[]", "no readable diagnosis"),
    ],
)
def test_a_run_without_a_readable_diagnosis_is_an_error(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(DiagnosisError, match=message):
        __main__.main(["diagnose", str(tmp_path)])


def test_without_a_run_the_usage_is_reported() -> None:
    with pytest.raises(HeadstandError, match=r"Missing argument 'RUN'\. `headstand diagnose --help`"):
        __main__.main(["diagnose"])


def test_the_newest_run_of_a_folder_is_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for time, findings in (("2026-01-01", []), ("2026-01-02", [FINDING])):
        (tmp_path / "runs" / "poses" / time).mkdir(parents=True)
        report(findings, tmp_path / "runs" / "poses" / time)
    for folder in (tmp_path / "runs", tmp_path / "runs" / "poses"):
        __main__.main(["diagnose", str(folder)])
        assert capsys.readouterr().out.endswith("0 errors, 1 warning, 0 notes\n")
