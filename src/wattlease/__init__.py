"""Wattlease: keeps an AI datacenter under its power limit; every watt is a lease."""
