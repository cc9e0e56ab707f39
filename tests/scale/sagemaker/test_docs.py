"""docs/sagemaker.md and the policies hold what the code does."""

import json
import re
import shlex
from pathlib import Path

import pytest
from botocore import xform_name

from headstand.scale.sagemaker import subcommands
from tests.scale.sagemaker.model import operation
from tests.scale.sagemaker.opt import ROOT

TEXT = (ROOT / "docs" / "sagemaker.md").read_text()
POLICIES = ROOT / "deploy" / "sagemaker" / "policies"
VALUES = {
    "ACCOUNT": "123456789012",
    "BUCKET": "my-bucket",
    "REGISTRY": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
}


def commands() -> list[str]:
    """Every line that calls launch.py, with the shell's variables filled in."""
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S))
    values = dict(VALUES)
    for name, value in re.findall(r'^(JOB|SERVE)="(.*)"$', shell, re.M):
        values[name] = value
    lines = re.findall(r"^python deploy/sagemaker/launch\.py (.*?)(?: +#.*)?$", shell, re.M)
    for _ in range(2):
        lines = [re.sub(r"\$(\w+)", lambda found: values[found[1]], line) for line in lines]
    return lines


@pytest.mark.parametrize("line", commands())
def test_every_command_makes_a_request_that_fits(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [word for word in shlex.split(line) if word not in ("--wait", "--dry-run")]
    if argv[0] == "remove":
        return
    if "--job" in argv:  # which would have to be asked for
        index = argv.index("--job")
        argv[index : index + 2] = ["--model", "s3://my-bucket/model.tar.gz"]
    subcommands.run([*argv, "--dry-run"])
    assert "arn:aws:iam::123456789012:role/headstand-" in capsys.readouterr().out


def test_there_are_commands_of_every_kind() -> None:
    assert {line.split()[0] for line in commands()} == {"train", "tune", "deploy", "remove"}


def actions(name: str) -> set[str]:
    statements = json.loads((POLICIES / f"{name}.json").read_text())["Statement"]
    lists = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    return {action for found in lists for action in found}


def called() -> set[str]:
    """The calls of SageMaker that the code makes, by AWS's names."""
    text = "".join(path.read_text() for path in (ROOT / "headstand" / "scale" / "sagemaker").glob("*.py"))
    names = set(re.findall(r"client\.(\w+)\(", text)) | set(re.findall(r'get_paginator\("(\w+)"\)', text))
    names |= set(re.findall(r"client\.(delete_\w+),", text))
    service = operation("CreateModel").service_model
    known = {xform_name(name): name for name in service.operation_names}
    return {f"sagemaker:{known[name]}" for name in names if name in known}


def test_who_launches_may_do_what_the_code_does_and_nothing_more() -> None:
    allowed = {action for action in actions("launch") if action.startswith("sagemaker:")}
    assert len(called()) > 12
    assert allowed == called() | {"sagemaker:AddTags"}  # every request has tags


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.json")), ids=lambda path: path.stem)
def test_no_policy_allows_all_of_anything(path: Path) -> None:
    for statement in json.loads(path.read_text())["Statement"]:
        assert statement["Effect"] == "Allow"
        assert "*" not in str(statement["Action"])
        # What has no resource of its own is for these calls alone.
        if statement.get("Resource") == "*":
            free = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData", "sagemaker:ListEndpointConfigs"}
            free |= {"sagemaker:ListModels"}
            assert {*statement["Action"]} <= free or statement["Action"] in free
    assert f"`{path.name}`" in TEXT


def test_jobs_and_endpoints_have_no_rights_beyond_their_folders() -> None:
    assert not {action for name in ("job", "endpoint") for action in actions(name) if action.startswith("sagemaker:")}
    assert {action for action in actions("endpoint") if action.startswith("s3:")} == {"s3:GetObject"}
    assert "s3:DeleteObject" not in actions("job")
