"""Facial-landmark frames. Each module here is an extractor (pipeline.features tells what it must have)."""
