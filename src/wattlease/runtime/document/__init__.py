"""A report as one page: tiles, tables and charts, readable without a network, with a script or without."""
