"""Batch normalization, derived and measured: what every chapter imports."""
