"""Shared by every stage: parameters, paths, files, errors, and the preprocessed data."""
