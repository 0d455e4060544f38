"""Photographs to weights, resumable at any step."""
