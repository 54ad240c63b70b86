"""The strict reader of tars: from bytes to entries."""
