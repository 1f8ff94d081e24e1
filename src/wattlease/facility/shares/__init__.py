"""The facility as a process of its own: it leases watts to clusters, and everything around them is its affair."""
