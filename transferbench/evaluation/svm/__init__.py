"""One-vs-rest linear SVMs: LIBLINEAR's objective for all classes, values of C and splits at once.

``objective`` says what is minimised and certifies how far from the minimum a solution is. ``kernels`` holds the inner
loops, ``descent`` the method, ``newton``, ``primal`` and ``direct`` its three forms of Newton's method for the squared
hinge, ``hinge`` that for the hinge, ``operators`` and ``rows`` the two ways of multiplying by the Gram matrix (a matrix
in memory, or rows that are read in blocks), ``gram`` the algebra that makes the matrix of stacked features without
stacking them, ``scoring`` that of test scores, ``choice`` the choice between the two by shape. ``on_features`` cuts the
problems of all splits out of a variant's features. ``solvers`` offers that to the protocol, with scikit-learn's
`LinearSVC` (``liblinear``) as the reference; ``estimator`` offers the SVM to scikit-learn.
"""
