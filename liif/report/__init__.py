"""Results to one page."""
