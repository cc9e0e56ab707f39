"""Substitute for AWS's base image on machines without Docker: Debian's Python with AWS's runtime client."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SUITE = "trixie"
"""Debian 13, whose Python is 3.13, as in one of AWS's base images."""

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LOCK = Path(__file__).parents[2] / "Pipfile.lock"


def make(buildah: Callable[..., str], folder: Path) -> tuple[str, list[str]]:
    """Builds the base image unless it exists; returns its name and the volume options of each run.

    It has the parts of AWS's layout that the Dockerfile needs: `python` on the path, and /var/task. The arm64 image is
    a copy under another name, because the build runs nothing in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    volumes = _volumes(folder)
    client = json.loads(LOCK.read_text())["develop"]["awslambdaric"]["version"].removeprefix("==")
    name = f"localhost/headstand-base:{SUITE}-{client}"
    if name in buildah("images", "--all", "--format", "{{.Name}}:{{.Tag}}").split():
        return name, volumes
    print(f"building a substitute for AWS's base image: Debian {SUITE}", flush=True)
    root = folder / "debian"
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=python3-venv", SUITE, str(root)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    container = buildah("from", *volumes, "scratch").split()[-1]
    buildah("add", container, str(root), "/")
    shutil.rmtree(root)
    network = ("--isolation", "chroot", "--network", "host")
    buildah("run", *network, container, "--", "python3", "-m", "venv", "/var/lang")
    install = ("-m", "pip", "install", "--no-cache-dir", f"awslambdaric=={client}")
    buildah("run", *network, container, "--", "/var/lang/bin/python", *install)
    entry = json.dumps(["python", "-m", "awslambdaric"])
    buildah("config", "--env", "PATH=/var/lang/bin:/usr/bin:/bin", "--entrypoint", entry,
            "--workingdir", "/var/task", "--os", "linux", container)  # fmt: skip
    images = []
    for architecture in ("amd64", "arm64"):
        buildah("config", "--arch", architecture, container)
        images.append(f"localhost/headstand-base-{architecture}")
        buildah("commit", container, images[-1])
    buildah("rm", container)
    buildah("manifest", "create", name, *images)
    return name, volumes


def _volumes(folder: Path) -> list[str]:
    """Returns volume options that give pip in a container the index and certificates of pip on this machine."""
    config = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = dict(re.findall(r"^(?:global|:env:)\.(index-url|cert|proxy|trusted-host)='(.*)'$", config, re.M))
    volumes = []
    if certificates := settings.get("cert"):
        volumes += ["--volume", f"{Path(certificates).resolve()}:{CERTIFICATES}:ro"]
        settings["cert"] = CERTIFICATES
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    return [*volumes, "--volume", f"{file}:/etc/pip.conf:ro"]
