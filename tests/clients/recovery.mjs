// Connection state recovery with socket.io-client: the same id, the same rooms, what was missed once and in order.

import * as h from "./harness.mjs";

const { assert, TRANSPORTS } = h;
const checks = {};

const CUTS = {
  "engine.close()": (socket) => socket.io.engine.close(),
  "a destroyed TCP connection": (socket) => socket.io.engine.transport.ws._socket.destroy(),
};

/** Cuts the connection, and waits until the client has seen it. */
async function cut(socket, how) {
  const gone = h.next(socket, "disconnect");
  how(socket);
  await gone;
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  for (const [kind, how] of Object.entries(CUTS)) {
    if (name === "polling" && kind !== "engine.close()") continue;

    checks[`${name}, ${kind}: what was missed comes once and in order, time and again`] = async () => {
      const [reader, sender] = [await h.connected(transports), await h.connected(TRANSPORTS.websocket)];
      const room = h.randomUUID();
      await h.join(reader, room);
      const heard = h.texts(reader);
      const { id } = reader;
      assert.equal(reader.recovered, false);
      const wanted = ["before"];
      await h.send(sender, room, "before");
      await h.heardExactly(heard, wanted);
      // Each round is likely to reach another worker.
      for (let round = 0; round < 6; round += 1) {
        if (name === "upgrade") await h.upgraded(reader);
        await cut(reader, how);
        for (const text of h.numbered(`round ${round}, missed`, 20)) {
          wanted.push(text);
          await h.send(sender, room, text);
        }
        await h.reconnect(reader);
        assert.equal(reader.recovered, true);
        assert.equal(reader.id, id);
        wanted.push(`round ${round}, live`);
        await h.send(sender, room, `round ${round}, live`);
        await h.eventually(
          () => `${wanted.length} messages, got ${heard.length}`,
          () => heard.length >= wanted.length,
        );
      }
      await h.heardExactly(heard, wanted);
    };

    checks[`${name}, ${kind}: a client that has heard nothing yet is recovered`] = async () => {
      const [reader, sender] = [await h.connected(transports), await h.connected(TRANSPORTS.websocket)];
      const room = h.randomUUID();
      await h.join(reader, room);
      const heard = h.texts(reader);
      if (name === "upgrade") await h.upgraded(reader);
      await cut(reader, how);
      await h.send(sender, room, "the first");
      await h.reconnect(reader);
      assert.equal(reader.recovered, true);
      await h.heardExactly(heard, ["the first"]);
    };
  }
}

checks["a client that reconnects by itself misses nothing of a stream"] = async () => {
  const options = { reconnection: true, reconnectionDelay: 100, randomizationFactor: 0 };
  const [reader, sender] = [
    await h.connected(TRANSPORTS.websocket, options),
    await h.connected(TRANSPORTS.websocket),
  ];
  const room = h.randomUUID();
  await h.join(reader, room);
  const heard = h.texts(reader);
  let recovered = 0;
  reader.on("connect", () => (recovered += reader.recovered ? 1 : 0));
  const wanted = h.numbered("message", 400);
  for (const [i, text] of wanted.entries()) {
    if (i % 100 === 50) CUTS["a destroyed TCP connection"](reader);
    await h.send(sender, room, text);
    await h.sleep(3);
  }
  await h.heardExactly(heard, wanted);
  assert.equal(recovered, 4);
};

checks["a room that was left stays left"] = async () => {
  const [reader, sender] = [await h.connected(TRANSPORTS.websocket), await h.connected(TRANSPORTS.websocket)];
  const [kept, left] = [h.randomUUID(), h.randomUUID()];
  await h.join(reader, kept);
  await h.join(reader, left);
  assert.equal((await reader.emitWithAck("leave", { roomId: left })).ok, true);
  const heard = h.texts(reader);
  await cut(reader, CUTS["engine.close()"]);
  await h.send(sender, left, "not for the reader");
  await h.send(sender, kept, "for the reader");
  await h.reconnect(reader);
  assert.equal(reader.recovered, true);
  await h.heardExactly(heard, ["for the reader"]);
};

await h.run(checks);
