"""`LinearSVM`: the solver as a scikit-learn classifier, for use without the rest of this program."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from transferbench.evaluation.svm.choice import choose
from transferbench.evaluation.svm.descent import MAX_ROUNDS, Descent, warn_of_gaps
from transferbench.evaluation.svm.gram import gram_of_rows, working_type
from transferbench.evaluation.svm.objective import Loss, one_vs_rest_weights
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.rows import RowsOperator
from transferbench.types.arrays import Float64


class LinearSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """One-vs-rest linear SVM with LIBLINEAR's objective, all classes at once.

    It minimises what scikit-learn's `LinearSVC` minimises, the regularised bias included, and says how close it came.

    Parameters
    ----------
    C : float, default 1.0
        Weight of the loss against the regulariser.
    loss : {"squared_hinge", "hinge"}, default "squared_hinge"
        Of a margin violation.
    tol : float, optional
        Relative duality gap at which a class is done; 1e-8 up to 2,048 rows and 1e-5 beyond if not given.
    intercept_scaling : float, default 1.0
        Value of the constant feature that stands for the bias; its weight is regularised like the others. 0: no bias.
    class_weight : dict, "balanced" or None
        Factors on C of the classes' own rows, as in `LinearSVC`.
    max_iter : int, default 100
        Rounds after which a class is left as it is, with a warning.
    random_state : int, RandomState instance or None, default 0
        Order of the rows; the optimum does not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels.
    coef_ : ndarray of shape (K, d) or (1, d), float64
        Weight vectors; a single one for two classes.
    intercept_ : ndarray of shape (K,) or (1,), float64
        Biases.
    duality_gaps_ : ndarray of shape (K,) or (1,), float64
        (primal - dual) / primal of every machine, computed from the rows in float64: the objective is at most this part
        above its minimum.
    way_ : str
        Why the Gram matrix, or the rows, were worked on.
    n_iter_ : int
        Rounds taken.

    Examples
    --------
    >>> rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.1, 1.0], [1.0, 0.2]])
    >>> LinearSVM().fit(rows, ["up", "right", "up", "right"]).predict([[0.0, 2.0]]).tolist()
    ['up']
    """

    def __init__(
        self,
        C: float = 1.0,
        loss: Loss = "squared_hinge",
        tol: float | None = None,
        intercept_scaling: float = 1.0,
        class_weight: Mapping[Any, float] | str | None = None,
        max_iter: int = MAX_ROUNDS,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.C = C
        self.loss = loss
        self.tol = tol
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit all classes.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows, float32 or float64.
        y : array-like of shape (n,)
            Labels of at least two classes.

        Returns
        -------
        LinearSVM
            Itself. A machine whose gap is larger than `tol` is told of in a ``ConvergenceWarning``.

        Raises
        ------
        ValueError
            If a parameter or the data are out of range.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        self._check_parameters()
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            msg = f"LinearSVM needs rows of at least two classes, got one class: {self.classes_[0]!r}"
            raise ValueError(msg)
        order = check_random_state(self.random_state).permutation(len(X))
        rows, numbers = X[order], numbers[order]
        machines = np.array([1]) if len(self.classes_) == 2 else np.arange(len(self.classes_))
        signs = np.where(numbers == machines[:, None], 1, -1).astype(np.int8)
        weights = one_vs_rest_weights(signs, numbers, self.classes_, self.class_weight)
        choice = choose(rows.shape[0], rows.shape[1], len(machines))
        self.way_ = choice.reason
        exact = RowsOperator.of(rows, self.intercept_scaling, np.dtype(np.float64))
        operator = (
            GramOperator(gram_of_rows(rows, self.intercept_scaling))
            if choice.way == "gram"
            else RowsOperator.of(rows, self.intercept_scaling, working_type(len(rows)))
        )
        descent = Descent(operator, signs, self.loss, weights, tolerance=self.tol, max_rounds=self.max_iter)
        descent.solve(self.C)
        descent.certify(exact, self.C)
        warn_of_gaps(descent.gaps, descent.tolerance, f"C={self.C:g}", [str(self.classes_[k]) for k in machines])
        self.coef_ = exact.weights(descent.coefficients)
        self.intercept_ = self.intercept_scaling**2 * descent.coefficients.sum(axis=1)
        self.duality_gaps_ = descent.gaps
        self.n_iter_ = max(1, descent.rounds)
        return self

    def decision_function(self, X: Any) -> Float64:
        """Score rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, K), or (n,) for two classes, float64
            Larger for the class; for two classes, for the second.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores: Float64 = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Classify rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
            The label with the largest score.
        """
        scores = self.decision_function(X)
        numbers = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[numbers]
        return predicted

    def _check_parameters(self) -> None:
        problems = [
            f"{name} must be {what}, got {getattr(self, name)!r}"
            for name, what, good in (
                ("C", "a positive number", self.C > 0 and np.isfinite(self.C)),
                ("loss", "'squared_hinge' or 'hinge'", self.loss in {"squared_hinge", "hinge"}),
                ("tol", "None or a positive number", self.tol is None or self.tol > 0),
                ("intercept_scaling", "0 or a positive number", self.intercept_scaling >= 0),
                ("max_iter", "a positive whole number", self.max_iter >= 1),
            )
            if not good
        ]
        if problems:
            raise ValueError("; ".join(problems))
