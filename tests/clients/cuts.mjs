// A stream of 500 messages a second, and readers whose connections are cut again and again, at random points.

import * as h from "./harness.mjs";
import { FAILURES, Proxy } from "./proxy.mjs";

const { assert } = h;

const MESSAGES_PER_S = 500;
/** While a reader lacks more messages the stream is slow: the server keeps at least 8 MiB of events for those who are away. */
const LACKING_MAX = 4_000;
const MESSAGES_PER_S_SLOW = 50;
const CUTS = Number(process.env.SOCKEYE_TEST_CUTS ?? 200);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));

/** Readers and their transports; each has the same share of the cuts. */
const READERS = [
  ...Array(6).fill(h.TRANSPORTS.websocket),
  ...Array(2).fill(h.TRANSPORTS.upgrade),
  ...Array(2).fill(h.TRANSPORTS.polling),
];

/** Numbers from 0 up to 1 that a seed decides (a linear congruential generator with the constants of Numerical Recipes). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Sends numbered messages at the rate, less if this process has too much to do, until told to stop; gives their number. */
async function stream(sender, room, readers, stop) {
  const acks = [];
  for (let due = 0, last = Date.now(); !stop.now || acks.length === 0; last = Date.now()) {
    await h.sleep(5);
    const passed_ms = Math.min(Date.now() - last, 10);
    const lacking = acks.length - Math.min(...readers.map(({ heard }) => heard.length));
    due += (passed_ms / 1000) * (lacking > LACKING_MAX ? MESSAGES_PER_S_SLOW : MESSAGES_PER_S);
    while (acks.length < due) acks.push(h.send(sender, room, `message ${acks.length}`));
  }
  await h.within("all acks", Promise.all(acks));
  return acks.length;
}

/** A client behind a proxy of its own, in the room. */
async function reader(transports, room) {
  const proxy = await Proxy.before(h.url);
  const socket = h.client(transports, {
    to: proxy.url,
    reconnection: true,
    reconnectionDelay: 10,
    reconnectionDelayMax: 50,
    // For connections that are cut before they are open.
    timeout: 1000,
  });
  await h.reconnect(socket);
  await h.join(socket, room);
  return { socket, proxy, heard: h.texts(socket), id: socket.id };
}

/** Cuts a reader's connections `times` times; it must be whole again after each. */
async function cutAgainAndAgain({ socket, proxy, id }, times, draw) {
  const kinds = Object.keys(FAILURES);
  const pick = () => FAILURES[kinds[Math.floor(draw() * kinds.length)]];
  for (let done = 0; done < times; ) {
    await h.sleep(draw() * 100);
    const back = h.next(socket, "connect");
    // In the middle of a frame, a header, a batch.
    proxy.failAfter(Math.floor(draw() * 4096), pick());
    done += 1;
    if (draw() < 0.25 && done < times) {
      // Once more while it comes back: in the middle of a handshake, of the answer to CONNECT, of what it missed.
      proxy.failAgainAfter(Math.floor(draw() * 1500), pick());
      done += 1;
    }
    await back;
    assert.equal(socket.recovered, true, `recovered after cut ${done}`);
    assert.equal(socket.id, id);
  }
}

await h.run({
  [`${CUTS} cuts, SEED=${SEED}`]: async () => {
    const room = h.randomUUID();
    const readers = await Promise.all(READERS.map((transports) => reader(transports, room)));
    const sender = await h.connected(h.TRANSPORTS.websocket);
    for (const { socket, id } of readers) {
      socket.on("connect", () => assert.equal(socket.recovered && socket.id, id));
    }
    const stop = { now: false };
    const sent = stream(sender, room, readers, stop);
    const share = Math.ceil(CUTS / readers.length);
    try {
      await Promise.all(readers.map((r, n) => cutAgainAndAgain(r, share, random(SEED + n))));
    } finally {
      stop.now = true;
    }
    const wanted = h.numbered("message", await sent);
    for (const { heard } of readers) await h.heardExactly(heard, wanted);
    console.log(`${share * readers.length} cuts, ${wanted.length} messages for each of ${readers.length} readers`);
    for (const { proxy } of readers) proxy.close();
  },
});
