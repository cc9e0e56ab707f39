"""Dataset sources: one module per `source.kind` of a recipe lists its files; the other modules are shared code."""

MODULES = {
    **{kind: f"headstand.prepare.sources.{kind}" for kind in ("arrays", "boxes", "cifar", "folder", "kaggle", "table")},
    "rendered": "headstand.poses.rendered",
    "actions": "headstand.poses.action_source",
    "heatmaps": "headstand.poses.heatmap_source",
}
"""Module of each kind of source, imported on demand because some need additional packages.

Its `listing(source, seed)` fetches and lists the items; its optional `examine(path)` reads the metadata of files that
are not photos.
"""
