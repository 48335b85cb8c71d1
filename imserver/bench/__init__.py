"""`imserver bench`: how fast is it on this machine?

Laws:

- The server is the one that everyone runs: a process of its own, its defaults, a real file. No
  code path of it exists for the bench.
- The load is a process of its own, on a core of its own where asked. Beside each figure stands
  how busy it was: a saturated client measures itself.
- A message counts when its receiver has it. After the measured time everything under way must
  still arrive; a run that lost a message is no measurement.
- What is not the load's to measure (memory and CPU of the server) is read from `/proc`.
"""
