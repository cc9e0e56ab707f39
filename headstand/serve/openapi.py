"""OpenAPI 3.1 description of the HTTP service, served at `/openapi.json` and rendered at `/docs`."""

from typing import Any

from headstand import __version__, inputs
from headstand.images import MAX_BYTES, isolated
from headstand.serve.bundle import Bundle
from headstand.serve.capacity import Capacity
from headstand.serve.content import MAX_BODY
from headstand.serve.download import MAX_URL
from headstand.serve.problem import KINDS, MEDIA_TYPE

_IMAGES = (
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp",
    *(f"image/{kind.lower()}" for kind in isolated.MODULES if isolated.enabled(kind)), "application/octet-stream",
)  # fmt: skip
_DOWNLOAD = ("download_failed", "download_timeout", "http_error", "too_many_redirects")
"""Error codes of a failed download; in a batch they are in the image's result, not in the response's status."""

_EVERY_PATH = ("bad_http", "method_not_allowed", "uri_too_long", "headers_too_large", "internal_error")
_BODY = ("bad_request", "bad_query", "bad_json", "no_image", "request_entity_too_large",
         "unsupported_media_type", "overloaded")  # fmt: skip
_IMAGE = ("bad_base64", "bad_url", "forbidden_address", "too_large", "download_too_large", "not_an_image",
          "corrupt_image", *_DOWNLOAD)  # fmt: skip

_REGISTERED = tuple(code for kind in inputs.REGISTERED.values() for code in kind.errors)
"""Error codes of models for other inputs than photos, in place of `not_an_image` and `corrupt_image`."""

_EXAMPLE = "R0lGODdhAQABAIEAAP///wAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="
"""Example image in base64: a GIF of one white pixel."""

Schema = dict[str, Any]


def document(bundle: Bundle, limits: Capacity, *, keys: bool = False) -> dict[str, Any]:
    """Returns the whole OpenAPI document for the served model and the capacity limits.

    Args:
        bundle: the served model.
        limits: capacity of a worker.
        keys: whether predictions need an API key.
    """
    refused = ("unauthorized",) if keys else ()
    secured: Schema = {"security": [{"key": []}]} if keys else {}
    schemes: Schema = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if keys else {}
    top = {
        "name": "top",
        "in": "query",
        "description": "Number of classes to return, highest probability first; by default all.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999},
    }
    request_id = {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Id of the request in logs and responses; replaced unless it matches `[A-Za-z0-9._-]{1,64}`.",
        "schema": {"type": "string"},
    }
    parameters = [top, request_id]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Headstand: {bundle.name}",
            "version": __version__,
            "description": f"Classifies {bundle.input.details} into {len(bundle.labels)} classes. {_limits(limits)}",
        },
        "paths": {
            "/predict": {"post": {
                "summary": "Classify one image",
                "operationId": "predict",
                **secured,
                "parameters": parameters,
                "requestBody": {"required": True, "content": _one_image(bundle)},
                "responses": {
                    "200": _success("The classes, highest first.", "Probabilities", headers={
                        "Headstand-Confident": {
                            "description": "`false` if the highest probability is below the model's threshold.",
                            "required": True,
                            "schema": {"enum": ["true", "false"]},
                        },
                        "Headstand-Known": {
                            "description": "`false` if the image is unlike the photos that the model was trained on; "
                            "absent if the model does not detect unknown inputs.",
                            "required": bundle.known_threshold is not None,
                            "schema": {"enum": ["true", "false"]},
                        },
                    }),
                    **_problems(*refused, *_BODY, *_IMAGE, *_REGISTERED),
                },
            }},
            "/predict/batch": {"post": {
                "summary": f"Classify up to {limits.batch} images",
                "description": "The result of an image that cannot be classified is a problem.",
                "operationId": "predict_batch",
                **secured,
                "parameters": parameters,
                "requestBody": {"required": True, "content": _images(limits)},
                "responses": {
                    "200": _success("One result per image, in the order of the request.", "Batch"),
                    **_problems(*refused, *_BODY, "too_many_images"),
                },
            }},
            "/model": _get("The served model", "Model"),
            "/healthz": _get("Whether the process is alive", "Health"),
            "/readyz": _get("Whether the model works and the process is to go on", "Health", "not_ready"),
            "/metrics": _text("Metrics for Prometheus", "text/plain"),
            "/openapi.json": _get("This description", "Description"),
            "/docs": _text("This description as a web page", "text/html"),
        },
        "components": {"schemas": _schemas(bundle), **schemes},
    }  # fmt: skip


def _limits(limits: Capacity) -> str:
    return (
        f"Limits: {MAX_BYTES:,} bytes per image, {MAX_BODY:,} per body; per worker {limits.in_flight} predictions in "
        f"progress, {limits.downloads} of them with a URL, and request bodies of {limits.body_bytes:,} bytes in total."
    )


