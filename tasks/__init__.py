"""The steps of the task graph, one file a step."""
