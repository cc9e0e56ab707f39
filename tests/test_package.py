"""The wheel and the source distribution, and the package lists in pyproject.toml and Pipfile."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import headstand

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIPFILE = tomllib.loads((ROOT / "Pipfile").read_text(encoding="utf-8"))

LARGEST_WHEEL = 20_000_000


def requirement(name: str, value: str | dict[str, Any]) -> Requirement:
    """Returns a Pipfile entry as a requirement."""
    value = {"version": value} if isinstance(value, str) else value
    extras = f"[{','.join(value['extras'])}]" if "extras" in value else ""
    version = "" if value["version"] == "*" else value["version"]
    return Requirement(f"{name}{extras}{version}" + (f"; {value['markers']}" if "markers" in value else ""))


def category(name: str) -> set[Requirement]:
    return {requirement(*entry) for entry in PIPFILE[name].items()}


def extra(name: str) -> set[Requirement]:
    return set(map(Requirement, PROJECT["optional-dependencies"][name]))


def test_pyproject_and_pipfile_have_the_same_packages() -> None:
    base = set(map(Requirement, PROJECT["dependencies"]))
    assert base == category("serve")
    assert base | extra("train") == category("packages")
    for name in ("aws", "onnx", "ray", "docs"):
        assert extra(name) == category(name)
    assert extra("dev") == category("dev-packages")
    assert set(PROJECT["optional-dependencies"]) == {"train", "aws", "onnx", "ray", "docs", "dev"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the source distribution, and from it the wheel; returns their folder."""
    folder = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_wheel_contains_code_pages_recipes_and_models(built: Path) -> None:
    (path,) = built.glob("*.whl")
    assert path.name == f"headstand-{headstand.__version__}-py3-none-any.whl"
    assert path.stat().st_size < LARGEST_WHEEL
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    package = ROOT / "headstand"
    tracked = subprocess.run(["git", "ls-files", "headstand"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert package.is_dir() and set(tracked.stdout.split()) <= names
    shipped = {name.removeprefix("headstand/shipped/") for name in names if name.startswith("headstand/shipped/")}
    assert {f"recipes/{recipe.name}" for recipe in (ROOT / "recipes").iterdir()} <= shipped
    assert {"models/backbones/efficientnet_lite0.keras", "models/backbones/LICENSE"} <= shipped
    assert {"models/yoga6/yoga6.tflite", "models/yoga6/samples/tree.webp", "gunicorn.conf.py"} <= shipped
    assert all((ROOT / name).is_file() for name in shipped)
    assert {name.partition("/")[0] for name in names} == {"headstand", f"headstand-{headstand.__version__}.dist-info"}


@pytest.mark.slow
def test_the_source_distribution_has_what_the_wheel_is_built_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2].partition("/")[0] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "headstand", "recipes", "models", "gunicorn.conf.py"} <= names
    assert names.isdisjoint({"tests", "docs", "notebooks", ".venv", "data", "runs"})


@pytest.mark.slow
def test_the_installed_package_finds_its_recipes_and_its_model(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(tmp_path / "site")
    code = """if True:
        from headstand import HOME, __file__ as file
        from headstand.recipe import find, locate
        from headstand.serve.classifier import Classifier, default_model
        assert str(HOME).startswith(file.removesuffix("__init__.py")), HOME
        print(find("photos").relative_to(HOME))
        print(locate("models/yoga6/yoga6.tflite", "HEADSTAND_WEIGHTS").relative_to(HOME))
        print(Classifier(default_model()).bundle.name)
    """
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path / "elsewhere", env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["recipes/photos.toml", "models/yoga6/yoga6.tflite", "yoga6"]
