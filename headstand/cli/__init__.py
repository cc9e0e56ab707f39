"""The `headstand` command: one module per subcommand, shared with the scripts at the top level."""
