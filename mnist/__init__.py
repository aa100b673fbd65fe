"""The library behind the stages: a package per subject, each importing only packages further down this list.

report, figures, handwriting, training -> model, dataset, metrics, paper, style -> core
"""
