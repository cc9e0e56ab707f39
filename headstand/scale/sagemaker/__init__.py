"""SageMaker integration: training inside its containers, and requests that start jobs and endpoints."""
