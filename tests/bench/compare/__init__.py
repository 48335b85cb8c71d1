"""Other servers under the loads of `imserver bench`, side by side.

Laws:

- One load, one clock, one judge: the scenarios of `imserver.bench` run unchanged. A peer is a
  `Peer` (how it is started) and a `Wire` (how it is spoken to), nothing else.
- Each peer's own rules of acknowledgement are kept to the letter by its wire, and what a peer
  calls acknowledged stands beside its figures.
- Where a choice had to be made it favours the peer: no TLS, no logs, no limits, the shortest
  stanza. Every setting is in `templates/`.
- Runs alternate (A B C, A B C, ...), each on a fresh server in a fresh folder, so that a slow
  minute of the machine falls on all.
- What a peer says it keeps is counted after each run: less than was sent is no measurement.
"""
