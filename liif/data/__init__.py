"""Photographs, LR sets, packs, patches, and data versions."""
