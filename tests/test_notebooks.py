import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from nbmake.nb_run import NotebookRun

ROOT = Path(__file__).parents[1]


def printed(cell: dict[str, Any]) -> str:
    """Returns the text that a cell prints and returns; pictures have none."""
    found = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    return "\n".join("".join(text) for text in found)


@pytest.mark.slow
def test_the_notebooks_run_one_after_another_and_print_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells with the tag `exact` print the same on every machine; accuracies and probabilities differ."""
    (tmp_path / "Pipfile").touch()  # by which they recognise the top of the checkout
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    exact = 0
    for path in sorted(Path.cwd().glob("*.ipynb")):
        stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
        result = NotebookRun(path, default_timeout=600).execute()
        assert not result.error, result.error.trace
        for shown, cell in zip(stored, result.nb["cells"], strict=True):
            if shown["cell_type"] == "code":
                assert bool(shown["outputs"]) == bool(cell["outputs"]), shown["source"]
            if "exact" in shown["metadata"].get("tags", []):
                assert printed(cell) == printed(shown) != ""
                exact += 1
    assert exact == 2
