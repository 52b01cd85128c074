// What the scripts share. Each runs as `node SCRIPT URL`, prints one line per check, and ends with 1 if one failed.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { NodeWebSocket, NodeXHR, io } from "socket.io-client";

export { assert, randomUUID, sleep };

export const url = process.argv[2];

/** No wait is longer, in ms. */
const LIMIT_MS = 10_000;

/** How long "nothing more comes" is watched for, in ms. */
export const QUIET_MS = 150;

/** Ways to speak to the server, by name. */
export const TRANSPORTS = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};

/** Transports of which the upgrade waits for `begin()`, so that messages surely cross it. */
export function lateUpgrade() {
  let begin;
  const begun = new Promise((resolve) => (begin = resolve));
  const late = class extends NodeWebSocket {
    doOpen() {
      begun.then(() => super.doOpen());
    }
  };
  return { transports: [NodeXHR, late], begin };
}

/** Waits until a client has upgraded. */
export function upgraded(socket) {
  return eventually(() => "the upgrade", () => socket.io.engine.transport.name === "websocket");
}

const open = new Set();

/** A client with a connection of its own to `options.to`, by default the server; not connected yet. */
export function client(transports, { to = url, ...options } = {}, namespace = "/") {
  const socket = io(to + namespace, {
    transports,
    forceNew: true,
    reconnection: false,
    autoConnect: false,
    timeout: LIMIT_MS,
    ackTimeout: LIMIT_MS,
    ...options,
  });
  open.add(socket);
  return socket;
}

/** The same, connected. */
export async function connected(...args) {
  const socket = client(...args);
  await reconnect(socket);
  return socket;
}

/** Connects a client again that does not do so by itself. */
export async function reconnect(socket) {
  const connect = next(socket, "connect");
  const failure = new Promise((_, reject) => socket.once("connect_error", reject));
  failure.catch(() => {});
  socket.connect();
  await Promise.race([connect, failure]);
}

/** The arguments of the next `event`. */
export function next(emitter, event) {
  return within(`event ${event}`, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))));
}

/** `promise`, or a failure when it takes too long. */
export function within(what, promise) {
  const late = new AbortController();
  const limit = sleep(LIMIT_MS, undefined, { signal: late.signal }).then(
    () => assert.fail(`not within ${LIMIT_MS} ms: ${what}`),
    () => {},
  );
  return Promise.race([promise, limit]).finally(() => late.abort());
}

/** Waits until `ready()` is true. */
export async function eventually(what, ready) {
  const end = Date.now() + LIMIT_MS;
  while (!ready()) {
    assert.ok(Date.now() < end, `not within ${LIMIT_MS} ms: ${what()}`);
    await sleep(5);
  }
}

/** Collects the texts of a client's broadcasts. */
export function texts(socket) {
  const heard = [];
  socket.on("messageBroadcast", (message) => heard.push(message.text));
  return heard;
}

/** Waits until exactly `expected` was heard, and nothing more. */
export async function heardExactly(heard, expected) {
  await eventually(() => `${expected.length} messages, got ${heard.length}`, () => heard.length >= expected.length);
  await sleep(QUIET_MS);
  assert.deepEqual(heard, expected);
}

export async function join(socket, roomId) {
  const ack = await socket.emitWithAck("join", { roomId });
  assert.equal(ack.ok, true, JSON.stringify(ack));
  assert.equal(ack.roomId, roomId);
  return ack;
}

export async function send(socket, roomId, text, more = {}) {
  const ack = await socket.emitWithAck("message", { text, roomId, userId: randomUUID(), name: "Ada", ...more });
  assert.equal(ack.ok, true, JSON.stringify(ack));
  return ack;
}

/** `["<prefix> 0", …]`. */
export function numbered(prefix, n) {
  return Array.from({ length: n }, (_, i) => `${prefix} ${i}`);
}

/** Runs checks one after the other, closes what they opened, and ends the process. */
export async function run(checks) {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}\n${error.stack}`);
    }
    for (const socket of open) {
      socket.io.reconnection(false);
      socket.disconnect();
    }
    open.clear();
  }
  process.exit(failed === 0 && Object.keys(checks).length > 0 ? 0 : 1);
}
