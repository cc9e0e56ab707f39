"""The page as text and files, for whoever serves it."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import Environment, StrictUndefined

from headstand.images import MAX_BYTES
from headstand.serve.bundle import Bundle
from headstand.serve.page.words import WORDS

FOLDER = Path(__file__).parent

SCRIPTS = ("page.js", "ask.js", "show.js", "problem.js", "camera.js", "skeleton.js")

ASSETS = {"page.css": "text/css", "page.svg": "image/svg+xml", **dict.fromkeys(SCRIPTS, "text/javascript")}
"""Files beside the HTML, and their types."""

SAMPLES = "samples"
"""Folder beside a bundle with pictures, or heatmaps, to try it with, each named by its class."""

_PICTURES = {".webp": "image/webp", ".jpg": "image/jpeg", ".png": "image/png"}
_ARRAYS = {".npy": "application/octet-stream"}

SAMPLE_TYPES = _PICTURES | _ARRAYS


def samples(bundle: Bundle) -> dict[str, Path]:
    """The samples beside a bundle by class, in the order of its labels; empty where there are none."""
    folder = bundle.path.parent / SAMPLES
    suffixes = _PICTURES if bundle.input.kind == "photos" else _ARRAYS
    files = {path.stem: path for path in folder.glob("*") if path.suffix in suffixes and path.is_file()}
    return {label: files[label] for label in bundle.labels if label in files}


def html(bundle: Bundle, pictures: Mapping[str, Path], *, endpoint: str = "predict", limit: int = MAX_BYTES) -> str:
    """The page for one model.

    Args:
        bundle: the model that answers.
        pictures: as `samples`.
        endpoint: where pictures are sent, relative to the page or with a host of its own.
        limit: largest picture in bytes that the endpoint takes.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((FOLDER / "page.html").read_text(encoding="utf-8"))
    elsewhere = bool(urlsplit(endpoint).netloc)
    return template.render(
        name=bundle.name,
        labels=bundle.labels,
        threshold=bundle.threshold,
        samples={label: f"{SAMPLES}/{quote(path.name)}" for label, path in pictures.items()},
        endpoint=endpoint,
        limit=limit,
        megabytes=limit // 10**6,
        kind=bundle.input.kind,
        say=WORDS[bundle.input.kind],
        # A page that lies in a bucket cannot count on anyone to send the header.
        policy=policy(endpoint, framed=True) if elsewhere else "",
    )


def policy(endpoint: str = "predict", *, framed: bool = False) -> str:
    """The Content-Security-Policy: nothing but the page's own files, and requests to itself and the endpoint.

    Pictures may come from anywhere: one that is named by its address is shown beside its answer. `framed` leaves out
    `frame-ancestors`, which browsers take from a header only.
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
    """Write the page as static files that ask an endpoint elsewhere, as for a bucket beside an API Gateway.

    Args:
        folder: made if need be; files of these names in it are replaced.
        bundle: the model that the endpoint answers with.
        endpoint: the whole URL that pictures are sent to; it must allow the page's origin (CORS) and expose the header
            `Headstand-Confident`.
        limit: largest picture in bytes that the endpoint takes.

    Returns:
        What was written, `index.html` first.
    """
    pictures = samples(bundle)
    files = {"index.html": html(bundle, pictures, endpoint=endpoint, limit=limit).encode()}
    files |= {name: (FOLDER / name).read_bytes() for name in ASSETS}
    files |= {f"{SAMPLES}/{path.name}": path.read_bytes() for path in pictures.values()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / name for name in files]
