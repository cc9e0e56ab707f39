"""Dataset sources: one module per `source.kind` of a recipe lists its files; the other modules are shared code."""
