// What recovery must hold through where the reference does not, and where it cannot, with socket.io-client. `CASES` says
// which cases the server's flags are for, `WORKERS` on how many shards it runs.

import * as h from "./harness.mjs";
import { FAILURES, Proxy } from "./proxy.mjs";

const { assert, TRANSPORTS } = h;
const WORKERS = Number(process.env.WORKERS);
/** The kernel spreads connections by chance: of 4 shards, 30 more miss one in 1 of 2,000 runs, 200 in 1 of 10^24. */
const ROUNDS_MAX = 200;

/** The shard that made a session id: base64url of 3 bytes of place, behind a mask of the 12 random bytes that follow. */
function shardOf(sid) {
  const [a, , , mask] = Buffer.from(sid, "base64url");
  return (a ^ mask) >> (8 - Math.ceil(Math.log2(WORKERS)));
}

/** A client in a room of its own, behind a proxy of its own. */
async function reader(transports = TRANSPORTS.websocket) {
  const proxy = await Proxy.before(h.url);
  const socket = await h.connected(transports, { to: proxy.url });
  if (transports === TRANSPORTS.upgrade) await h.upgraded(socket);
  const room = h.randomUUID();
  await h.join(socket, room);
  return { socket, proxy, transports, room, heard: h.texts(socket), id: socket.id };
}

/** Cuts a reader's connections, and waits until it has seen that. */
async function cut({ socket, proxy }, how = FAILURES.reset) {
  let gone = false;
  socket.once("disconnect", () => (gone = true));
  // Between two polls there is no connection to cut.
  await h.eventually(
    () => "the disconnect",
    () => gone || (proxy.fail(how), false),
  );
}

async function recovers({ socket, transports, id }) {
  await h.reconnect(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  // Cut just after its last poll, engine.io-client 6.6 notices nothing before `--ping-timeout`.
  if (transports === TRANSPORTS.upgrade) await h.upgraded(socket);
}

/** It is told that it is somebody new, has no rooms, and starts afresh. */
async function startsAfresh({ socket, room, heard, id }, sender) {
  await h.reconnect(socket);
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  const before = [...heard];
  await h.send(sender, room, "not in the room any more");
  await h.sleep(h.QUIET_MS);
  assert.deepEqual(heard, before);
  assert.equal((await h.join(socket, room)).members, 1);
  await h.send(sender, room, "in the room again");
  await h.heardExactly(heard, [...before, "in the room again"]);
  // From here on it is recovered like anybody.
  const fresh = socket.id;
  const gone = h.next(socket, "disconnect");
  socket.io.engine.close();
  await gone;
  await h.send(sender, room, "missed");
  await h.reconnect(socket);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, fresh);
  await h.heardExactly(heard, [...before, "in the room again", "missed"]);
}

/** Messages of `kib` KiB together go to a room that has members on every shard. */
async function noise(sender, kib) {
  const room = h.randomUUID();
  const members = await Promise.all(Array.from({ length: 20 * WORKERS }, () => h.connected(TRANSPORTS.websocket)));
  await Promise.all(members.map((member) => h.join(member, room)));
  const shards = new Set(members.map((member) => shardOf(member.io.engine.id)));
  assert.equal(shards.size, WORKERS, "members on every shard");
  const text = "noise ".repeat(170);
  await Promise.all(Array.from({ length: kib }, () => h.send(sender, room, text)));
  for (const member of members) member.disconnect();
}

