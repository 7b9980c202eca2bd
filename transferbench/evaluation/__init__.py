"""Descriptors → features → SVMs → scores. Knows no net, no dataset on disk and no torch."""
