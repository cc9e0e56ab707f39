r"""Trains, tunes and serves on SageMaker; docs/sagemaker.md lists the prerequisites.

    python deploy/sagemaker/launch.py train yoga107 --role ARN --image URI --data s3://BUCKET/yoga107 \
        --output s3://BUCKET/jobs [--spot] [--instance ml.g5.xlarge] [--profiler] [--wait] [--head.epochs 40 ...]
    python deploy/sagemaker/launch.py tune yoga107 ... [--step 1] [--warm-start JOB ...] [--parallel 2]
    python deploy/sagemaker/launch.py deploy NAME --role ARN --image URI --job JOB [--instance TYPE | --serverless MB]
    python deploy/sagemaker/launch.py remove NAME

`tune` without --step submits the jobs of the recipe's search one after the other, waiting for each. --dry-run checks
the request against AWS's description of the call and prints it without contacting AWS.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

from headstand.cli import command
from headstand.scale.sagemaker.subcommands import run


def main(argv: list[str]) -> None:
    """Runs the subcommand."""
    run(argv, __doc__)


if __name__ == "__main__":
    command.run(main)
