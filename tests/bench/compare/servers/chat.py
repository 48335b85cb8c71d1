"""A chat as it is written in an afternoon: uvicorn, json, sqlite3, one commit a message.

It speaks the part of the API document that the loads need, checks nothing that a demonstration
would not trip over, and is durable: SQLite's defaults sync each commit.

    python chat.py PORT DATABASE
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from typing import Any

import uvicorn

db = sqlite3.connect(sys.argv[2])
db.execute("PRAGMA journal_mode = WAL")
db.execute(
    "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, sender TEXT, receiver TEXT,"
    " group_id TEXT, type TEXT, content TEXT, sent_ms INTEGER)"
)
online: dict[str, Any] = {}  # user -> the function that sends to them
groups: dict[str, list[str]] = {}


def frame(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(
        {"type": kind, "data": data, "timestamp": int(time.time() * 1000)},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return {"type": "websocket.send", "text": text}


async def send_message(user: str, data: dict[str, Any]) -> None:
    group = data.get("group_id")
    now = int(time.time() * 1000)
    kind = data.get("type", "text")
    row = (user, data.get("receiver_id"), group, kind, data["content"], now)
    cursor = db.execute(
        "INSERT INTO message (sender, receiver, group_id, type, content, sent_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )
    db.commit()
    message = {
        "id": f"msg_{cursor.lastrowid}",
        "sender_id": user,
        **({"group_id": group} if group else {"receiver_id": data["receiver_id"]}),
        "type": kind,
        "content": data["content"],
        "status": "sent",
        "timestamp": now,
    }
    answer = {"success": True, "message_id": message["id"], "message": message}
    await online[user](frame("send_message", answer))
    receivers = groups[group] if group else [data["receiver_id"]]
    push = frame("new_group_message" if group else "new_message", message)
    for receiver in receivers:
        if receiver != user and receiver in online:
            await online[receiver](push)


async def websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    user = ""
    while (event := await receive())["type"] == "websocket.receive":
        request = json.loads(event["text"])
        data = request["data"]
        if request["type"] == "login":
            user = data["user_id"]
            online[user] = send
            await send(frame("login", {"success": True, "user_id": user}))
        elif request["type"] == "send_message":
            await send_message(user, data)
    online.pop(user, None)


async def http(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        event = await receive()
        body += event["body"]
        more = event["more_body"]
    status, answer = 404, {}
    if scope["path"] == "/api/v1/groups":
        owner = dict(scope["headers"])[b"x-user-id"].decode()
        group_id = f"group_{len(groups)}"
        groups[group_id] = [owner, *json.loads(body)["members"]]
        status, answer = 200, {"group": {"id": group_id}}
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)


uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
