"""Documents name files that exist, and imports go in the direction that docs/architecture.md states."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "headstand"


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    paths = re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", text)
    assert paths
    assert [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def imported(folder: str) -> set[str]:
    """Returns the packages and modules of headstand that the modules of one folder import, at any level."""
    names = set()
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("headstand.")}


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("images", {"preparation", "features", "heads", "serve", "export", "training"}),
        ("preparation", {"features", "heads", "finetune", "report", "export", "serve", "training", "cli"}),
        ("features", {"finetune", "report", "export", "serve", "training", "cli"}),
        ("heads", {"finetune", "report", "export", "serve", "training", "cli"}),
        ("finetune", {"report", "export", "serve", "training", "cli"}),
        ("serve", {"preparation", "features", "heads", "finetune", "report", "export", "training", "recipe"}),
    ],
)
def test_imports_go_in_one_direction(folder: str, forbidden: set[str]) -> None:
    assert imported(folder) & forbidden == set()


def test_only_entry_points_import_the_optional_package() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"scale", "cli", "__pycache__"}
    assert {folder for folder in folders if "scale" in imported(folder)} == set()


def test_every_module_silences_tensorflow_before_its_first_import() -> None:
    """TensorFlow logs about GPUs when it is first imported, unless `headstand.tensorflow_setup` has done so."""
    silenced = {path.parent for path in PACKAGE.rglob("__init__.py") if "tensorflow_setup" in path.read_text("utf-8")}
    unsilenced = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name == "tensorflow_setup.py" or silenced & set(path.parents):
            continue
        for node in ast.parse(text).body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {module.split(".")[0] for module in modules} & {"keras", "tensorflow"}:
                if "tensorflow_setup" not in "".join(text.splitlines(keepends=True)[: node.lineno - 1]):
                    unsilenced.append(str(path.relative_to(PACKAGE)))
                break
    assert unsilenced == []
