"""The same work on a Ray cluster: features by Ray Data, the search by Ray Tune. Nothing else imports Ray."""

from headstand.cluster.connection import ClusterError, connected

__all__ = ["ClusterError", "connected"]
