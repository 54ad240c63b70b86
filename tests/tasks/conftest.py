"""Fixtures of the steps' tests: a Prefect server to run against."""

from tests.prefect_harness import prefect_server

__all__ = ["prefect_server"]
