"""`make deploy`: deploys a model as a container to AWS Lambda.

docs/lambda.md describes the created resources, their costs and their removal. All work is done by the AWS CLI, the SAM
CLI and Docker; each command is printed before it runs.
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstand import environment, naming
from headstand.errors import HeadstandError
from headstand.serve import bundle
from headstand.serve.classifier import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "deploy/template.yaml"

TOOLS = {
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
    "docker": "https://docs.docker.com/get-docker/",
    "sam": "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html",
}

KEPT = 5
"""Images that the ECR repository retains; storage of older ones would be billed every month."""

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_SET = ("ImageUri", "Architecture")
"""Parameters of the template that the deployment sets itself."""

_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}


@dataclass(frozen=True)
class Deployment:
    """Deployment settings: `model` is a path in the checkout, `parameters` are the template's, `tag` is the image's."""

    stack: str
    region: str
    model: str
    architecture: str
    parameters: tuple[str, ...]
    tag: str


def run(
    model: str | None,
    stack: str,
    region: str | None,
    architecture: str | None,
    parameters: Sequence[str],
    dry_run: bool,
) -> None:
    """Deploys a model; prints every command and finally the URL.

    Args:
        model: a bundle in `models/` or `runs/` of the checkout; by default the shipped one.
        stack: name of the stack, the function and the repository.
        region: by default that of the environment or of the AWS CLI.
        architecture: `arm64` or `x86_64`; by default this machine's.
        parameters: parameters of the template, `Name=value`.
        dry_run: only print the commands.

    Raises:
        HeadstandError: no region, a missing tool or model, an unknown parameter, or a command that failed.
    """
    if not (ROOT / TEMPLATE).is_file():
        raise HeadstandError(f"deploying needs a checkout of the repository: there is no {TEMPLATE} in {ROOT}")
    _check_parameters(parameters)
    if not re.fullmatch("[a-z][a-z0-9-]{0,61}[a-z0-9]", stack):
        raise HeadstandError(f"--stack takes lower-case letters, digits and hyphens, not {stack!r}")
    if not dry_run:
        for tool, address in TOOLS.items():
            if not shutil.which(tool):
                raise HeadstandError(f"{tool} is not installed: install it as {address} describes, or use --dry-run")
    name, path = _model(model or str(SHIPPED))
    deploy(
        Deployment(
            stack,
            region or _region(dry_run),
            path,
            architecture or _MACHINES.get(platform.machine().lower(), "x86_64"),
            tuple(parameters),
            f"{name}-{naming.stamp('%Y%m%d-%H%M%S')}",
        ),
        CommandRunner(dry=dry_run),
    )


def _check_parameters(parameters: Sequence[str]) -> None:
    """Checks parameters against those of the template.

    Raises:
        HeadstandError: one is not `Name=value`, or the template has no such name, or sets it itself.
    """
    template = (ROOT / TEMPLATE).read_text(encoding="utf-8")
    section = re.search(r"^Parameters:\n((?:[ #].*\n|\n)*)", template, re.MULTILINE)
    known = [name for name in re.findall(r"^  (\w+):", section[1] if section else "", re.MULTILINE) if name not in _SET]
    for text in parameters:
        name, equals, _ = text.partition("=")
        if not equals or not name.isalnum():
            raise HeadstandError(f"--set takes Name=value, not {text!r}; {TEMPLATE} has the names: {', '.join(known)}")
        if name not in known:
            similar = environment.suggestion(name, known, prefix="")
            raise HeadstandError(
                f"--set {text}: {TEMPLATE} has no parameter {name}{similar}; it has {', '.join(known)}"
            )


class CommandRunner:
    """Runs commands one after another in the checkout and prints each one first; `dry` only prints them."""

    def __init__(self, *, dry: bool) -> None:
        self.dry = dry
        self._environment = {**os.environ, "AWS_PAGER": ""}  # otherwise AWS CLI version 2 opens a pager

    def run(self, *argv: str, into: Sequence[str] = ()) -> None:
        """Runs a command and shows its output, or pipes the output into the command `into`.

        Raises:
            HeadstandError: one of the commands failed.
        """
        shown = shlex.join(argv) + (f" | {shlex.join(into)}" if into else "")
        print(f"$ {shown}", flush=True)
        if self.dry:
            return
        data = self._captured(argv) if into else None
        last = into or argv
        code = subprocess.run(last, cwd=ROOT, env=self._environment, input=data, check=False).returncode  # noqa: S603 - argv list, no shell
        if code:
            raise HeadstandError(f"{shlex.join(last)} failed with exit status {code}")

    def output(self, *argv: str, otherwise: str = "") -> str:
        """Returns what a command prints, without surrounding whitespace, or `otherwise` in a dry run.

        Raises:
            HeadstandError: the command failed.
        """
        print(f"$ {shlex.join(argv)}", flush=True)
        return otherwise if self.dry else (self._captured(argv) or b"").decode().strip()

    def succeeds(self, *argv: str) -> bool:
        """Returns whether a command succeeds; False in a dry run, so that the commands for that case are printed.

        Raises:
            HeadstandError: the command failed for another reason than `NotFoundException`.
        """
        print(f"$ {shlex.join(argv)}", flush=True)
        if self.dry:
            return False
        return self._captured(argv, accepted=b"NotFoundException") is not None

    def _captured(self, argv: Sequence[str], accepted: bytes | None = None) -> bytes | None:
        """Returns the output, or None if the command failed with the text `accepted` on standard error."""
        done = subprocess.run(argv, cwd=ROOT, env=self._environment, capture_output=True, check=False)  # noqa: S603 - as above
        if not done.returncode:
            return done.stdout
        if accepted and accepted in done.stderr:
            return None
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no error message"]
        raise HeadstandError(f"{shlex.join(argv)} failed with exit status {done.returncode}: {lines[-1].strip()}")


def deploy(plan: Deployment, runner: CommandRunner) -> str:
    """Builds and pushes the image and applies the template; returns the URL of the prediction endpoint."""
    region = ("--region", plan.region)
    query = ("--query", "Account", "--output", "text")
    account = runner.output("aws", "sts", "get-caller-identity", *query, *region, otherwise="ACCOUNT")
    # AWS in China has its own domain.
    domain = "amazonaws.com.cn" if plan.region.startswith("cn-") else "amazonaws.com"
    registry = f"{account}.dkr.ecr.{plan.region}.{domain}"
    repository, local = ("--repository-name", plan.stack), f"{plan.stack}:{plan.tag}"
    image = f"{registry}/{local}"
    if not runner.succeeds("aws", "ecr", "describe-repositories", "--repository-names", plan.stack, *region):
        scan = ("--image-scanning-configuration", "scanOnPush=true", "--image-tag-mutability", "IMMUTABLE")
        runner.run("aws", "ecr", "create-repository", *repository, *scan, *region)
        policy = ("--lifecycle-policy-text", json.dumps(_lifecycle()))
        runner.run("aws", "ecr", "put-lifecycle-policy", *repository, *policy, *region)
    runner.run(
        "docker", "build", "--platform", _PLATFORMS[plan.architecture],
        # Lambda needs a plain image; with provenance attestations Docker would create an image index.
        "--provenance=false", "--build-arg", f"MODEL={plan.model}", "--tag", local, ".",
    )  # fmt: skip
    runner.run(
        "aws", "ecr", "get-login-password", *region,
        into=("docker", "login", "--username", "AWS", "--password-stdin", registry),
    )  # fmt: skip
    runner.run("docker", "tag", local, image)
    runner.run("docker", "push", image)
    runner.run(
        "sam", "deploy", "--template-file", TEMPLATE, "--stack-name", plan.stack, *region,
        "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset",
        "--image-repository", f"{registry}/{plan.stack}",
        "--parameter-overrides", f"ImageUri={image}", f"Architecture={plan.architecture}", *plan.parameters,
    )  # fmt: skip
    query = ("--query", "Stacks[0].Outputs[?OutputKey=='PredictUrl'].OutputValue", "--output", "text")
    url = runner.output(
        "aws", "cloudformation", "describe-stacks", "--stack-name", plan.stack, *query, *region, otherwise="URL"
    )
    print(f"\nThe endpoint is {url}")
    print(f"  python test.py photo.jpg --endpoint {url}")
    print(f"  python -m headstand page --endpoint {url} --model {plan.model}")
    print("To remove it and end its costs:")
    print(f"  sam delete --stack-name {plan.stack} --region {plan.region}")
    print(f"  aws ecr delete-repository --repository-name {plan.stack} --force --region {plan.region}")
    return url


def _lifecycle() -> dict[str, object]:
    rule = {
        "rulePriority": 1,
        "description": f"keep {KEPT} images",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT},
        "action": {"type": "expire"},
    }
    return {"rules": [rule]}


def _model(argument: str) -> tuple[str, str]:
    """Returns the bundle's name in characters valid for a tag, and its path relative to the build context.

    Raises:
        BundleError: the file is not a bundle.
        HeadstandError: the file is outside the folders that the build can read.
    """
    path = Path(argument).resolve()
    name = bundle.read(path).name
    if not any(path.is_relative_to(ROOT / folder) for folder in ("models", "runs")):
        raise HeadstandError(
            f"{path} is not in models/ or runs/ of {ROOT}, the folders that Docker reads: copy it there"
        )
    return re.sub("[^A-Za-z0-9]+", "-", name).strip("-") or "model", path.relative_to(ROOT).as_posix()


def _region(dry: bool) -> str:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and shutil.which("aws"):
        done = subprocess.run(["aws", "configure", "get", "region"], capture_output=True, text=True, check=False)  # noqa: S607
        region = done.stdout.strip()
    if not region and not dry:
        raise HeadstandError("no region is set: use --region, such as --region eu-west-1, or set AWS_REGION")
    return region or "REGION"
