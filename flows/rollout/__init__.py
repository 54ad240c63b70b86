"""The fleet at the Prefect API: what a rollout makes, counts, holds and shows; its rules are ``prestow.fleet``."""
