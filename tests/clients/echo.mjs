// The protocol test app with socket.io-client: binary, namespaces, auth, heartbeats, a disconnect by the server.

import * as h from "./harness.mjs";

const { assert, TRANSPORTS } = h;
const checks = {};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  checks[`${name}: binary and text come back, and as an ack`] = async () => {
    const socket = await h.connected(transports);
    const blob = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
    const args = [1, "zwei", { three: [blob, null, Buffer.from([])] }, Buffer.from([0, 255])];
    const back = h.next(socket, "message-back");
    socket.emit("message", ...args);
    assert.deepEqual(await back, args);
    const ack = new Promise((resolve) => socket.emit("message-with-ack", ...args, (...acked) => resolve(acked)));
    // With a time limit the first argument of an ack says whether it struck.
    assert.deepEqual(await h.within("ack", ack), [null, ...args]);
  };

  checks[`${name}: two namespaces share a connection and do not mix`] = async () => {
    const main = h.client(transports, { auth: { who: "main" } });
    const custom = main.io.socket("/custom", { auth: { who: "custom" } });
    const auths = [h.next(main, "auth"), h.next(custom, "auth")];
    main.connect();
    custom.connect();
    assert.deepEqual((await auths[0])[0], { who: "main" });
    assert.deepEqual((await auths[1])[0], { who: "custom" });
    assert.notEqual(main.id, custom.id);

    const heard = [];
    main.on("message-back", (text) => heard.push(`main ${text}`));
    custom.on("message-back", (text) => heard.push(`custom ${text}`));
    for (let i = 0; i < 50; i += 1) {
      main.emit("message", i);
      custom.emit("message", i);
    }
    await h.eventually(() => `100 echoes, got ${heard.length}`, () => heard.length === 100);
    assert.deepEqual(heard, Array.from({ length: 50 }, (_, i) => [`main ${i}`, `custom ${i}`]).flat());

    const gone = h.next(custom, "disconnect");
    custom.emit("disconnect-me");
    assert.equal((await gone)[0], "io server disconnect");
    assert.equal(main.connected, true);
    assert.equal(await main.emitWithAck("message-with-ack", "still here"), "still here");
  };

  checks[`${name}: stays connected over several heartbeats`] = async () => {
    const socket = await h.connected(transports);
    let reason;
    socket.once("disconnect", (why) => (reason = why));
    let pings = 0;
    socket.io.on("ping", () => (pings += 1));
    await h.eventually(() => `4 pings, got ${pings} (${reason})`, () => pings >= 4 || reason !== undefined);
    assert.equal(reason, undefined);
    assert.equal(socket.connected, true);
  };
}

checks["1,000 binary messages come back in order across an upgrade"] = async () => {
  const upgrade = h.lateUpgrade();
  const socket = await h.connected(upgrade.transports);
  const heard = [];
  socket.on("message-back", (bytes) => heard.push(bytes.readUInt32BE(0)));
  for (let i = 0; i < 1000; i += 1) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(i);
    if (i === 300) upgrade.begin();
    socket.emit("message", bytes);
    if (i % 10 === 0) await h.sleep(1);
  }
  await h.upgraded(socket);
  await h.eventually(() => `1000 echoes, got ${heard.length}`, () => heard.length === 1000);
  assert.deepEqual(heard, Array.from({ length: 1000 }, (_, i) => i));
};

await h.run(checks);
