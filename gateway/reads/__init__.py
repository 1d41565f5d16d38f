"""What is shown: the committed state in memory, and what the tables tell of the past."""
