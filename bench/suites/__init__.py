"""What is timed: `kernels`, `layers`, `models`, `startup`."""
