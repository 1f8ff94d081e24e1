"""Meters, battery, tariffs, grid events, forecast. Empty so far."""
