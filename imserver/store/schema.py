"""The database's shape: the laws of its data, and its version.

The tables are made by `migrations`, which run at start. `PRAGMA user_version` holds the number of
migrations that a file has had; `application_id` says that a file is ours.

Laws of the data:

- `message.seq` is the one order. It is never reused: `meta.seq_floor` remembers the highest that
  deletion has taken away, or that a restore has passed over. Above it no place is empty.
- `meta.lost_after:<seq>`, in 20 digits, says up to where a restore took messages away: the places
  after `<seq>` up to the value were clients' cursors once, and are none any more.
- A user may see a message if a row of `membership` (an interval of `seq`, both ends included;
  `to_seq` NULL while it lasts) covers it. Both users of a direct conversation have one interval
  that covers everything.
- What a member has is their row in `member`: all up to `delivered_seq` / `read_seq`, plus the
  rows of `selective_ack` beyond. A selective row at or below both watermarks does not exist.
- `client_message` outlives the message that it names.
- Between the ends of a `run` its conversation has no message of anybody else.
- A password and a token are there as hashes only. What no longer lets anybody in is deleted:
  a revoked token at once, an expired one soon.
- `audit` is only ever added to; triggers see to it. Retention alone deletes its oldest entries, up
  to the number `meta.audit_floor`, and never the newest. Above that no number is missing.
- `conversation.removed_seq` is the highest place of what was removed from it (0: nothing was), and
  `removed_uid` who sent that; `removed_other_seq` the highest of what anybody else had sent. So
  everybody can be told of what they miss, and nobody of their own messages.
- A file is carried by the messages in `attachment`. Without one, `file.unused_ms` says since when;
  0 that it goes with the next sweep, because the last message that carried it is gone.
- A `reply` keeps its thread when what it answers, or the thread's first message, is gone.
- `failed` are removed messages that nobody had got: by their sender and place, with the newest
  place at the time, behind which their sender is to learn of it.
"""

from __future__ import annotations

from typing import Final

from imserver.store.migrations import MIGRATIONS as MIGRATIONS

APPLICATION_ID: Final = 0x494D5331  # "IMS1"
VERSION: Final = len(MIGRATIONS)
