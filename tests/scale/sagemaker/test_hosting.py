from typing import Any

import pytest
from botocore.stub import Stubber

from headstand.scale.sagemaker import hosting
from headstand.scale.sagemaker.account import CloudError
from headstand.scale.sagemaker.hosting import Endpoint
from tests.scale.sagemaker import jobs
from tests.scale.sagemaker.model import hold

MODEL = "s3://jobs/out/job/output/model.tar.gz"


def endpoint(**changes: Any) -> Endpoint:
    return Endpoint(**{"name": "poses", "role": jobs.ROLE, "image": jobs.IMAGE, "model": MODEL, **changes})


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names end in the time and random characters; here they end alike."""
    monkeypatch.setattr(hosting, "name", lambda first: f"{first}-260102000000-abc123")


def test_the_requests_hang_together() -> None:
    result = endpoint(isolated=True).requests()
    for operation, request in result.items():
        hold(operation, request)
    model = result["CreateModel"]
    assert model["PrimaryContainer"] == {"Image": jobs.IMAGE, "ModelDataUrl": MODEL}
    assert model["EnableNetworkIsolation"]
    (variant,) = result["CreateEndpointConfig"]["ProductionVariants"]
    assert variant["ModelName"] == model["ModelName"] == result["CreateEndpoint"]["EndpointConfigName"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.c6i.large", 1)
    assert result["CreateEndpoint"]["EndpointName"] == "poses"


def test_names_of_endpoints_leave_room_for_those_of_their_models() -> None:
    longest = "a" * 43
    for request in endpoint(name=longest).requests().values():
        assert next(iter(request.values())).startswith(longest)
    with pytest.raises(CloudError, match=f"endpoint {longest}b: the name has 44 characters; 43 are allowed"):
        endpoint(name=f"{longest}b").requests()


def test_a_serverless_endpoint_has_memory_and_no_instances() -> None:
    result = endpoint(memory=2048).requests()
    hold("CreateEndpointConfig", result["CreateEndpointConfig"])
    (variant,) = result["CreateEndpointConfig"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "InstanceType" not in variant


def missing() -> dict[str, Any]:
    return {"service_error_code": "ValidationException", "service_message": 'Could not find endpoint "poses".'}


def test_an_endpoint_is_created_and_the_next_model_updates_it(client: Any) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/poses"
    for exists in (False, True):
        wanted = endpoint()
        with Stubber(client) as stub:
            requests = wanted.requests()
            stub.add_response("create_model", {"ModelArn": arn}, requests["CreateModel"])
            config = requests["CreateEndpointConfig"]
            stub.add_response("create_endpoint_config", {"EndpointConfigArn": arn}, config)
            if exists:
                stub.add_response("describe_endpoint", _described(), {"EndpointName": "poses"})
                version = {"EndpointName": "poses", "EndpointConfigName": config["EndpointConfigName"]}
                stub.add_response("update_endpoint", {"EndpointArn": arn}, version)
            else:
                stub.add_client_error("describe_endpoint", **missing())
                stub.add_response("create_endpoint", {"EndpointArn": arn}, requests["CreateEndpoint"])
            assert hosting.deploy(client, requests) == ("updated" if exists else "created")
            stub.assert_no_pending_responses()


def _described() -> dict[str, Any]:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/poses"
    return {
        "EndpointName": "poses",
        "EndpointArn": arn,
        "EndpointStatus": "InService",
        "CreationTime": jobs.MOMENT,
        "LastModifiedTime": jobs.MOMENT,
    }


def test_what_was_made_before_a_refusal_is_removed(client: Any) -> None:
    wanted = endpoint()
    requests = wanted.requests()
    name = requests["CreateModel"]["ModelName"]
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model/poses"
    with Stubber(client) as stub:
        stub.add_response("create_model", {"ModelArn": arn}, requests["CreateModel"])
        stub.add_response("create_endpoint_config", {"EndpointConfigArn": arn}, requests["CreateEndpointConfig"])
        stub.add_client_error("describe_endpoint", **missing())
        limit = "The account-level service limit 'ml.c6i.large for endpoint usage' is 0 Instances"
        stub.add_client_error("create_endpoint", "ResourceLimitExceeded", limit)
        stub.add_response("delete_endpoint_config", {}, {"EndpointConfigName": name})
        stub.add_response("delete_model", {}, {"ModelName": name})
        with pytest.raises(CloudError, match=r"quota is too small for the endpoint.*ml\.c6i\.large"):
            hosting.deploy(client, requests)
        stub.assert_no_pending_responses()


def test_what_cannot_be_removed_after_a_refusal_is_named_beside_the_refusal(client: Any) -> None:
    requests = endpoint().requests()
    name = requests["CreateModel"]["ModelName"]
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model/poses"
    with Stubber(client) as stub:
        stub.add_response("create_model", {"ModelArn": arn}, requests["CreateModel"])
        stub.add_response("create_endpoint_config", {"EndpointConfigArn": arn}, requests["CreateEndpointConfig"])
        stub.add_client_error("describe_endpoint", **missing())
        stub.add_client_error("create_endpoint", "ResourceLimitExceeded", "0 Instances")
        stub.add_client_error("delete_endpoint_config", "AccessDeniedException", "not authorized")
        stub.add_response("delete_model", {}, {"ModelName": name})
        kept = f"EndpointConfigName {name} could not be deleted: AWS refuses its removal"
        with pytest.raises(CloudError, match=f"quota is too small for the endpoint.*; {kept}"):
            hosting.deploy(client, requests)
        stub.assert_no_pending_responses()


def test_on_the_stand_in_it_comes_and_goes_and_leaves_others_alone(client: Any) -> None:
    for name in ("poses", "poses-prod", "other"):
        assert hosting.deploy(client, endpoint(name=name, instance="ml.c5.large").requests()) == "created"
    described = client.describe_endpoint(EndpointName="poses")
    assert described["EndpointConfigName"] == "poses-260102000000-abc123"
    removed = hosting.remove(client, "poses")
    assert removed == ["endpoint poses", "configuration poses-260102000000-abc123", "model poses-260102000000-abc123"]
    left = [one["ModelName"] for one in client.list_models()["Models"]]
    assert sorted(left) == ["other-260102000000-abc123", "poses-prod-260102000000-abc123"]
    assert {one["EndpointName"] for one in client.list_endpoints()["Endpoints"]} == {"poses-prod", "other"}
    with pytest.raises(CloudError, match="there is no endpoint poses"):
        hosting.remove(client, "poses")


def test_the_model_of_a_job_or_of_a_tuning_jobs_best_trial(client: Any) -> None:
    best = {
        "TrainingJobName": "tuning-001-abc",
        "TrainingJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/tuning-001-abc",
        "CreationTime": jobs.MOMENT,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": {},
    }
    with Stubber(client) as stub:
        stub.add_response("describe_hyper_parameter_tuning_job", jobs.tuning(BestTrainingJob=best))
        stub.add_response("describe_training_job", jobs.training(), {"TrainingJobName": "tuning-001-abc"})
        assert hosting.model_of(client, "tuning") == MODEL
        stub.add_client_error("describe_hyper_parameter_tuning_job", "ResourceNotFound", "no such job")
        stub.add_response("describe_training_job", jobs.training("InProgress"), {"TrainingJobName": "job"})
        with pytest.raises(CloudError, match="the training job job is InProgress"):
            hosting.model_of(client, "job")
        stub.add_response("describe_hyper_parameter_tuning_job", jobs.tuning("InProgress"))
        with pytest.raises(CloudError, match="the tuning job tuning is InProgress and has no best trial yet"):
            hosting.model_of(client, "tuning")
        stub.assert_no_pending_responses()
