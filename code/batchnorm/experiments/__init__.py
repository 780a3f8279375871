"""Runs too long for a notebook: commands that leave a small result file behind."""
