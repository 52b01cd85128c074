"""The rooms application with python-socketio, as `python rooms.py URL`: connect, join, message, ack."""

import queue
import sys
import uuid

import socketio

LIMIT_S = 10
TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}


class Client:
    """A connected client and what it has heard."""

    def __init__(self, url, transports):
        self.broadcasts = queue.Queue()
        self.socket = socketio.Client(reconnection=False, request_timeout=LIMIT_S)
        self.socket.on("messageBroadcast", self.heard)
        self.socket.connect(url, transports=transports, wait_timeout=LIMIT_S)

    def heard(self, message, *offset):
        """A broadcast that can be recovered has its offset as its last argument."""
        self.broadcasts.put(message)

    def call(self, event, payload):
        ack = self.socket.call(event, payload, timeout=LIMIT_S)
        assert ack["ok"] is True, ack
        return ack

    def text(self):
        return self.broadcasts.get(timeout=LIMIT_S)["text"]


def check(url, name, transports):
    ada, bob = Client(url, transports), Client(url, transports)
    if name != "polling":
        assert ada.socket.transport() == "websocket", ada.socket.transport()
    room = str(uuid.uuid4())
    ada.call("join", {"roomId": room})
    assert bob.call("join", {"roomId": room})["members"] == 2

    message = {"text": "hällo 🐟", "roomId": room, "userId": str(uuid.uuid4()), "name": "Ada"}
    ack = ada.call("message", message)
    for client in (ada, bob):
        heard = client.broadcasts.get(timeout=LIMIT_S)
        assert (heard["id"], heard["text"], heard["senderName"]) == (ack["id"], "hällo 🐟", "Ada"), heard

    wanted = [f"message {i}" for i in range(200)]
    for text in wanted:
        ada.socket.emit("message", {**message, "text": text})
    # This client handles every packet in a thread of its own, so that it does not keep the order itself.
    assert sorted(bob.text() for _ in wanted) == sorted(wanted)
    refused = bob.socket.call("message", {"roomId": room}, timeout=LIMIT_S)
    assert refused["ok"] is False and refused["details"]["code"] == "invalid_payload", refused
    assert bob.broadcasts.empty(), bob.broadcasts.get()
    for client in (ada, bob):
        client.socket.disconnect()
    print(f"ok: {name}", flush=True)


if __name__ == "__main__":
    for each in TRANSPORTS.items():
        check(sys.argv[1], *each)
