"""What the labs do not teach: data, training loops, plots, scores, checks and records."""

__version__ = "0.1.0"
