"""A plant that closes the loop: GPUs, jobs, battery, feed; and the commands that run on it."""
