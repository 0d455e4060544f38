"""LIIF itself: encoders, decoder, geometry, tiles."""
