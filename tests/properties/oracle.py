"""What the server should know and say, told as simply as the design tells it.

No watermarks, no SQL, no caches: the oracle keeps each acknowledgement of each message and each
stay of each member, and derives everything else by looking at all of it. It shares no code with
the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LABELS = ("sent", "delivered", "read")
ROLES = ("member", "admin", "owner")
DONE = {"success": True}


@dataclass(frozen=True)
class Post:
    """One message."""

    seq: int
    pair: tuple[str, str] | None  # the two of a direct conversation, in either order
    group: str | None
    sender: str
    receiver: str | None
    kind: str
    content: str
    at: int
    event: dict[str, str] | None = None

    @property
    def id(self) -> str:
        return f"msg_{self.seq}"

    @property
    def to_oneself(self) -> bool:
        return self.receiver == self.sender

    @property
    def conversation(self) -> object:
        return self.group if self.pair is None else frozenset(self.pair)


@dataclass
class Circle:
    """A group: who is in it, in the order in which they came, and who ever was."""

    id: str
    name: str
    description: str
    owner: str
    created: int
    updated: int
    private: bool = False
    days: float = 0  # how long it keeps messages
    admins: set[str] = field(default_factory=set)
    members: dict[str, int] = field(default_factory=dict)  # when each one came
    banned: set[str] = field(default_factory=set)
    stays: dict[str, list[list[int | None]]] = field(default_factory=dict)  # first and last seq

    def rank(self, user: str) -> int:
        """0 for members, 1 for admins, 2 for the owner."""
        return 2 if user == self.owner else int(user in self.admins)


@dataclass(frozen=True)
class Device:
    """A session as the oracle knows it."""

    name: int
    user: str


class Oracle:
    """The whole truth."""

    def __init__(self, most_members: int) -> None:
        self.now = 0
        self.posts: list[Post] = []
        self.circles: dict[str, Circle] = {}
        self.reached: dict[tuple[str, int], int] = {}  # by recipient and seq: 1 or 2
        self.keys: dict[tuple[str, str], tuple[tuple[Any, ...], Post]] = {}
        self.devices: dict[Device, list[dict[str, Any]]] = {}  # what each is pushed
        self.invitations: dict[tuple[str, str], tuple[str, int]] = {}  # by user and group
        self.removed: set[int] = set()
        self.failed: dict[int, int] = {}  # what nobody had got when it was removed, and the newest
        # Up to where nothing is missing, by user and conversation: with removed messages this
        # depends on what was there when something was acknowledged.
        self.marks: dict[tuple[str, object], int] = {}
        self._most_members = most_members

    # -- what is true -------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        return len(self.posts)

    @property
    def kept(self) -> list[Post]:
        return [post for post in self.posts if post.seq not in self.removed]

    @property
    def gone(self) -> list[Post]:
        return [post for post in self.posts if post.seq in self.removed]

    def post(self, seq: int) -> Post | None:
        there = 1 <= seq <= len(self.posts) and seq not in self.removed
        return self.posts[seq - 1] if there else None

    def mark(self, user: str, post: Post) -> int:
        return self.marks.get((user, post.conversation), 0)

    def sees(self, user: str, post: Post) -> bool:
        """Whether a message is the user's to see."""
        if post.pair is not None:
            return user in post.pair
        stays = self.circles[post.group].stays.get(user, [])
        return any(a <= post.seq and (b is None or post.seq <= b) for a, b in stays)

    def is_for(self, user: str, post: Post) -> bool:
        """Whether the user is a recipient of a message."""
        return self.sees(user, post) and (post.sender != user or post.to_oneself)

    def level(self, user: str, post: Post) -> int:
        return self.reached.get((user, post.seq), 0)

    def status(self, viewer: str, post: Post) -> str:
        """How far a message has come, as the viewer is told."""
        if self.is_for(viewer, post):
            return LABELS[self.level(viewer, post)]
        if post.pair is not None:
            return LABELS[self.level(post.receiver, post)]
        others = [
            user
            for user in self.circles[post.group].members
            if user != viewer and self.sees(user, post)
        ]
        return LABELS[min((self.level(user, post) for user in others), default=0)]

    def misses(self, user: str, after: int | None, own: bool) -> bool:
        """Whether something that a sync was to bring is gone."""
        return any(
            self.sees(user, post)
            and (own or self.is_for(user, post))
            and post.seq > (self.mark(user, post) if after is None else after)
            for post in self.gone
        )

    def oldest(self, user: str) -> str | None:
        return next((post.id for post in self.kept if self.sees(user, post)), None)

    def failures(self, user: str, after: int | None, last: int | None) -> list[str]:
        """What failed since the newest message was `after`, until it was the one before `last`."""
        return [
            f"msg_{seq}"
            for seq, newest in sorted(self.failed.items())
            if self.posts[seq - 1].sender == user
            and newest >= (after or 0)
            and (last is None or newest < last)
        ]

    def show(self, viewer: str | None, post: Post) -> dict[str, Any]:
        """A message as the viewer gets it; None: as it is pushed when it is new."""
        shown = {"id": post.id, "sender_id": post.sender}
        if post.receiver is not None:
            shown["receiver_id"] = post.receiver
        if post.group is not None:
            shown["group_id"] = post.group
        status = "sent" if viewer is None else self.status(viewer, post)
        if post.seq in self.removed:  # to a sender who sends it again
            status = "failed" if post.seq in self.failed else "sent"
        shown |= {
            "type": post.kind,
            "content": post.content,
            "status": status,
            "timestamp": post.at,
        }
        if post.event is not None:
            shown["event"] = post.event
        return shown

    def backlog(self, user: str, after: int | None, own: bool) -> list[Post]:
        """All that a sync is to bring: after a cursor, or what is not acknowledged."""
        if after is not None:
            return [
                post
                for post in self.kept
                if post.seq > after and self.sees(user, post) and (own or self.is_for(user, post))
            ]
        return [
            post
            for post in self.kept
            if (self.is_for(user, post) and not self.level(user, post))
            or (own and self._is_recent_own(user, post))
        ]

    def _is_recent_own(self, user: str, post: Post) -> bool:
        # Nobody acknowledges what they sent: it counts as done with when the user has
        # acknowledged something behind it, and everything before that.
        if post.sender != user or post.to_oneself or not self.sees(user, post):
            return False
        if any(gone.conversation == post.conversation for gone in self.gone):
            return post.seq > self.mark(user, post)
        for other in self.posts:
            if other.conversation == post.conversation and self.is_for(user, other):
                if not self.level(user, other):
                    return True
                if other.seq > post.seq:
                    return False
        return True

    # -- what happens -------------------------------------------------------------------------

    def connect(self, device: Device) -> None:
        self.devices[device] = []

    def disconnect(self, device: Device) -> None:
        self.devices.pop(device, None)

    def send(
        self,
        user: str,
        device: Device | None,
        *,
        receiver: str | None = None,
        group: str | None = None,
        kind: str,
        content: str,
        key: str | None,
    ) -> dict[str, Any] | str:
        what = (receiver, group, kind, content)
        if key is not None and (user, key) in self.keys:
            first, post = self.keys[user, key]
            if first != what:
                return "conflict"
            return self._sent(user, post)
        if group is not None:
            circle = self._open_circle(group)
            if circle is None:
                return "not_found"
            if user not in circle.members:
                return "not_found" if circle.private else "forbidden"
            users = set(circle.members)
            post = self._add(None, group, user, None, kind, content)
        else:
            users = {user, receiver}
            post = self._add((user, receiver), None, user, receiver, kind, content)
        if key is not None:
            self.keys[user, key] = (what, post)
        self._push_post(users, post, None if post.to_oneself else device)
        return self._sent(user, post)

    def ack(
        self, user: str, device: Device | None, *, seq: int, level: int, cumulative: bool
    ) -> dict[str, Any] | str:
        post = self.post(seq)
        if post is None or not self.sees(user, post):
            return "not_found"
        if not self.is_for(user, post):
            return "forbidden"
        covered = [post]
        if cumulative:
            covered = [
                other
                for other in self.kept
                if other.seq <= seq
                and other.conversation == post.conversation
                and self.is_for(user, other)
            ]
        news: dict[str, int] = {}
        hole = self._hole(user, post, self.mark(user, post))
        closes = cumulative or (
            self.level(user, post) < level and (hole is None or hole.seq >= seq)
        )
        for other in covered:
            if self.level(user, other) < level:
                self.reached[user, other.seq] = level
                news[other.sender] = other.seq
        if closes and seq > self.mark(user, post):
            self.marks[user, post.conversation] = self._closed(user, post)
        if news:
            change = {"status": LABELS[level], "user_id": user, "timestamp": self.now}
            if cumulative:
                change["cumulative"] = True
            for sender, highest in news.items():
                if sender not in ("system", user):
                    self._push_status({sender}, {"message_id": f"msg_{highest}"} | change, device)
            highest = max(news.values())
            self._push_status({user}, {"message_id": f"msg_{highest}"} | change, device)
        return DONE

    def _hole(self, user: str, post: Post, after: int) -> Post | None:
        """The first message behind a place, of that conversation, that the user has not got."""
        for other in self.kept:
            behind = other.conversation == post.conversation and other.seq > after
            if behind and self.is_for(user, other) and not self.level(user, other):
                return other
        return None

    def _closed(self, user: str, post: Post) -> int:
        """How far behind a message, with all before it, the user has got everything."""
        hole = self._hole(user, post, post.seq)
        return max(
            other.seq
            for other in self.kept
            if other.conversation == post.conversation
            and self.level(user, other)
            and (hole is None or other.seq < hole.seq)
        )

    def expire(self, before: int, group: str | None, piece: int) -> tuple[int, list[Any], bool]:
        """Remove a piece of what was sent before a time: how many, who lost what, and if more."""
        old: list[Post] = []
        for post in self.kept:
            if group is None or post.group == group:
                if post.at >= before or len(old) == piece:
                    break
                old.append(post)
        conversations = dict.fromkeys(post.conversation for post in old)
        old.sort(key=lambda post: list(conversations).index(post.conversation))
        failed = [post for post in old if self._failed(post)]
        self.removed |= {post.seq for post in old}
        for post in failed:
            self.failed[post.seq] = self.newest
            change = {"status": "failed", "user_id": "system", "timestamp": self.now}
            self._push_status({post.sender}, {"message_id": post.id} | change, None)
        return len(old), [(post.sender, post.seq) for post in failed], len(old) == piece

    def _failed(self, post: Post) -> bool:
        if post.sender == "system" or post.to_oneself:
            return False
        if post.pair is not None:
            others = [post.receiver]
        else:
            stays = self.circles[post.group].stays
            others = [u for u in stays if u != post.sender and self.sees(u, post)]
        return bool(others) and not any(self.level(user, post) for user in others)

    def create(
        self,
        user: str,
        group: str,
        *,
        name: str,
        description: str,
        members: list[str],
        private: bool = False,
    ) -> dict[str, Any]:
        """A group that the server called `group`."""
        circle = Circle(group, name, description, user, self.now, self.now, private)
        self.circles[group] = circle
        for member in dict.fromkeys([user, *members]):
            self._admit(circle, member)
        sentence = f'{user} created the group "{name}"'
        self._announce(circle, sentence, "created", user, user, {"name": name})
        return {"group": self.describe(circle)}

    def join(self, user: str, *, group: str) -> dict[str, Any] | str:
        circle = self._open_circle(group)
        if circle is None:
            return "not_found"
        if user in circle.members:
            return DONE
        if circle.private and not self._is_invited(user, group):
            return "not_found"
        if user in circle.banned:
            return "forbidden"
        if len(circle.members) >= self._most_members:
            return "too_large"
        self._admit(circle, user)
        self._announce(circle, f"{user} joined the group", "join", user, user)
        return DONE

    def leave(self, user: str, *, group: str) -> dict[str, Any] | str:
        circle = self.circles.get(group)
        if circle is None or user not in circle.stays:
            return "not_found"
        if user not in circle.members:
            return DONE
        self._announce(circle, f"{user} left the group", "leave", user, user)
        self._dismiss(circle, user)
        if circle.owner == user and circle.members:
            admins = [member for member in circle.members if member in circle.admins]
            heir = circle.owner = (admins or list(circle.members))[0]
            circle.admins.discard(heir)
            self._announce(circle, f"{heir} now owns the group", "transfer", heir, user)
        return DONE

    # -- what owners and admins do: each begins with who may --------------------------------

    def update(
        self,
        by: str,
        *,
        group: str,
        name: str | None = None,
        description: str | None = None,
        private: bool | None = None,
        retention_days: float | None = None,
    ) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 1)
        if circle is None:
            return refusal
        changes = []
        details: dict[str, Any] = {"changed": []}
        if name not in (None, circle.name):
            circle.name = name
            changes.append(f'the name to "{name}"')
            details["changed"].append("name")
            details["name"] = name
        if description not in (None, circle.description):
            circle.description = description
            changes.append("the description")
            details["changed"].append("description")
        if private not in (None, circle.private):
            circle.private = private
            changes.append(f"the group to {'private' if private else 'open'}")
            details["changed"].append("private")
            details["private"] = private
        if retention_days not in (None, circle.days):
            circle.days = retention_days
            changes.append("how long messages are kept")
            details["changed"].append("retention_days")
        if changes:
            circle.updated = self.now
            sentence = f"{by} changed {' and '.join(changes)}"
            self._announce(circle, sentence, "updated", by, by, details)
        return {"group": self.describe(circle)}

    def add(self, by: str, *, group: str, members: list[str]) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 1)
        if circle is None:
            return refusal
        new = [user for user in dict.fromkeys(members) if user not in circle.members]
        if len(circle.members) + len(new) > self._most_members:
            return "too_large"
        for user in new:
            circle.banned.discard(user)
            self._admit(circle, user)
        if new:
            listed = f"{', '.join(new[:-1])} and {new[-1]}" if len(new) > 1 else new[0]
            all_of_them = {"user_ids": new} if len(new) > 1 else {}
            self._announce(circle, f"{by} added {listed}", "added", new[0], by, all_of_them)
        return DONE

    def remove(self, by: str, *, group: str, user_id: str) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 1)
        if circle is None:
            return refusal
        if user_id not in circle.members:
            return "not_found"
        if circle.rank(user_id) >= circle.rank(by):
            return "forbidden"
        self._announce(circle, f"{by} removed {user_id}", "removed", user_id, by)
        circle.banned.add(user_id)
        self._dismiss(circle, user_id)
        return DONE

    def appoint(self, by: str, *, group: str, user_id: str, role: str) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 2)
        if circle is None:
            return refusal
        if user_id not in circle.members:
            return "not_found"
        if user_id == circle.owner:
            return "forbidden"
        if ROLES[circle.rank(user_id)] != role:
            (circle.admins.add if role == "admin" else circle.admins.discard)(user_id)
            article = "an admin" if role == "admin" else "a member"
            self._announce(
                circle, f"{by} made {user_id} {article}", "role", user_id, by, {"role": role}
            )
        return DONE

    def transfer(self, by: str, *, group: str, user_id: str) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 2)
        if circle is None:
            return refusal
        if user_id not in circle.members:
            return "not_found"
        if user_id != by:
            circle.owner = user_id
            circle.admins = circle.admins - {user_id} | {by}
            sentence = f"{user_id} now owns the group"
            self._announce(circle, sentence, "transfer", user_id, by, {"role": "owner"})
        return DONE

    def dissolve(self, by: str, *, group: str) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 2)
        if circle is None:
            return refusal
        self._announce(circle, f"{by} dissolved the group", "dissolved", by, by)
        for user in list(circle.members):
            self._dismiss(circle, user)
        return DONE

    def invite(self, by: str, *, group: str, user_id: str) -> dict[str, Any] | str:
        circle, refusal = self._governed(by, group, 1)
        if circle is None:
            return refusal
        if user_id not in circle.members:
            circle.banned.discard(user_id)
        if user_id not in circle.members and not self._is_invited(user_id, group):
            self.invitations[user_id, group] = (by, self.now)
            data = self._invitation(user_id, group)
            frame = {"type": "invitation", "data": data, "timestamp": self.now}
            self._push({user_id}, frame, None)
        return DONE

    def decline(self, user: str, *, group: str) -> dict[str, Any] | str:
        self.invitations.pop((user, group), None)
        return DONE

    # -- what is asked ------------------------------------------------------------------------

    def look(self, user: str, seq: int) -> dict[str, Any] | str:
        post = self.post(seq)
        if post is None or not self.sees(user, post):
            return "not_found"
        return {"message": self.show(user, post)}

    def conversations(self, user: str) -> dict[str, tuple[int, list[dict[str, Any]]]]:
        """What a user is in: how much of each is unread, and all that they may see of it."""
        names: dict[str, object] = {
            group: group for group, circle in self.circles.items() if user in circle.members
        }
        for post in self.posts:
            if post.pair is not None and user in post.pair:
                other = post.receiver if post.sender == user else post.sender
                names[other] = post.conversation
        found = {}
        for name, conversation in names.items():
            mine = [
                post
                for post in self.kept
                if post.conversation == conversation and self.sees(user, post)
            ]
            unread = [
                post
                for post in mine
                if post.sender not in (user, "system") and self.level(user, post) < 2
            ]
            found[name] = (len(unread), [self.show(user, post) for post in mine])
        return found

    def look_group(self, user: str, group: str) -> dict[str, Any] | str:
        circle = self._open_circle(group)
        if circle is None or user not in circle.members:
            return "not_found"
        return {"group": self.describe(circle)}

    def list_members(self, user: str, group: str) -> list[dict[str, Any]] | str:
        circle = self._open_circle(group)
        if circle is None or user not in circle.members:
            return "not_found"
        return [
            {
                "group_id": group,
                "user_id": member,
                "role": ROLES[circle.rank(member)],
                "joined_at": _date(came),
            }
            for member, came in circle.members.items()
        ]

    def list_groups(self, user: str) -> list[dict[str, Any]]:
        mine = [circle for circle in self.circles.values() if user in circle.members]
        mine.sort(key=lambda circle: circle.stays[user][-1][0])
        return [self.describe(circle) for circle in mine]

    def list_invitations(self, user: str) -> list[dict[str, Any]]:
        first = list(self.circles)
        mine = [
            (at, first.index(group), group)
            for (whom, group), (by, at) in self.invitations.items()
            if self._may_invite(by, group)
            if whom == user and self._open_circle(group) is not None
        ]
        return [self._invitation(user, group) for _, _, group in sorted(mine)]

    def describe(self, circle: Circle) -> dict[str, Any]:
        described = {
            "id": circle.id,
            "name": circle.name,
            "description": circle.description,
            "owner_id": circle.owner,
            "members": [user for user in circle.members if user != circle.owner],
            "created_at": _date(circle.created),
            "updated_at": _date(circle.updated),
        }
        if circle.private:
            described["private"] = True
        if circle.days:
            described["retention_days"] = circle.days
        return described

    # -- how ----------------------------------------------------------------------------------

    def _open_circle(self, group: str) -> Circle | None:
        circle = self.circles.get(group)
        return circle if circle is not None and circle.members else None

    def _governed(self, by: str, group: str, rank: int) -> tuple[Circle | None, str]:
        """A group that somebody of that rank at least wants to govern, or the refusal."""
        circle = self._open_circle(group)
        if circle is None or by not in circle.members:
            return None, "not_found"
        return (None, "forbidden") if circle.rank(by) < rank else (circle, "")

    def _admit(self, circle: Circle, user: str) -> None:
        circle.members[user] = self.now
        circle.stays.setdefault(user, []).append([self.newest + 1, None])
        self.marks.setdefault((user, circle.id), self.newest)
        circle.updated = self.now
        self.invitations.pop((user, circle.id), None)

    def _dismiss(self, circle: Circle, user: str) -> None:
        circle.stays[user][-1][1] = self.newest
        del circle.members[user]
        circle.admins.discard(user)
        circle.updated = self.now

    def _announce(
        self,
        circle: Circle,
        sentence: str,
        kind: str,
        whom: str,
        by: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        event = {"kind": kind, "user_id": whom, "by": by} | (details or {})
        post = self._add(None, circle.id, "system", None, "system", sentence, event)
        self._push_post(set(circle.members), post, None)

    def _may_invite(self, by: str, group: str) -> bool:
        circle = self.circles[group]
        return by in circle.members and circle.rank(by) > 0

    def _is_invited(self, user: str, group: str) -> bool:
        given = self.invitations.get((user, group))
        return given is not None and self._may_invite(given[0], group)

    def _invitation(self, user: str, group: str) -> dict[str, Any]:
        by, at = self.invitations[user, group]
        name = self.circles[group].name
        return {"group_id": group, "name": name, "invited_by": by, "invited_at": _date(at)}

    def _add(
        self,
        pair: tuple[str, str] | None,
        group: str | None,
        sender: str,
        receiver: str | None,
        kind: str,
        content: str,
        event: dict[str, Any] | None = None,
    ) -> Post:
        seq = self.newest + 1
        post = Post(seq, pair, group, sender, receiver, kind, content, self.now, event)
        self.posts.append(post)
        return post

    def _sent(self, user: str, post: Post) -> dict[str, Any]:
        # The answer to a send is the sender's view, also where they are their own recipient.
        return {"success": True, "message_id": post.id, "message": self.show(user, post)}

    def _push_post(self, users: set[str], post: Post, skip: Device | None) -> None:
        kind = "new_message" if post.group is None else "new_group_message"
        data = self.show(None, post)
        frame = {"type": kind, "data": data, "timestamp": post.at, "message_id": post.id}
        self._push(users, frame, skip)

    def _push_status(self, users: set[str], change: dict[str, Any], skip: Device | None) -> None:
        frame = {"type": "message_status", "data": change, "timestamp": self.now}
        self._push(users, frame, skip)

    def _push(self, users: set[str], frame: dict[str, Any], skip: Device | None) -> None:
        for device, pushed in self.devices.items():
            if device.user in users and device != skip:
                pushed.append(frame)


def _date(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
