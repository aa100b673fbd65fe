"""The page and the model card that show a run: templates, their rendering, and the geometry of charts."""
