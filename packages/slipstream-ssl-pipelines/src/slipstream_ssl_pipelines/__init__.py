"""Presets and transforms for self-supervised learning."""
