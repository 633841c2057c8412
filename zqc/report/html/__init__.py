"""A report as one HTML file that needs nothing else: ``page`` is what it says, ``render`` draws."""
