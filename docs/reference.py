"""Hook of MkDocs: pages that are generated from the code, and the documents outside of docs/."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headstand import environment
from headstand.recipe import Recipe
from headstand.serve import bundle, capacity, openapi

ROOT = Path(__file__).resolve().parents[1]

Schema = dict[str, Any]

RAW = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""Documents outside of docs/, by the name of their page."""

PICTURE = "models/demo.png"

OBJECTS = (
    "headstand.python_api",
    "headstand.cli.train.Trained",
    "headstand.serve.classifier.Prediction",
    "headstand.evaluation.evaluate_model.EvaluationResult",
    "headstand.export.exporting.Export",
    "headstand.errors",
)
"""Modules and classes of the Python API: its functions, their results and their errors."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages to the files of the site."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, PICTURE, abs_src_path=str(ROOT / PICTURE)))
    return files


def pages() -> dict[str, str]:
    """Returns the text of each page in Markdown, by its path in docs/."""
    return {
        **{name: linked((ROOT / path).read_text(encoding="utf-8")) for name, path in RAW.items()},
        "reference/recipe.md": recipe(),
        "reference/python.md": python(),
        "reference/http.md": http(),
        "reference/environment.md": variables(),
    }


def linked(text: str) -> str:
    """Returns a document of the top level with its links changed to those between pages."""
    text = text.replace("](docs/", "](").replace("[docs/", "[")
    for name, path in RAW.items():
        text = text.replace(f"]({path})", f"]({name})")
    return text


def recipe() -> str:
    """Returns the page with all keys of a recipe."""
    schema = Recipe.model_json_schema()
    for value in schema["properties"].values():
        if "$ref" in value:
            value.pop("default", None)
            value["description"] = schema["$defs"][value["$ref"].rpartition("/")[2]]["description"].partition("\n")[0]
    lines = [
        "# Recipe keys",
        "A recipe is a TOML file in `recipes/`. Each key can be overridden in the environment "
        "(`HEADSTAND_HEAD__DROPOUT=0.5`) and on the command line (`--head.dropout 0.5`), which has precedence. Unknown "
        "keys and invalid values are errors. `headstand train --help-all` prints the keys in a terminal.",
        "## Sections, and keys outside of them",
        table(schema),
    ]
    for name, key in sections(schema).items():
        section = schema["$defs"][name]
        lines += [f"## {key} {{#{name}}}", section["description"], table(section)]
    return "\n\n".join(lines)


def sections(schema: Schema) -> dict[str, str]:
    """Returns the key of each section by its name in the schema: those of the recipe, then the ones inside of them."""
    found: dict[str, str] = {}
    waiting = [("", schema)]
    for outer, section in waiting:
        for key, value in section["properties"].items():
            for name in re.findall(r"#/\$defs/(\w+)", str(value)):
                if name not in found:
                    found[name] = f"{outer}{key}"
                    waiting.append((f"{outer}{key}.", schema["$defs"][name]))
    return found


def table(schema: Schema) -> str:
    """Returns the properties of an object as a table: name, type and limits, default, description."""
    required = schema.get("required", ())
    rows = []
    for name, value in schema["properties"].items():
        default = "required" if name in required else literal(value["default"]) if "default" in value else ""
        rows.append((f"`{name}`", described(value), default, value.get("description", "")))
    return rendered(("key", "type", "default", "description"), rows)


def described(schema: Schema) -> str:
    """Returns the type and the limits of a JSON schema as text."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(described(each) for each in choices if each.get("type") != "null"))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(map(literal, values))
    kind = schema.get("type", "any value")
    if kind == "array":
        text = f"list of {described(schema.get('items', {}))}"
    elif kind == "object" and "properties" in schema:
        text = f"object with {', '.join(f'`{name}`' for name in schema['properties'])}"
    elif kind == "object":
        inner = schema.get("additionalProperties", True)
        text = f"table of {described(inner) if isinstance(inner, dict) else 'any values'} by name"
    else:
        kinds = ["bytes"] if schema.get("format") == "binary" else kind if isinstance(kind, list) else [kind]
        text = " or ".join(each for each in kinds if each != "null")
    limits = {
        "minimum": "at least {:,}", "exclusiveMinimum": "above {:,}",
        "maximum": "at most {:,}", "exclusiveMaximum": "below {:,}",
        "minItems": "at least {} items", "maxItems": "at most {} items",
        "minLength": "at least {} characters", "maxLength": "at most {:,} characters", "pattern": "matches `{}`",
    }  # fmt: skip
    return ", ".join([text, *(form.format(schema[key]) for key, form in limits.items() if key in schema)])


def literal(value: Any) -> str:
    """Returns a value as a recipe has it, without the quotation marks of a text."""
    return "none" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def rendered(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ("---",) * len(header), *rows])


def python() -> str:
    """Returns the page of the Python API, whose text mkdocstrings takes from the docstrings."""
    lines = ["# Python API"]
    for name in OBJECTS:
        shown = name.rpartition(".")[2][0].isupper()  # modules have no heading of their own
        lines.append(f"::: {name}\n    options: {{show_root_heading: {shown}, show_root_toc_entry: {shown}}}")
    return "\n\n".join(lines)


def http() -> str:
    """Returns the page with the requests and responses of the service, from its OpenAPI description."""
    served = bundle.read(ROOT / "models" / "yoga6" / "yoga6.tflite")
    document = openapi.document(served, capacity.chosen({}, cores=2), keys=True)
    lines = [
        "# HTTP",
        f"As `/openapi.json` describes it for the model `{served.name}` on two cores, with API keys. "
        f"{document['info']['description']}",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += [f"## {method.upper()} {path}", f"{operation['summary']}. {operation.get('description', '')}"]
            if parameters := operation["parameters"]:
                rows = [(f"`{each['name']}`", each["in"], described(each["schema"]), each["description"])
                        for each in parameters]  # fmt: skip
                lines.append(rendered(("parameter", "in", "type", "description"), rows))
            if body := operation.get("requestBody"):
                kinds: dict[str, list[str]] = {}
                for media, content in body["content"].items():
                    kinds.setdefault(described(content["schema"]), []).append(f"`{media}`")
                lines.append(rendered(("body", "content"), [(", ".join(media), kind) for kind, media in kinds.items()]))
            rows = []
            for status, response in operation["responses"].items():
                content = " or ".join(f"`{media}`: {described(each['schema'])}"
                                      for media, each in response["content"].items())  # fmt: skip
                headers = ", ".join(f"`{name}`" for name in response["headers"])
                rows.append((status, response["description"], content, headers))
            lines.append(rendered(("status", "meaning", "content", "headers"), rows))
    lines.append("## Schemas")
    for name, schema in document["components"]["schemas"].items():
        lines.append(f"### {name} {{#{name}}}")
        choices = schema.get("oneOf", [schema])
        lines += ["One of these:"] if len(choices) > 1 else []
        lines += [table(each) if "properties" in each else described(each) for each in choices]
    return "\n\n".join(lines)


def variables() -> str:
    """Returns the page of the environment variables beside the keys of recipes."""
    groups = {"Files and folders": environment.PATHS, "Services": environment.SERVICE | environment.SERVER}
    lines = ["# Environment variables", "Recipe keys can be set in the environment too: see [recipe keys](recipe.md)."]
    for title, group in groups.items():
        rows = [(f"`{name}`", text) for name, text in group.items()]
        lines += [f"## {title}", rendered(("variable", "meaning"), rows)]
    return "\n\n".join(lines)
