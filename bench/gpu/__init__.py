"""What ``bench/gpu_check.py`` does on a machine with a CUDA device: build, test, compare, time."""
