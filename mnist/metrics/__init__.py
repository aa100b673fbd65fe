"""How good a network is: calibration, confidence intervals, and the tables that training and evaluation write."""
