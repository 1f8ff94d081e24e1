"""Meters: one file for each protocol, behind one small interface; and what stands in judgement over them."""
