"""The fleet around Prefect: reads and writes what ``prestow.fleet`` decides about."""
