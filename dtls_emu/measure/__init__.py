"""Trials, and what they say: encrypted against plain, paired and interleaved, every packet accounted for.

One call does what ``dtls-emu bench`` does::

    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.plan import quick_plan

    result = benchmark("two-vms", quick_plan(seed=1))
    print(result.end.reading)

:mod:`.plan` says what is measured in which order, :mod:`.memory` and :mod:`.udp` measure it,
:mod:`.statistics` and :mod:`.summary` reduce it, :mod:`.report` prints it, :mod:`.result` is the JSON file.
"""
