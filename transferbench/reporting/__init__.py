"""Ours beside the published: results as documents, text, Markdown and HTML. Knows no net, no dataset and no SVM."""
