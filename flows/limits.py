"""How much one run may be asked for."""

MOST_IMAGES = 1000
"""Images of one pre-pull: its parameters, its table and its message stay within what Prefect's API takes."""
