"""HTML, assets, samples and Content-Security-Policy of the web page, for the service and for static hosting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, StrictUndefined

from headstand import inputs
from headstand.images import MAX_BYTES
from headstand.serve.bundle import Bundle

FOLDER = Path(__file__).parent

SCRIPTS = ("page.js", "classify.js", "view.js", "problem.js", "camera.js", "skeleton.js")

ASSETS = {"page.css": "text/css", "page.svg": "image/svg+xml", **dict.fromkeys(SCRIPTS, "text/javascript")}
"""Media type by name of the files beside the HTML."""

SAMPLES = "samples"
"""Name of the folder beside a bundle with sample files; each file is named after its class."""

_PICTURES = {".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png"}

SAMPLE_TYPES = _PICTURES | {
    suffix: "application/octet-stream" for kind in inputs.REGISTERED.values() for suffix in kind.suffixes
}


def samples(bundle: Bundle) -> dict[str, Path]:
    """Returns the sample files beside a bundle by class, in the order of its labels; empty if there are none."""
    folder = bundle.path.parent / SAMPLES
    suffixes = bundle.input.suffixes if bundle.input.kind in inputs.REGISTERED else _PICTURES
    files = {path.stem: path for path in folder.glob("*") if path.suffix in suffixes and path.is_file()}
    return {label: files[label] for label in bundle.labels if label in files}


def html(bundle: Bundle, pictures: Mapping[str, Path], *, endpoint: str = "predict", limit: int = MAX_BYTES) -> str:
    """Returns the HTML of the page for one model.

    Args:
        bundle: the served model.
        pictures: samples by class, as returned by `samples`.
        endpoint: URL that pictures are sent to, relative to the page or absolute.
        limit: size in bytes of the largest picture that the endpoint accepts.
    """
    elsewhere = bool(urlsplit(endpoint).netloc)
    return render(
        "page.html",
        name=bundle.name,
        labels=bundle.labels,
        threshold=bundle.threshold,
        samples={label: f"{SAMPLES}/{quote(path.name)}" for label, path in pictures.items()},
        endpoint=endpoint,
        limit=limit,
        megabytes=limit // 10**6,
        kind=bundle.input.kind,
        texts=bundle.input.texts,
        # Static hosting, such as a bucket, may not send the policy as a header, so it is in the HTML.
        policy=policy(endpoint, framed=True) if elsewhere else "",
    )


def render(template: str, **values: Any) -> str:
    """Returns the HTML of a template in this folder, with the values escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string((FOLDER / template).read_text(encoding="utf-8")).render(**values)


def policy(endpoint: str = "predict", *, framed: bool = False) -> str:
    """Returns the Content-Security-Policy, which allows the page's own files, and requests to itself and the endpoint.

    Images may come from any host, because the page shows a picture given by URL beside its answer.

    Args:
        endpoint: as in `html`.
        framed: leave out `frame-ancestors`, which browsers accept only in a header.
    """
    parts = urlsplit(endpoint)
    own = f"'self' {parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"
    rules = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: http: https:",
        f"connect-src {own}",
        f"form-action {own}",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    ]
    return "; ".join(rules if framed else [*rules, "frame-ancestors 'none'"])


def write(folder: Path, bundle: Bundle, endpoint: str, *, limit: int = MAX_BYTES) -> list[Path]:
    """Writes the page as static files that call an endpoint on another host, such as a bucket with an API Gateway.

    Args:
        folder: created if needed; files of the same names in it are replaced.
        bundle: the model that the endpoint serves.
        endpoint: the absolute URL that pictures are sent to; it must allow the page's origin (CORS) and expose the
            headers `Headstand-Confident` and `Headstand-Known`.
        limit: size in bytes of the largest picture that the endpoint accepts.

    Returns:
        Paths of the written files, `index.html` first.
    """
    pictures = samples(bundle)
    files = {"index.html": html(bundle, pictures, endpoint=endpoint, limit=limit).encode()}
    files |= {name: (FOLDER / name).read_bytes() for name in ASSETS}
    files |= {f"{SAMPLES}/{path.name}": path.read_bytes() for path in pictures.values()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / name for name in files]
