"""What people see of the flows in Prefect's UI: forms, results, tables."""
