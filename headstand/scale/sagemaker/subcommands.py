"""Subcommands of `deploy/sagemaker/launch.py`: train, tune, deploy, remove."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from headstand.scale.sagemaker import account, hosting, job_results, training_requests, tuning_requests
from headstand.scale.sagemaker.account import CloudError, translated_errors
from headstand.scale.sagemaker.training_requests import Setup

CHANNELS = {"training": "--data", "validation": "--validation", "test": "--test", "weights": "--weights"}
"""Command-line options with S3 addresses, by channel."""


def run(argv: Sequence[str], description: str | None = None) -> None:
    """Parses the command line and runs the subcommand.

    Args:
        argv: command-line arguments.
        description: first part of the `--help` text.

    Raises:
        HeadstandError: the command or recipe does not exist, a request is not valid, or AWS refuses it.
    """
    parser = argparse.ArgumentParser(
        "launch.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, do in (("train", train), ("tune", tune)):
        one = verbs.add_parser(verb, allow_abbrev=False, exit_on_error=False)
        one.set_defaults(do=do)
        _job(one)
    verbs.choices["train"].add_argument("--resume", metavar="JOB", help="continue from an earlier job's checkpoints")
    verbs.choices["train"].add_argument("--profiler", action="store_true", help="profile the instance, write a report")
    verbs.choices["train"].add_argument(
        "--debugger", action="store_true", help="save tensors and check them; the image must support it"
    )
    verbs.choices["train"].add_argument("--wait", action="store_true", help="wait until the job has finished")
    verbs.choices["tune"].add_argument("--step", type=int, metavar="N", help="only this job of the recipe's search")
    verbs.choices["tune"].add_argument("--warm-start", nargs="+", default=[], metavar="JOB", help="earlier tuning jobs")
    verbs.choices["tune"].add_argument("--parallel", type=int, default=2, help="trials at a time")
    one = verbs.add_parser("deploy", allow_abbrev=False, exit_on_error=False)
    one.set_defaults(do=deploy)
    _endpoint(one)
    one = verbs.add_parser("remove", allow_abbrev=False, exit_on_error=False)
    one.set_defaults(do=remove)
    one.add_argument("name", help="of the endpoint")
    try:
        options, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise CloudError(f"{error}; `launch.py --help` shows the commands") from None
    if rest and options.verb in ("deploy", "remove"):
        raise CloudError(f"{options.verb} does not take {' '.join(rest)}")
    options.do(options, rest)


def train(options: argparse.Namespace, changes: list[str]) -> None:
    """Starts a training job."""
    _, hyperparameters = training_requests.hyperparameters(options.recipe, changes)
    job = training_requests.name(options.recipe)
    client = None if options.dry_run else account.client()
    region = client.meta.region_name if client else os.environ.get("AWS_REGION", "us-east-1")
    checkpoints = None
    if options.resume:
        if client is None:
            raise CloudError("--resume needs a request for the checkpoints' address: leave --dry-run out")
        with translated_errors(f"the job {options.resume}"):
            earlier = client.describe_training_job(TrainingJobName=options.resume)
        checkpoints = earlier.get("CheckpointConfig", {}).get("S3Uri")
        if not checkpoints:
            raise CloudError(f"the job {options.resume} has no checkpoints: start a new one without --resume")
    request = training_requests.request(
        job,
        hyperparameters,
        _setup(options),
        region,
        checkpoints=checkpoints,
        profiler=options.profiler,
        debugger=options.debugger,
    )
    account.check("CreateTrainingJob", request)
    if client is None:
        print(json.dumps(request, indent=2))
        return
    with translated_errors("the training job"):
        client.create_training_job(**request)
    print(f"training job  {job}", flush=True)
    if options.wait:
        print(f"model         {job_results.training(client, job, _print)}")
    print(f"serve it      python deploy/sagemaker/launch.py deploy {options.recipe} --job {job} --role ... --image ...")


def tune(options: argparse.Namespace, changes: list[str]) -> None:
    """Starts one tuning job, or all of the recipe's in sequence."""
    recipe, hyperparameters = training_requests.hyperparameters(options.recipe, changes)
    jobs = tuning_requests.jobs(recipe)
    if options.step is not None and not 1 <= options.step <= len(jobs):
        raise CloudError(f"--step {options.step}: the recipe's search has {len(jobs)} jobs")
    steps = range(1, len(jobs) + 1) if options.step is None else [options.step]
    client = None if options.dry_run else account.client()
    parents = list(options.warm_start)
    for step in steps:
        job = jobs[step - 1]
        if options.step is None and not job.warm_start and step > 1:
            parents = []
        # Jobs that the user named are never left out: `request` refuses too many of them.
        if step > steps[0] and (left_out := parents[: -tuning_requests.MOST_PARENTS]):
            parents = parents[-tuning_requests.MOST_PARENTS :]
            print(
                f"tuning job {step} does not use the results of {', '.join(left_out)}: SageMaker takes the results of "
                f"{tuning_requests.MOST_PARENTS} earlier jobs at most, and these are the oldest",
                file=sys.stderr,
            )
        name = training_requests.name(options.recipe, str(step), longest=tuning_requests.LONGEST)
        request = tuning_requests.request(
            name, recipe, job, hyperparameters, _setup(options), parallel=options.parallel, parents=parents
        )
        account.check("CreateHyperParameterTuningJob", request)
        parents.append(name)
        if client is None:
            print(json.dumps(request, indent=2))
            continue
        with translated_errors("the tuning job"):
            client.create_hyper_parameter_tuning_job(**request)
        print(f"tuning job {step}  {name}", flush=True)
        if options.step is None:
            job_results.tuning(client, name, _print)


