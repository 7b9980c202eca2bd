from transferbench.types.labels import ClassLabels, MultiLabels


def test_labels_follow_the_order_of_the_ids():
    labels = ClassLabels(classes=("x", "y"), by_id={"a": 1, "b": 0})
    assert labels.of(("b", "a", "b")).tolist() == [0, 1, 0]
    multi = MultiLabels(classes=("x", "y"), by_id={"a": (1, 0), "b": (-1, 1)})
    assert multi.of(("b", "a")).tolist() == [[-1, 1], [1, 0]]
    assert multi.of(()).shape == (0, 2)
