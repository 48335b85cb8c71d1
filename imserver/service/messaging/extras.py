"""What a send may carry beside its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imserver.store.files import uploaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imserver.domain.requested import SendMessage
    from imserver.store.files.uploaded import StoredFile
    from imserver.store.transaction import Transaction


class Extras(NamedTuple):
    """What a send carries, as it was asked for. Sends without it have none."""

    attachments: Sequence[str] = ()  # ids of files

    @property
    def digested(self) -> dict[str, Any]:
        """What makes two sends different."""
        return {name: value for name, value in self._asdict().items() if value}

    def check(self, tx: Transaction, uid: int | None) -> Checked:
        """Look it up, before anything is written.

        Raises:
            ApiError: `not_found`, `invalid_request`.
        """
        return Checked(uploaded.own_files(tx.db, uid, self.attachments))


class Checked(NamedTuple):
    """What a send carries, as it was found."""

    files: Sequence[StoredFile]

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the message."""
        return {"attachments": tuple(file.view for file in self.files)}

    def store(self, tx: Transaction, seq: int) -> None:
        """Let the message at a place have it."""
        uploaded.attach(tx.db, seq, [file.file_id for file in self.files])


def extras_of(request: SendMessage) -> Extras | None:
    """What a request carries; None: nothing but its text."""
    if not request.attachments:
        return None
    return Extras(request.attachments)