def deploy(options: argparse.Namespace, _: list[str]) -> None:
    """Creates or updates an endpoint."""
    client = None if options.dry_run else account.client()
    if options.job and client is None:
        raise CloudError("--job needs a request for the model's address: use --model with --dry-run")
    endpoint = hosting.Endpoint(
        name=options.name,
        role=options.role,
        image=options.image,
        model=hosting.model_of(client, options.job) if options.job else options.model,
        instance=options.instance,
        count=options.count,
        memory=options.serverless,
        isolated=options.isolated,
    )
    requests = endpoint.requests()
    for operation, request in requests.items():
        account.check(operation, request)
        if client is None:
            print(json.dumps(request, indent=2))
    if client is None:
        return
    print(f"endpoint {options.name} is being {hosting.deploy(client, requests)} with {endpoint.model}")
    print(f"remove it     python deploy/sagemaker/launch.py remove {options.name}")


def remove(options: argparse.Namespace, _: list[str]) -> None:
    """Removes an endpoint with its configurations and models."""
    for line in hosting.remove(account.client(), options.name):
        print(f"removed {line}")


def _job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a recipe in the image")
    parser.add_argument("--role", required=True, help="ARN of the job's role")
    parser.add_argument("--image", required=True, help="training image in ECR")
    parser.add_argument("--output", required=True, type=_s3_address, help="folder of the results, s3://BUCKET/KEY")
    for channel, option in CHANNELS.items():
        parser.add_argument(option, type=_s3_address, metavar="s3://BUCKET/KEY", help=f"the channel {channel}")
    parser.add_argument("--cache", type=_s3_address, metavar="s3://BUCKET/KEY", help="computed features, for all jobs")
    parser.add_argument("--instance", default=Setup.instance)
    parser.add_argument("--volume", type=int, default=Setup.volume, metavar="GB")
    parser.add_argument("--hours", type=float, default=Setup.hours, help="longest run time")
    parser.add_argument("--spot", action="store_true", help="spare capacity: cheaper, may be interrupted")
    parser.add_argument("--isolated", action="store_true", help="no network for the container")
    parser.add_argument("--dry-run", action="store_true")


def _endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of the endpoint")
    parser.add_argument("--role", required=True, help="ARN of the endpoint's role")
    parser.add_argument("--image", required=True, help="image `endpoint` in ECR")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--job", help="a training job, or a tuning job for its best trial")
    which.add_argument("--model", type=_s3_address, help="s3://BUCKET/KEY/model.tar.gz")
    parser.add_argument("--instance", default=hosting.Endpoint.instance)
    parser.add_argument("--count", type=int, default=hosting.Endpoint.count)
    parser.add_argument("--serverless", type=int, metavar="MB", help="serverless, with this memory")
    parser.add_argument("--isolated", action="store_true", help="no network for the container, so no URLs to fetch")
    parser.add_argument("--dry-run", action="store_true")


def _setup(options: argparse.Namespace) -> Setup:
    addresses = {channel: getattr(options, option.removeprefix("--")) for channel, option in CHANNELS.items()}
    return Setup(
        role=options.role,
        image=options.image,
        output=options.output,
        channels={channel: address for channel, address in addresses.items() if address},
        instance=options.instance,
        volume=options.volume,
        hours=options.hours,
        spot=options.spot,
        isolated=options.isolated,
        environment={"HEADSTAND_CACHE": options.cache} if options.cache else {},
    )


def _s3_address(text: str) -> str:
    if not text.startswith("s3://") or not text.removeprefix("s3://").strip("/"):
        raise argparse.ArgumentTypeError(f"{text!r} should read s3://BUCKET/KEY")
    return text.rstrip("/")


def _print(line: str) -> None:
    print(line, flush=True)
