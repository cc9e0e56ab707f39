"""SageMaker: what a training job finds and leaves in its container, and the requests that start jobs and endpoints."""
