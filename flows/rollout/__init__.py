"""The fleet at the Prefect API: what a rollout makes, counts and shows there; its rules are ``prestow.fleet``."""
