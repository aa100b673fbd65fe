"""Where images come from: the catalogue of data sets, their download, and the IDX format."""
