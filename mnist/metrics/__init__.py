"""The quality of a network: calibration, confidence intervals, scores per class, and the tables of results."""
