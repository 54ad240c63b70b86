"""The fleet at the Prefect API: what a rollout makes, counts, holds and shows there; its rules are ``prestow.fleet``."""
