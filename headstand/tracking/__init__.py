"""Tracking of a run: metrics by epoch, time, CPU and memory by step, profiler traces and search trials."""
