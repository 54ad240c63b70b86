"""The fleet at Prefect: which workers a pool has, and what their hosts report."""
