"""The datapath of known flows, compiled, and the memory that it shares with the card.

As in the cloud's own cards (Firestone et al., NSDI 2018) the first packet of a flow is an exception: the slow path
decides, and the decision is installed in the flow table. From then on kernels carry the flow's packets, until something
that the decision rests on changes: policy, links, the tunnel's association. Then the next packet is an exception again.

Who calls whom::

    card, a burst at a time                          a host's compiled loop, a packet or a receive at a time
    nic/egress.py, nic/ingress.py                    host/loop/kernels.py
            |                                                |
    entries.py   numbers and addresses               (no Python in between)
            |                                                |
            +-------------------- kernels.py ----------------+
                 plan_out, seal_out | find_path, open_in, take_in
                                      |
        wire/ inspect, segment, encapsulate, merge    tunnel/record_kernels.py seal, open

* *One rule, one place.* Whether a packet is of a known flow, fits, may be sealed, may be delivered, and how it is counted,
  is decided in `kernels.py` only. Both callers get a verdict (`verdicts.py`); the loop hands every exception to the card,
  and the card's Python does misses, drops, fragments, what is too big or has to wait, and nothing else.
* *A backend without native ends* (`cryptography`, `openssl`) has the same kernels plan, lay out, find flows and count. Only
  the cipher over the burst is a call of Python: :attr:`~state.Plan.by_call` says so on the way out, and on the way in the
  tunnel opens the records and `entries.deliver_burst` goes on.
* *One memory.* What both change (record numbers, replay windows, timers, counters, flow tables) is in records of NumPy
  (`state.py`), which Python reads and writes, too. So the callers may take turns at any time, and nothing has to be
  settled between them. What a call tells its caller is in what it returns.
* *Paths* (`paths.py`) lead to other hosts, sealed or in clear. One is usable while nothing but traffic is to be expected
  of its association; the card refreshes it after every call on the tunnel.
* *Flows are decided anew* when the generation of the card's decisions changes; `datapath.py` installs them. A flow's
  counters are exact whoever carried it, and are handed on before they are overwritten (:mod:`dtls_emu.nic.flow_table`).
"""
