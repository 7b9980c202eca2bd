"""Descriptors ↔ HDF5. Knows rows, ids and hashes; knows no net and no dataset. The format is docs/cache-format.md."""
