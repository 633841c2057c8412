"""Measurements, studies, comparisons and the example: for people, never imported by the product.

Each is started as a module from the root of a checkout, such as ``python -m tools.study.stages``.
"""
