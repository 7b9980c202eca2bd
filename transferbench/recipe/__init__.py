"""Recipes: an experiment as a value. They know what may be asked for, not how it is done."""
