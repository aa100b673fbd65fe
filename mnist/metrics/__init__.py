"""The quality of a network: calibration, confidence intervals, and the tables of results."""
