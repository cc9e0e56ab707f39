"""SageMaker's built-in rules: profiler rules on system metrics, and debugger rules on tensors."""

from headstand.scale.sagemaker.account import CloudError, Request

PROFILER = ("ProfilerReport", "LowGPUUtilization", "CPUBottleneck", "IOBottleneck", "OverallSystemUsage")
"""Rules on system metrics, which SageMaker collects for any container; the first writes the HTML report."""

DEBUGGER = ("LossNotDecreasing", "Overfit", "Overtraining", "VanishingGradient", "DeadRelu", "PoorWeightInitialization")
"""Rules on tensors that the image's framework has to save; see docs/sagemaker.md."""

_COLLECTIONS = ("losses", "metrics", "gradients", "weights", "relu_input")

_ACCOUNTS = {
    "af-south-1": "314341159256", "ap-east-1": "199566480951", "ap-northeast-1": "430734990657",
    "ap-northeast-2": "578805364391", "ap-northeast-3": "364406365360", "ap-south-1": "904829902805",
    "ap-southeast-1": "972752614525", "ap-southeast-2": "184798709955", "ca-central-1": "519511493484",
    "cn-north-1": "618459771430", "cn-northwest-1": "658757709296", "eu-central-1": "482524230118",
    "eu-north-1": "314864569078", "eu-south-1": "563282790590", "eu-west-1": "929884845733",
    "eu-west-2": "250201462417", "eu-west-3": "447278800020", "me-south-1": "986000313247",
    "sa-east-1": "818342061345", "us-east-1": "503895931360", "us-east-2": "915447279597",
    "us-gov-west-1": "515509971035", "us-west-1": "685455198987", "us-west-2": "895741380848",
}  # fmt: skip
"""AWS account of the registry with the rules' image, by region. Source:
https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-reference.html#debugger-built-in-registry-ids"""


def image(region: str) -> str:
    """Returns the address of the image that evaluates the rules.

    Raises:
        CloudError: AWS lists none for the region.
    """
    if region not in _ACCOUNTS:
        raise CloudError(f"there are no built-in rules in {region}; leave --profiler and --debugger out")
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"{_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com{suffix}/sagemaker-debugger-rules:latest"


def profiler(region: str, output: str) -> Request:
    """Returns the CreateTrainingJob arguments that turn on the profiler.

    Args:
        region: of the job.
        output: S3 address for metrics and report.
    """
    return {
        "ProfilerConfig": {"S3OutputPath": output, "ProfilingIntervalInMilliseconds": 500},
        "ProfilerRuleConfigurations": [_rule(name, region) for name in PROFILER],
    }


def debugger(region: str, output: str) -> Request:
    """Returns the CreateTrainingJob arguments that turn on the debugger.

    Args:
        region: of the job.
        output: S3 address for tensors.
    """
    return {
        "DebugHookConfig": {
            "S3OutputPath": output,
            "CollectionConfigurations": [{"CollectionName": name} for name in _COLLECTIONS],
        },
        "DebugRuleConfigurations": [_rule(name, region) for name in DEBUGGER],
    }


def _rule(name: str, region: str) -> Request:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": image(region),
        "RuleParameters": {"rule_to_invoke": name},
    }
