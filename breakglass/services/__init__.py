"""What can be done: a verb per function. Each change and its audit row commit together."""
