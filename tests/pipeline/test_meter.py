from types import SimpleNamespace

from transferbench.pipeline.meter import Meter
from transferbench.progress import Silent


def test_a_summary_tells_what_this_process_did_and_what_others_did(tmp_path):
    (tmp_path / "rows-00000.h5").write_bytes(bytes(2_500_000))
    part = SimpleNamespace(blocks=[SimpleNamespace(folder=tmp_path, skipped=lambda: {"a": "is empty"})])
    with Silent().task("any", 300) as task:
        meter = Meter(task, 1)
        meter.advance(100, "")
    assert meter.summary(part, 100).startswith("extracted 100 descriptors in ")
    assert meter.summary(part, 100).endswith(" images/s; 1 block(s) of 2.5 MB, 1 image(s) skipped")
    shared = meter.summary(part, 300)
    assert shared.startswith("extracted 100 of 300 descriptors in ")
    assert " s, other processes the rest: " in shared
