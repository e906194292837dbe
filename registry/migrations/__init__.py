"""The steps from any released schema to the one of `registry.schema`, run by `registry.database` at start."""
