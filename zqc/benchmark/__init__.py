"""Measuring two models: latency, kernels, memory, and how close to the machine's peak they come."""
