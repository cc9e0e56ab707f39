"""Training on a Ray cluster: features by Ray Data, search by Ray Tune. No other package imports Ray."""

from headstand.scale.ray.connection import ClusterError, connected

__all__ = ["ClusterError", "connected"]
