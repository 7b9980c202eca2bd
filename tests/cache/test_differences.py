from dataclasses import replace

from transferbench.cache.differences import differences


def test_differences_name_every_field(spec):
    other = replace(spec, flip=False, net=replace(spec.net, pool_rounding="floor"))
    assert differences(spec, other) == [("net.pool_rounding", '"ceil"', '"floor"'), ("flip", "true", "false")]
    assert differences(spec, spec) == []
