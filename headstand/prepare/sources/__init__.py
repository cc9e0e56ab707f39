"""The sources: a module for each `source.kind` of a recipe fetches its items and lists them; the others help."""
