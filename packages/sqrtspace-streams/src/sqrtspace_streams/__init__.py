"""Long array pipelines in small, constant memory."""
