"""The command line. Verbs that only read import neither Prefect nor the flows."""
