"""Container engines: Docker with AWS's base image, else buildah with a substitute for it."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.request import urlopen

from tests import runtime_api
from tests.container import base

ROOT = Path(__file__).parents[2]
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
IMAGE = "localhost/headstand-test"
LAMBDA_USER = "993:990"
"""User and group that run the function, as in Lambda; they own no file of the image."""


class Engine(Protocol):
    name: str

    def build(self, architecture: str, model: str) -> str:
        """Builds the Dockerfile for an architecture and a model within the checkout; returns the image's name."""

    def save(self, image: str, file: Path) -> None:
        """Writes the image in the format of `docker save`."""

    def run(self, image: str, *argv: str) -> str:
        """Runs a command in the image instead of the function; returns its standard output."""

    def serving(self, image: str) -> AbstractContextManager[str]:
        """Runs the function; returns the URL for events."""

    def close(self) -> None:
        """Removes the built images."""


class Docker:
    name = "Docker, AWS's base image and emulator"

    def __init__(self) -> None:
        self.built = set[str]()

    def build(self, architecture: str, model: str) -> str:
        image = f"{IMAGE}-{architecture}-{Path(model).stem}"
        self.built.add(image)
        call("docker", "build", "--platform", f"linux/{architecture}", "--provenance=false",
             "--build-arg", f"MODEL={model}", "--tag", image, ".")  # fmt: skip
        return image

    def save(self, image: str, file: Path) -> None:
        call("docker", "save", image, "--output", str(file))

    def run(self, image: str, *argv: str) -> str:
        return call("docker", "run", "--rm", "--entrypoint", argv[0], image, *argv[1:])

    @contextmanager
    def serving(self, image: str) -> Iterator[str]:
        started = call("docker", "run", "--detach", "--rm", "--publish", "127.0.0.1::8080", image).strip()
        try:
            address = call("docker", "port", started, "8080").split()[0]
            reachable(f"http://{address}/")
            yield f"http://{address}{runtime_api.INVOCATIONS}"
        finally:
            call("docker", "kill", started)

    def close(self) -> None:
        call("docker", "rmi", *self.built)


class Buildah:
    name = "buildah, a substitute base image and runtime interface"

    def __init__(self, folder: Path) -> None:
        command = ("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        # Most containers have no overlay file system, so each layer is copied, and no isolation except chroot.
        probe = subprocess.run([*command, "--storage-driver", "overlay", "images"], capture_output=True, check=False)
        self.command = (*command, "--storage-driver", "vfs" if probe.returncode else "overlay")
        self.network = ("--isolation", "chroot", "--network", "host")
        self("rm", "--all")  # containers of an interrupted run
        self.base, self.volumes = base.make(self, folder)

        self.built = set[str]()

    def __call__(self, *argv: str) -> str:
        return call(*self.command, *argv)

    def build(self, architecture: str, model: str) -> str:
        image = f"{IMAGE}-{architecture}-{Path(model).stem}"
        self.built.add(image)
        arguments = ("--build-arg", f"BASE_IMAGE={self.base}", "--build-arg", f"MODEL={model}")
        self("bud", "--layers", *self.network, *self.volumes, "--pull-never", "--platform", f"linux/{architecture}",
             *arguments, "--tag", image, ".")  # fmt: skip
        return image

    def save(self, image: str, file: Path) -> None:
        self("push", image, f"docker-archive:{file}")

    def run(self, image: str, *argv: str) -> str:
        with self._container(image) as container:
            return self("run", *self.network, "--user", LAMBDA_USER, container, "--", *argv)

    @contextmanager
    def serving(self, image: str) -> Iterator[str]:
        with self._container(image) as container, runtime_api.serving() as server:
            settings = json.loads(self("inspect", container))["OCIv1"]["config"]
            command = [*settings["Entrypoint"], *settings["Cmd"]]
            process = subprocess.Popen(
                [*self.command, "run", *self.network, "--user", LAMBDA_USER, container, "--",
                 "env", f"AWS_LAMBDA_RUNTIME_API={server.address}", *command],
                cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
            try:
                yield f"http://{server.address}{runtime_api.INVOCATIONS}"
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def close(self) -> None:
        self("rmi", *self.built)
        self("rmi", "--prune")

    @contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self("from", "--pull-never", image).split()[-1]
        try:
            yield container
        finally:
            self("rm", container)


def found() -> Engine:
    """Returns the container engine of this machine.

    Raises:
        SystemExit: no engine is installed.
    """
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Docker()
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        raise SystemExit("the container needs Docker, or Debian's buildah and debootstrap and the rights of root")
    return Buildah(ROOT / ".cache" / "container")


def call(*argv: str) -> str:
    """Runs a command and returns its standard output; if it fails, prints the end of its output."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n")
        raise RuntimeError(f"{argv[0]} failed: {argv}")
    return done.stdout


def reachable(url: str) -> None:
    """Waits until a server accepts connections, at most a minute."""
    for _ in range(240):
        try:
            urlopen(url, timeout=5).close()
        except ConnectionError:
            time.sleep(0.25)
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                return  # an error response also shows that the server is ready
            time.sleep(0.25)
        else:
            return
    raise RuntimeError(f"no server responds at {url}")
