"""Fixtures of the steps' tests: a Prefect server to run against."""

from tests.prefect_harness import prefect_server, prefect_template

__all__ = ["prefect_server", "prefect_template"]
