"""Meters, battery, tariffs, grid events, forecast: what lies around a site's nodes."""