const CASES = {
  usual: {
    "a client that comes back on another core": async () => {
      const [who, sender] = [await reader(), await h.connected(TRANSPORTS.websocket)];
      const reached = new Set([shardOf(who.socket.io.engine.id)]);
      const wanted = [];
      for (let round = 0; round < ROUNDS_MAX && (reached.size < WORKERS || round < 3); round += 1) {
        await cut(who);
        wanted.push(`missed ${round}`);
        await h.send(sender, who.room, `missed ${round}`);
        await recovers(who);
        reached.add(shardOf(who.socket.io.engine.id));
        wanted.push(`live ${round}`);
        await h.send(sender, who.room, `live ${round}`);
      }
      assert.equal(reached.size, WORKERS, "every core was reached");
      await h.heardExactly(who.heard, wanted);
    },
  },
  trimmed: {},
  expired: {
    "a client that comes back too late starts afresh": async () => {
      const [who, sender] = [await reader(), await h.connected(TRANSPORTS.websocket)];
      await h.send(sender, who.room, "heard");
      await h.heardExactly(who.heard, ["heard"]);
      await cut(who);
      await h.sleep(1400);
      await startsAfresh(who, sender);
    },
  },
};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  Object.assign(CASES.usual, {
    [`${name}: a client that has received no event has no offset`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      // Twice: after the first time it still has none.
      for (let round = 0; round < 2; round += 1) {
        await cut(who);
        await recovers(who);
      }
      await cut(who);
      await h.send(sender, who.room, "the first");
      await recovers(who);
      await h.heardExactly(who.heard, ["the first"]);
    },

    [`${name}: a client that is cut off again and again`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      const wanted = h.numbered("message", 10);
      for (const text of wanted) {
        await cut(who);
        await h.send(sender, who.room, text);
        await recovers(who);
      }
      await h.heardExactly(who.heard, wanted);
    },

    [`${name}: a client that is back before its old connection was noticed dead`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      await h.send(sender, who.room, "heard");
      await h.heardExactly(who.heard, ["heard"]);
      await cut(who, FAILURES.unnoticed);
      // The server sends it, to nobody.
      await h.send(sender, who.room, "sent in vain");
      const before = who.proxy.openAtServer;
      assert.ok(name === "polling" || before === 1, `${before} connections are open`);
      await recovers(who);
      await h.send(sender, who.room, "live");
      await h.heardExactly(who.heard, ["heard", "sent in vain", "live"]);
      // The old connection went when the new one came, long before it would have been noticed.
      await h.eventually(() => `${who.proxy.openAtServer} open`, () => who.proxy.openAtServer <= 1);
      assert.equal((await h.join(sender, who.room)).members, 2);
    },

    [`${name}: a client that missed more than waits for one reader`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      await cut(who);
      const filler = "x".repeat(20_000);
      const wanted = Array.from({ length: 100 }, (_, i) => `${i} ${filler}`);
      for (const text of wanted) await h.send(sender, who.room, text);
      await recovers(who);
      await h.eventually(() => `100 messages, got ${who.heard.length}`, () => who.heard.length >= 100);
      await h.heardExactly(who.heard, wanted);
    },
  });

  Object.assign(CASES.trimmed, {
    [`${name}: an idle client is recovered though its offset is no longer kept`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      await h.send(sender, who.room, "heard");
      await h.heardExactly(who.heard, ["heard"]);
      await noise(sender, 128);
      await cut(who);
      await recovers(who);
      await noise(sender, 128);
      await cut(who);
      await h.send(sender, who.room, "missed");
      await recovers(who);
      await h.heardExactly(who.heard, ["heard", "missed"]);
    },

    [`${name}: a client of which a missed message is no longer kept starts afresh`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      await h.send(sender, who.room, "heard");
      await h.heardExactly(who.heard, ["heard"]);
      await cut(who);
      await h.send(sender, who.room, "lost");
      await noise(sender, 128);
      await startsAfresh(who, sender);
    },

    [`${name}: a client that heard nothing is recovered as long as nothing was lost`]: async () => {
      const [who, sender] = [await reader(transports), await h.connected(TRANSPORTS.websocket)];
      await noise(sender, 128);
      await cut(who);
      await noise(sender, 128);
      await recovers(who);
      await h.send(sender, who.room, "live");
      await h.heardExactly(who.heard, ["live"]);
    },
  });
}

await h.run(CASES[process.env.CASES]);
