"""Detectors that people export, from their public packages: built, exported, compiled, measured."""
