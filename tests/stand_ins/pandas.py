"""In the way of pandas, which PyArrow imports for nothing where it can: half a second of every command of a test."""

raise ImportError("commands of tests run without pandas")
