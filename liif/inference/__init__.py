"""Pictures to larger pictures, and their measurement."""
