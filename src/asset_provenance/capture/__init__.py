"""What is captured while user code runs; one kind of fact a file, none knows another."""
