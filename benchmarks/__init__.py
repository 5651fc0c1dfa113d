"""Benchmarks: one command per question; see README.md beside this file."""
