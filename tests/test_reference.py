"""The generated pages of the documentation have the keys, requests and variables of the code, with descriptions."""

import importlib.util
import re
from pathlib import Path

import pytest

from headstand import environment
from headstand.recipe import Recipe
from headstand.recipe.search_space import Dimension, Job, Stage
from headstand.recipe.variants import Variant
from headstand.serve.problem import KINDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Returns the pages by path; the hook is loaded as MkDocs does it."""
    specification = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.pages()


def rows(text: str) -> dict[str, list[str]]:
    """Returns the cells of each row after its key, by heading and key."""
    found, heading = {}, ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = re.sub(r"^#+ ([\w. /,]+?)( \{.*)?$", r"\1", line)
        elif match := re.match(r"\| `([^`]+)` \| (.*) \|$", line):
            found[f"{heading}: {match[1]}"] = match[2].split(" | ")
    return found


def test_each_recipe_key_is_described(pages: dict[str, str]) -> None:
    found = rows(pages["reference/recipe.md"])
    top = "Sections, and keys outside of them"
    sections = {key: field.annotation for key, field in Recipe.model_fields.items()}
    sections |= {"variants": Variant, "search.parameters": Dimension, "search.stages": Stage, "search.jobs": Job}
    keys = [f"{section}: {key}" for section, kind in sections.items() for key in getattr(kind, "model_fields", ())]
    assert set(found) == {f"{top}: {key}" for key in Recipe.model_fields} | set(keys)
    assert [key for key, cells in found.items() if not cells[0].strip() or not cells[-1].strip()] == []
    assert found["backbone: depths"][:2] == ["integer, at least 1, at most 4", "`1`"]
    assert found["backbone: preprocessing"][:2] == ["`auto` or `xception`, `caffe`, `torch`, `lite`, `none`", "`auto`"]
    assert found["head: dropout"] == ["number, at least 0, below 1", "`0.0`", "dropout rate before the logits"]
    assert found["head: inner"][:2] == ["list of integer, above 0, at most 65,536", "`[100]`"]
    assert found["search: stages"][:2] == ["list of [Stage](#Stage)", "`[]`"]
    assert found[f"{top}: name"][1] == "required" and found[f"{top}: minutes"][:2] == ["number, above 0", "none"]


def test_each_environment_variable_is_described(pages: dict[str, str]) -> None:
    found = rows(pages["reference/environment.md"])
    assert {key.partition(": ")[2] for key in found} == {*environment.VARIABLES, *environment.SERVER}
    assert all(cells[0].strip() for cells in found.values())


def test_requests_and_error_codes_are_those_of_the_service(pages: dict[str, str]) -> None:
    text = pages["reference/http.md"]
    requests = re.findall(r"^## ([A-Z]+ /\S*)", text, re.MULTILINE)
    assert {"POST /predict", "POST /predict/batch", "GET /model", "GET /healthz", "GET /metrics"} <= set(requests)
    codes = set(re.findall(r"`(\w+)`: [A-Z]", text))
    assert codes == set(KINDS) - {"not_found", "batch_timeout"}  # of unknown paths, and of one image in a batch
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= set(re.findall(r"\{#(\w+)\}", text))


def test_the_page_of_the_python_api_names_objects_that_exist(pages: dict[str, str]) -> None:
    names = re.findall(r"^::: (\S+)", pages["reference/python.md"], re.MULTILINE)
    assert names[0] == "headstand.python_api" and len(names) > 4
    for name in names:
        module, _, last = name.rpartition(".")
        if last[0].isupper():
            specification = importlib.util.find_spec(module)
            assert specification and f"class {last}" in Path(str(specification.origin)).read_text(encoding="utf-8")
        else:
            assert importlib.util.find_spec(name)


def test_links_of_the_top_level_lead_to_pages(pages: dict[str, str]) -> None:
    documents = {path.name for path in (ROOT / "docs").glob("*.md")} | {*pages, "models/demo.png"}
    for name in ("index.md", "contributing.md", "changelog.md"):
        links = re.findall(r"\]\(([^)#]+)", pages[name])
        assert [link for link in links if "://" not in link and link not in documents] == []


def test_the_navigation_has_every_page(pages: dict[str, str]) -> None:
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")} | set(pages)
