"""Upscaling pictures in a browser, and over HTTP for programs."""
