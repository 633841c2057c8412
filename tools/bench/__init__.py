"""What one part of zqc costs in time and memory, and against what else."""
