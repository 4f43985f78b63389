"""The trained model as users hold it."""
