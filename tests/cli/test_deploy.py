import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from headstand import __main__
from headstand.cli import deploy
from headstand.errors import HeadstandError

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "template.yaml"
URL = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/predict"

# Records its arguments and prints the output of the tool. It starts without the packages of the environment.
STUB = f"""#!{sys.executable} -IS
import json, os, sys
name, argv = os.path.basename(sys.argv[0]), sys.argv[1:]
password = sys.stdin.read() if "--password-stdin" in argv else ""
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([name, *argv, password]), file=calls)
if argv[0] == os.environ.get("FAILS"):
    sys.exit("first line\\nno space left on device")
outputs = {{"get-caller-identity": "123456789012", "get-login-password": "secret", "describe-stacks": "{URL}"}}
if len(argv) > 1 and argv[1] == "describe-repositories" and os.environ.get("NEW"):
    sys.exit("An error occurred (RepositoryNotFoundException) when calling ...")
print(outputs.get(argv[1] if len(argv) > 1 else "", ""))
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts stubs of the three tools on the path; returns the file with their recorded calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in deploy.TOOLS:
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return tmp_path / "calls"


def run(*argv: str) -> None:
    __main__.main(["deploy", *argv])


def recorded(calls: Path) -> list[list[str]]:
    return [json.loads(line) for line in calls.read_text().splitlines()]


def test_a_dry_run_prints_every_command_and_runs_none(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    run("--dry-run", "--architecture", "arm64", "--set", "Memory=3008")
    shown = [line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    assert [" ".join(line.split()[:3]) for line in shown] == [
        "aws sts get-caller-identity",
        "aws ecr describe-repositories",
        "aws ecr create-repository",
        "aws ecr put-lifecycle-policy",
        "docker build --platform",
        "aws ecr get-login-password",
        f"docker tag {shown[6].split()[2]}",
        f"docker push {shown[7].split()[2]}",
        "sam deploy --template-file",
        "aws cloudformation describe-stacks",
    ]
    image = shown[7].split()[2]
    assert re.fullmatch(r"ACCOUNT\.dkr\.ecr\.eu-west-1\.amazonaws\.com/headstand:yoga6-\d{8}-\d{6}-[a-z0-9]{6}", image)
    assert "--platform linux/arm64" in shown[4] and "MODEL=models/yoga6/yoga6.tflite" in shown[4]
    assert shown[5].endswith("| docker login --username AWS --password-stdin ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com")
    assert shown[8].endswith(f"--parameter-overrides ImageUri={image} Architecture=arm64 Memory=3008")
    assert not calls.exists()


@pytest.mark.parametrize("new", [True, False])
def test_deploy_runs_the_commands(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    if new:
        monkeypatch.setenv("NEW", "1")
    run("--stack", "poses")
    done = recorded(calls)
    verbs = [call[2] if call[0] == "aws" else call[1] for call in done]
    created = ["create-repository", "put-lifecycle-policy"] if new else []
    assert verbs == ["get-caller-identity", "describe-repositories", *created, "build", "get-login-password", "login",
                     "tag", "push", "deploy", "describe-stacks"]  # fmt: skip
    by_verb = dict(zip(verbs, done, strict=True))
    image = by_verb["push"][2]
    assert image.startswith("123456789012.dkr.ecr.eu-west-1.amazonaws.com/poses:yoga6-")
    assert f"ImageUri={image}" in by_verb["deploy"] and by_verb["login"][-1].strip() == "secret"
    output = capsys.readouterr().out
    assert f"The endpoint is {URL}" in output and f"--endpoint {URL}" in output and "delete-repository" in output
    assert "secret" not in output


@pytest.mark.parametrize("fails", ["build", "sts", "login"])
def test_a_failing_command_stops_the_deployment(calls: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setenv("FAILS", fails)
    with pytest.raises(HeadstandError, match=f"{fails}.* failed with exit status 1"):
        run()
    last = recorded(calls)[-1]
    assert fails in last[:3]


def test_invalid_arguments_and_missing_tools_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    for argv, message in (
        ([], "aws is not installed: install it as https://docs.aws"),
        (["--dry-run", "none.tflite"], "cannot read the model"),
        (["--dry-run", "--stack", "My_Stack"], "--stack takes lower-case letters"),
        (["--dry-run", "--set", "Memory"], "--set takes Name=value"),
        (["--dry-run", "--set", "Memry=3008"], r"has no parameter Memry \(did you mean Memory\?\); it has Memory, "),
        (["--dry-run", "--set", "ImageUri=a"], "has no parameter ImageUri; it has Memory, "),
    ):
        with pytest.raises(HeadstandError, match=message):
            run(*argv)
    outside = tmp_path / "copy.tflite"
    shutil.copy(deploy.SHIPPED, outside)
    with pytest.raises(HeadstandError, match="is not in models"):
        run("--dry-run", str(outside))


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # takes a second

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.slow
def test_the_aws_cli_accepts_the_commands(
    cloud: str, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real AWS CLI against moto; Docker, SAM and the stack that SAM creates are stubs."""
    folder = Path(os.environ["PATH"])
    stack = f'[ "$1" = cloudformation ] && echo {URL} && exit'
    (folder / "aws").write_text(f'#!/bin/sh\n{stack}\nexec {sys.executable} -m awscli "$@"\n')
    for name, value in (("AWS_ENDPOINT_URL", cloud), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    for new in (True, False):
        run()
        assert ("create-repository" in capsys.readouterr().out) == new


def test_the_template_is_valid() -> None:
    from cfnlint.api import lint_file  # takes a second

    assert lint_file(TEMPLATE) == []


class _Loader(yaml.SafeLoader):
    """YAML loader that parses CloudFormation's short-form functions."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: (
    {tag: loader.construct_scalar(node)} if isinstance(node, yaml.ScalarNode)
    else {tag: loader.construct_sequence(node, deep=True)}
))  # fmt: skip


def test_the_function_may_only_write_its_log() -> None:
    resources = yaml.load(TEMPLATE.read_text(), _Loader)["Resources"]
    role = resources["Role"]["Properties"]
    assert role.keys() == {"AssumeRolePolicyDocument", "Policies"}
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"GetAtt": "Log.Arn"}
    function = resources["Function"]["Properties"]
    assert "Policies" not in function and function["Role"] == {"GetAtt": "Role.Arn"}
    assert "Cors" not in resources["Url"]["Properties"]


def test_the_template_has_the_parameters_that_deploy_sets() -> None:
    parameters = yaml.load(TEMPLATE.read_text(), _Loader)["Parameters"]
    assert {"ImageUri", "Architecture"} <= parameters.keys()
    assert all("Default" in parameter for name, parameter in parameters.items() if name != "ImageUri")


def test_a_dry_run_of_make_installs_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "deploy", "DRY_RUN=1"]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    assert "the packages are missing: run make setup" in done.stderr
