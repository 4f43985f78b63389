"""In the place of Matplotlib, for commands of tests: their pictures are empty, and not two seconds of every run."""
