"""Shared by every stage: parameters, paths, files, errors, and the preprocessed data."""

import os

# A library must not read these, because some of them change bits, such as FREETYPE_PROPERTIES.
_REMOVED = ("TF_", "TF2_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "MPLBACKEND", "MATPLOTLIBRC", "FREETYPE_")
_KEPT = ("TF_CONFIG", "TF_CPP_MIN_LOG_LEVEL", "KERAS_HOME")

for _name in list(os.environ):
    if _name.startswith(_REMOVED) and _name not in _KEPT:
        del os.environ[_name]
