"""Float → float, exact, without data: one spelling for everything that follows."""
