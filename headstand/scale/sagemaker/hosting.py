"""Creates, updates and removes SageMaker endpoints."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headstand.scale.sagemaker.account import CloudError, Request, translated_errors
from headstand.scale.sagemaker.training_requests import LONGEST as LONGEST_JOB
from headstand.scale.sagemaker.training_requests import TAGS, name
from headstand.scale.sagemaker.tuning_requests import LONGEST as LONGEST_TUNING

VARIANT = "all"

CONCURRENCY = 5
"""Concurrent requests of a serverless endpoint."""

LONGEST = LONGEST_JOB - len("-260102030405-x7k2p0")
"""Largest length of an endpoint's name: the names of its models and configurations add the suffix of `name`."""


@dataclass(frozen=True)
class Endpoint:
    """Configuration of an endpoint.

    Attributes:
        name: of the endpoint.
        role: ARN of the container's role, which may read the model.
        image: address of the image `endpoint` in ECR.
        model: S3 address of `model.tar.gz`.
        instance: instance type, unless serverless.
        count: number of instances.
        memory: MB of a serverless endpoint, which costs only while it serves requests; None for instances.
        isolated: no network for the container; clients then cannot send URLs.
    """

    name: str
    role: str
    image: str
    model: str
    instance: str = "ml.c6i.large"
    count: int = 1
    memory: int | None = None
    isolated: bool = False

    def requests(self) -> dict[str, Request]:
        """Returns the arguments of CreateModel, CreateEndpointConfig and CreateEndpoint by operation, in this order.

        Each call uses a new name for model and configuration.

        Raises:
            CloudError: the endpoint's name is too long for these names.
        """
        if len(self.name) > LONGEST:
            raise CloudError(f"endpoint {self.name}: the name has {len(self.name)} characters; {LONGEST} are allowed")
        version = name(self.name)
        variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": version, "InitialVariantWeight": 1.0}
        if self.memory is None:
            variant |= {"InstanceType": self.instance, "InitialInstanceCount": self.count}
        else:
            variant["ServerlessConfig"] = {"MemorySizeInMB": self.memory, "MaxConcurrency": CONCURRENCY}
        return {
            "CreateModel": {
                "ModelName": version,
                "PrimaryContainer": {"Image": self.image, "ModelDataUrl": self.model},
                "ExecutionRoleArn": self.role,
                "EnableNetworkIsolation": self.isolated,
                "Tags": TAGS,
            },
            "CreateEndpointConfig": {
                "EndpointConfigName": version,
                "ProductionVariants": [variant],
                "Tags": TAGS,
            },
            "CreateEndpoint": {"EndpointName": self.name, "EndpointConfigName": version, "Tags": TAGS},
        }


def deploy(client: Any, requests: Mapping[str, Request]) -> str:
    """Creates the endpoint, or updates the existing one of this name to serve the new model.

    An update has no downtime: SageMaker starts the new instances before it stops the old ones. If AWS refuses a call,
    the resources created by the earlier calls are deleted; what cannot be deleted is named in the error.

    Args:
        client: SageMaker client.
        requests: from `Endpoint.requests`.

    Returns:
        `created` or `updated`.

    Raises:
        CloudError: AWS refuses a call.
    """
    version = requests["CreateModel"]["ModelName"]
    endpoint = requests["CreateEndpoint"]["EndpointName"]
    created = []
    try:
        with translated_errors("the model"):
            client.create_model(**requests["CreateModel"])
        created.append((client.delete_model, {"ModelName": version}))
        with translated_errors("the endpoint's configuration"):
            client.create_endpoint_config(**requests["CreateEndpointConfig"])
        created.append((client.delete_endpoint_config, {"EndpointConfigName": version}))
        with translated_errors("the endpoint"):
            if _exists(client, endpoint):
                client.update_endpoint(EndpointName=endpoint, EndpointConfigName=version)
                return "updated"
            client.create_endpoint(**requests["CreateEndpoint"])
            return "created"
    except CloudError as error:
        for delete, which in reversed(created):
            try:
                with translated_errors("its removal"):
                    delete(**which)
            except CloudError as failure:
                error = CloudError(f"{error}; {next(iter(which))} {version} could not be deleted: {failure}")
        raise error from None


def remove(client: Any, endpoint: str) -> list[str]:
    """Removes an endpoint with every configuration and model that `deploy` created for it.

    Returns:
        The names of the removed resources, the endpoint first.

    Raises:
        CloudError: nothing exists under this name, or AWS refuses a call.
    """
    own_name = re.compile(rf"{re.escape(endpoint)}-\d{{12}}(-[a-z0-9]{{6}})?").fullmatch
    removed = []
    with translated_errors(f"the removal of {endpoint}"):
        if _exists(client, endpoint):
            client.delete_endpoint(EndpointName=endpoint)
            removed.append(f"endpoint {endpoint}")
        for page in client.get_paginator("list_endpoint_configs").paginate(NameContains=f"{endpoint}-"):
            for configuration in page["EndpointConfigs"]:
                if own_name(configuration["EndpointConfigName"]):
                    client.delete_endpoint_config(EndpointConfigName=configuration["EndpointConfigName"])
                    removed.append(f"configuration {configuration['EndpointConfigName']}")
        for page in client.get_paginator("list_models").paginate(NameContains=f"{endpoint}-"):
            for model in page["Models"]:
                if own_name(model["ModelName"]):
                    client.delete_model(ModelName=model["ModelName"])
                    removed.append(f"model {model['ModelName']}")
    if not removed:
        raise CloudError(f"there is no endpoint {endpoint} and no configuration or model of one")
    return removed


def model_of(client: Any, job: str) -> str:
    """Returns the S3 address of the `model.tar.gz` of a finished training job, or of the best trial of a tuning job.

    Raises:
        CloudError: the job does not exist or has not finished.
    """
    with translated_errors(f"the job {job}"):
        best = _best(client, job)
        description = client.describe_training_job(TrainingJobName=best or job)
    if description["TrainingJobStatus"] != "Completed":
        raise CloudError(
            f"the training job {best or job} is {description['TrainingJobStatus']}; only a Completed job has a model"
        )
    return str(description["ModelArtifacts"]["S3ModelArtifacts"])


def _best(client: Any, job: str) -> str | None:
    """Returns the best trial of a tuning job; None if there is no tuning job of this name."""
    if len(job) > LONGEST_TUNING:
        return None
    description = _described(lambda: client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job))
    if description is None:
        return None
    if "BestTrainingJob" not in description:
        raise CloudError(
            f"the tuning job {job} is {description['HyperParameterTuningJobStatus']} and has no best trial yet"
        )
    return str(description["BestTrainingJob"]["TrainingJobName"])


def _exists(client: Any, endpoint: str) -> bool:
    return _described(lambda: client.describe_endpoint(EndpointName=endpoint)) is not None


def _described(describe: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the description that the request `describe` returns; None if there is no such resource."""
    from botocore.exceptions import ClientError

    try:
        return describe()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFound", "ValidationException"):
            return None
        raise
