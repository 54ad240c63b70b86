"""What a snapshot has on disk against what its layers say."""
