"""The version, below all that writes it into records."""

__version__ = "0.1.0"
