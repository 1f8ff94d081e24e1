"""The process on each GPU node. Empty so far: it arrives with the lease service."""
