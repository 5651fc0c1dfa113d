"""Benchmarks: one command a question, see README.md beside this file."""
