from pathlib import Path

import pytest

from headstand.cli import models
from headstand.errors import HeadstandError
from headstand.serve.classifier import SHIPPED


def files(*names: str) -> list[Path]:
    paths = [Path(name) for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return paths


def test_without_a_name_the_newest_model_is_used_unless_a_variable_names_another(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.found(None) == SHIPPED
    _, newest = files("runs/b/2026-01-01T000000-a/b.tflite", "runs/a/2026-01-02T000000-a/a.tflite")
    assert models.found(None) == newest
    (other,) = files("other.tflite")
    monkeypatch.setenv("HEADSTAND_MODEL", str(other))
    assert models.found(None) == other


def test_a_folder_of_runs_a_run_and_a_checkpoint_stand_for_their_model(workplace: Path) -> None:
    _, newest = files("runs/a/2026-01-01T000000-a/a.tflite", "runs/a/2026-01-02T000000-a/a.tflite")
    files("runs/a/2026-01-02T000000-a/a.h5", "runs/a/2026-01-02T000000-a/b.h5", "runs/b/2026-01-03T000000-a/b.h5")
    for name in ("runs", "runs/a", str(newest.parent), str(newest), str(newest.with_suffix(".h5"))):
        assert models.found(name) == newest
    with pytest.raises(HeadstandError, match="is not converted: run `headstand convert"):
        models.found(str(newest.with_name("b.h5")))
    with pytest.raises(HeadstandError, match=r"no \.tflite file in runs/b: .* `headstand convert runs/b`"):
        models.found("runs/b")
