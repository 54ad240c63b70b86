"""The content store: bytes by digest, and the ingests on their way there."""
