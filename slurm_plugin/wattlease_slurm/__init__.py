"""Wattlease for Slurm. Empty so far: the policy core and its plant come first."""
