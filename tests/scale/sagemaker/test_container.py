import json
import os
import sys
from pathlib import Path

import pytest

from headstand.recipe import HOME
from headstand.scale.sagemaker import container
from headstand.scale.sagemaker.job_folders import JobError
from tests.scale.sagemaker.opt import Container


@pytest.fixture
def opt(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    result = Container.make(workplace / "opt")
    for name, value in result.variables().items():
        monkeypatch.setenv(name, value)  # so that what is set is undone
        monkeypatch.delenv(name)
    for name in ("SM_CHANNEL_TRAINING", "SM_CHANNEL_VALIDATION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(result.base))
    return result


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process became."""
    seen: list[list[str]] = []

    def become(program: str, argv: list[str]) -> None:
        assert program == sys.executable
        seen.append(argv)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    return seen


def test_it_becomes_train_py_with_the_toolkits_variables(opt: Container, commands: list[list[str]]) -> None:
    for name in ("training", "validation"):
        opt.channel(name)
    opt.configure({"recipe": "yoga107", "head.learning_rate": "0.0123", "head.inner": "[100, 50]"})
    with pytest.raises(SystemExit):
        container.main(["train"])
    argv = ["--head.inner", "[100, 50]", "--head.learning_rate", "0.0123", "--recipe", "yoga107"]
    assert commands == [[sys.executable, str(HOME / "train.py"), *argv]]
    expected = opt.variables()
    assert {name: os.environ[name] for name in expected if name != "SM_NUM_GPUS"} == {
        name: value for name, value in expected.items() if name != "SM_NUM_GPUS"
    }
    assert os.environ["SM_NUM_GPUS"].isdecimal()


def test_values_that_the_sdk_wrote_as_json_lose_their_quotes_and_its_own_keys_are_left_out() -> None:
    values = {
        "recipe": '"yoga107"',
        "head.dropout": "0.5",
        "head.nesterov": "true",
        "head.optimizer": "adadelta",
        "head.activation": '["relu", "tanh"]',
        "sagemaker_program": '"train.py"',
        "_tuning_objective_metric": "val_accuracy",
    }
    argv = container.hyperparameters(values)
    assert dict(zip(argv[::2], argv[1::2], strict=True)) == {
        "--recipe": "yoga107",
        "--head.dropout": "0.5",
        "--head.nesterov": "true",
        "--head.optimizer": "adadelta",
        "--head.activation": '["relu", "tanh"]',
    }


def test_without_configuration_there_are_no_hyperparameters(opt: Container, commands: list[list[str]]) -> None:
    with pytest.raises(SystemExit):
        container.main([])
    assert commands == [[sys.executable, str(HOME / "train.py")]]
    assert json.loads(os.environ["SM_HOSTS"]) == []


def test_other_words_and_damaged_configuration_are_told_in_the_failure_file(
    opt: Container, commands: list[list[str]]
) -> None:
    with pytest.raises(JobError, match="unknown command 'serve': this image only trains"):
        container.main(["serve"])
    assert opt.failure.startswith("unknown command 'serve'")
    (opt.base / "input" / "config" / "hyperparameters.json").write_text("{")
    with pytest.raises(JobError, match=r"hyperparameters\.json is damaged"):
        container.main(["train"])
    assert "hyperparameters.json is damaged" in opt.failure
    assert commands == []
