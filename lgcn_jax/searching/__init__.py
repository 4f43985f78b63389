"""The search for hyper-parameters: a space of settings, a study of trials that several workers share, its result."""
