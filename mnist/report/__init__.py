"""The page that shows a run: its templates, and what fills them."""
