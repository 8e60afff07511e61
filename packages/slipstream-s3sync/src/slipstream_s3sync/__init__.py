"""Synchronisation with S3."""
