// The rooms application with socket.io-client: transports, acks, order, reconnects, reasons of a disconnect.

import * as h from "./harness.mjs";

const { assert, TRANSPORTS } = h;
const checks = {};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  checks[`${name}: connects, joins, sends and hears`] = async () => {
    const ada = h.client(transports);
    const greeting = h.next(ada, "connection_established");
    await h.reconnect(ada);
    const [{ socketId, message }] = await greeting;
    assert.equal(socketId, ada.id);
    assert.equal(message, "Connected to Eliza Socket.IO server");
    const bob = await h.connected(transports);
    const room = h.randomUUID();
    await h.join(ada, room);
    assert.equal((await h.join(bob, room)).members, 2);

    const userId = h.randomUUID();
    const broadcasts = [ada, bob].map((socket) => h.next(socket, "messageBroadcast"));
    const complete = h.next(ada, "messageComplete");
    const ack = await h.send(ada, room, "häl\u2028lo 🐟", { userId, messageId: "mine" });
    const [[own], [other]] = await h.within("both copies", Promise.all(broadcasts));
    assert.equal(own.clientMessageId, "mine");
    delete own.clientMessageId;
    assert.deepEqual(own, other);
    assert.deepEqual(
      [other.senderId, other.senderName, other.text, other.roomId, other.id, other.createdAt],
      [userId, "Ada", "häl\u2028lo 🐟", room, ack.id, ack.createdAt],
    );
    assert.equal((await complete)[0].channelId, room);

    const left = await bob.emitWithAck("leave", { roomId: room });
    assert.deepEqual(left, { ok: true, roomId: room });
    const unheard = h.texts(bob);
    await h.send(ada, room, "bob is gone");
    await h.sleep(h.QUIET_MS);
    assert.deepEqual(unheard, []);
  };

  checks[`${name}: stays with the transport it should`] = async () => {
    const socket = h.client(transports);
    await h.reconnect(socket);
    const wanted = name === "polling" ? "polling" : "websocket";
    await h.eventually(() => `transport ${wanted}`, () => socket.io.engine.transport.name === wanted);
    await h.join(socket, h.randomUUID());
    assert.equal(socket.io.engine.transport.name, wanted);
  };

  checks[`${name}: a bad event is answered and the connection goes on`] = async () => {
    const socket = await h.connected(transports);
    const ack = await socket.emitWithAck("no-such-event", 1);
    assert.equal(ack.ok, false);
    assert.equal(ack.details.code, "unknown_event");
    // Without an ack to fail, it is an event.
    const error = h.next(socket, "error");
    socket.emit("no-such-event", 1);
    assert.equal((await error)[0].details.code, "unknown_event");
    await h.join(socket, h.randomUUID());
  };

  checks[`${name}: 1,000 messages come in order`] = async () => {
    const [sender, reader] = [await h.connected(transports), await h.connected(transports)];
    const room = h.randomUUID();
    await h.join(reader, room);
    const heard = h.texts(reader);
    const wanted = h.numbered("message", 1000);
    const userId = h.randomUUID();
    for (const text of wanted) sender.emit("message", { text, roomId: room, userId, name: "Ada" });
    await h.heardExactly(heard, wanted);
  };
}

checks["1,000 messages come in order while both clients upgrade"] = async () => {
  const upgrade = h.lateUpgrade();
  const [reader, sender] = [await h.connected(upgrade.transports), await h.connected(upgrade.transports)];
  const room = h.randomUUID();
  const heard = h.texts(reader);
  await h.join(reader, room);
  const wanted = h.numbered("message", 1000);
  const acks = [];
  for (const [i, text] of wanted.entries()) {
    if (i === 300) {
      assert.equal(sender.io.engine.transport.name, "polling");
      upgrade.begin();
    }
    acks.push(h.send(sender, room, text));
    // Spread over the time the upgrades take.
    if (i % 10 === 0) await h.sleep(1);
  }
  await Promise.all([reader, sender].map(h.upgraded));
  await h.within("all acks", Promise.all(acks));
  await h.heardExactly(heard, wanted);
};

checks["a client that loses its connection comes back by itself"] = async () => {
  for (const transports of Object.values(TRANSPORTS)) {
    const socket = await h.connected(transports, { reconnection: true, reconnectionDelay: 50 });
    const gone = h.next(socket, "disconnect");
    const back = h.next(socket, "connect");
    socket.io.engine.close();
    assert.equal((await gone)[0], "forced close");
    await back;
    await h.join(socket, h.randomUUID());
  }
};

checks["a cut connection is `transport close`, a disconnect of the client `io client disconnect`"] = async () => {
  const cut = await h.connected(TRANSPORTS.websocket);
  const reason = h.next(cut, "disconnect");
  cut.io.engine.transport.ws._socket.destroy();
  assert.equal((await reason)[0], "transport close");

  const leaving = await h.connected(TRANSPORTS.websocket);
  const own = h.next(leaving, "disconnect");
  leaving.disconnect();
  assert.equal((await own)[0], "io client disconnect");
  // It left for good: connecting again is a new session.
  const id = leaving.id;
  await h.reconnect(leaving);
  assert.equal(leaving.recovered, false);
  assert.notEqual(leaving.id, id);
};

checks["an unknown namespace is refused"] = async () => {
  for (const transports of Object.values(TRANSPORTS)) {
    const socket = h.client(transports, {}, "/nowhere");
    const refused = h.next(socket, "connect_error");
    socket.connect();
    assert.equal((await refused)[0].message, "Invalid namespace");
    assert.equal(socket.connected, false);
  }
};

await h.run(checks);
