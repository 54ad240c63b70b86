"""What happens in the run of a flow, beside its steps."""