def _one_image(bundle: Bundle) -> Schema:
    kinds = _IMAGES if bundle.input.kind == "photos" else _IMAGES[-1:]
    form: Schema = {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
    form["required"] = ["image"]
    content: Schema = {
        "application/json": {"schema": _ref("Image")},
        "multipart/form-data": {
            "schema": form,
            "encoding": {"image": {"contentType": ", ".join(kinds)}},
        },
    }
    return content | {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}


def _images(limits: Capacity) -> Schema:
    file: Schema = {"type": "string", "format": "binary"}
    size = {"minItems": 1, "maxItems": limits.batch}
    files = {"type": "array", "items": file, **size}
    form = {"type": "object", "properties": {"image": {"anyOf": [files, file]}}, "required": ["image"]}
    return {
        # An invalid item fails alone and not the whole batch, so the schema allows any item.
        "application/json": {"schema": {"type": "array", "items": {"anyOf": [_ref("Image"), {}]}, **size}},
        "multipart/form-data": {"schema": form},
    }


def _schemas(bundle: Bundle) -> Schema:
    text, probability = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}
    labels = {"enum": list(bundle.labels)}
    problem = {
        "type": {**text, "format": "uri-reference"},
        "title": text,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text,
        "code": {**text, "description": "Stable; the codes are listed at each status."},
    }
    result = {"probabilities": _ref("Probabilities"), "confident": {"type": "boolean"}}
    if bundle.known_threshold is not None:
        result["known"] = {"type": "boolean", "description": "`false` if the image is unlike the training photos."}
    digest = {**text, "pattern": "^[0-9a-f]{64}$"}
    url: Schema = {**text, "pattern": "^https?://", "maxLength": MAX_URL}
    url["description"] = "http:// or https://, on a public host, such as https://example.com/photo.jpg."
    base64 = {
        **text,
        "minLength": 1,
        "contentEncoding": "base64",
        "description": "The image in base64; may be a data: URL.",
    }
    forms: list[Schema] = [
        {"type": "object", "properties": {"url": url}, "required": ["url"]},
        {"type": "object", "properties": {"image": base64}, "required": ["image"]},
    ]
    examples = [{"image": _EXAMPLE}]
    if bundle.input.kind in inputs.REGISTERED:
        suffix = bundle.input.suffixes[0]
        base64["description"] = f"The `{suffix}` file in base64; may be a data: URL."
        values: Schema = {"type": "number"}
        for length in reversed(bundle.input.shape):
            values = {"type": "array", "items": values, "minItems": length, "maxItems": length}
        forms.append({"type": "object", "properties": {bundle.input.kind: values}, "required": [bundle.input.kind]})
        examples = [{"url": f"https://example.com/person{suffix}"}]
    return {
        "Image": {"oneOf": forms, "examples": examples},
        "Probabilities": {
            "type": "object",
            "propertyNames": labels,
            "additionalProperties": probability,
            "minProperties": 1,
            "examples": [dict.fromkeys(bundle.labels[:2], 0.5)],
        },
        "Batch": _object(results={"type": "array", "items": {"oneOf": [
            _object(**result), _object(error=_object(**problem)),
        ]}}),
        "Problem": _object(**problem, request_id=text),
        "Health": _object(status={"enum": ["ok", "ready"]}, model=text),
        "Model": _object(
            name=text,
            labels={"type": "array", "items": text, "minItems": 2, "uniqueItems": True},
            takes={"enum": [inputs.PhotoInput.kind, *inputs.REGISTERED], "description": "Kind of the input."},
            shape={"type": "array", "items": {"type": "integer"}, "description": "Shape of one decoded input."},
            size={"type": "integer", "minimum": 1, "description": "Side of the model's input, in pixels."},
            threshold={**probability, "description": "Lowest top probability of a confident prediction."},
            known_threshold={
                "type": ["number", "null"],
                "description": "Lowest similarity to the training photos of a known input; null if not computed.",
            },
            digest={**digest, "description": "SHA-256 over the model, its labels and its metadata."},
            certificate={"type": ["object", "null"], "description": "Comparison with the trained model."},
            version={**text, "description": "Version of Headstand."},
        ),
        "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
    }  # fmt: skip


def _object(**properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _headers(**more: Any) -> Schema:
    return {"X-Request-ID": {"required": True, "schema": {"type": "string"}}, **more}


def _success(description: str, schema: str, headers: Schema | None = None) -> Schema:
    content = {"application/json": {"schema": _ref(schema)}}
    return {"description": description, "headers": _headers(**headers or {}), "content": content}


def _problems(*codes: str) -> Schema:
    """Returns the responses, by status, for these error codes and those that every path may return."""
    statuses: dict[int, list[str]] = {}
    for code in (*codes, *_EVERY_PATH):
        statuses.setdefault(KINDS[code].status, []).append(code)
    retry = {"Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
    allow, bearer = ({name: {"required": True, "schema": {"type": "string"}}} for name in ("Allow", "WWW-Authenticate"))
    more = {401: bearer, 405: allow, 503: retry}
    return {
        str(status): {
            "description": " ".join(f"`{code}`: {KINDS[code].title}." for code in found),
            "headers": _headers(**more.get(status, {})),
            "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
        }
        for status, found in sorted(statuses.items())
    }


def _get(summary: str, schema: str, *codes: str) -> Schema:
    name = summary.lower().replace(" ", "_")
    return {"get": {"summary": summary, "operationId": name, "parameters": [],
                    "responses": {"200": _success(summary, schema), **_problems(*codes)}}}  # fmt: skip


def _text(summary: str, kind: str) -> Schema:
    found = _get(summary, "Description")
    found["get"]["responses"]["200"]["content"] = {kind: {"schema": {"type": "string"}}}
    return found
