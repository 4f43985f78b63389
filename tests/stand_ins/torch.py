"""In the way of torch, which tensorboardX imports for nothing where it can: two seconds of every command of a test."""

raise ImportError("commands of tests run without torch")
