// What connects the published agents to a server, unmodified: the MessageBusService of @elizaos/server, whose every call
// goes to the server under test. Its runtime is a small one of our own; it hears of messages over a socket, as any client.

import * as h from "./harness.mjs";
import { messageBusService } from "./elizaos.mjs";

const { assert, randomUUID } = h;
const SERVER = "00000000-0000-0000-0000-000000000000";
const apiKey = process.env.SOCKEYE_API_KEY;
process.env.CENTRAL_MESSAGE_SERVER_URL = h.url;
if (apiKey) process.env.ELIZA_SERVER_AUTH_TOKEN = apiKey;
const { MessageBusService, message_bus_default: bus, setGlobalAgentServer, setGlobalElizaOS } = await messageBusService();
setGlobalAgentServer({ messageServerId: SERVER });
const checks = {};

/** What the service asks of an agent's runtime: it remembers. */
function runtime(agentId) {
  const [worlds, rooms, memories] = [new Map(), new Map(), new Map()];
  return {
    agentId,
    character: { name: "Eliza" },
    ensureWorldExists: async (world) => void worlds.set(world.id, world),
    ensureRoomExists: async (room) => void rooms.set(room.id, room),
    getWorld: async (id) => worlds.get(id),
    getRoom: async (id) => rooms.get(id),
    getEntityById: async () => null,
    createEntity: async () => true,
    getMemoryById: async (id) => memories.get(id) ?? null,
    createMemory: async (memory) => void memories.set(memory.id, memory),
  };
}

const call = async (method, path, body) => {
  const headers = { "Content-Type": "application/json", "X-API-KEY": apiKey ?? "" };
  const response = await fetch(`${h.url}/api/messaging${path}`, { method, headers, body: JSON.stringify(body) });
  return (await response.json()).data;
};

/** An agent in a room, which `answer`s what its service lets through; and a person in the room. */
async function conversation(answer) {
  const [room, agentId] = [randomUUID(), randomUUID()];
  await call("POST", `/channels/${room}/agents`, { agentId });
  const agent = runtime(agentId);
  const service = await MessageBusService.start(agent);
  setGlobalElizaOS({
    handleMessage: async (_, message, { onResponse }) => {
      await agent.createMemory(message);
      await answer({ service, message, onResponse });
    },
  });
  const ears = await h.connected(h.TRANSPORTS.websocket, { auth: { apiKey, agentId } });
  await h.join(ears, room);
  ears.on("messageBroadcast", (m) =>
    bus.emit("new_message", {
      id: m.id,
      channel_id: m.channelId,
      message_server_id: m.messageServerId,
      author_id: m.senderId,
      author_display_name: m.senderName,
      content: m.text,
      created_at: m.createdAt,
      source_type: m.source,
      raw_message: m,
      metadata: { attachments: m.attachments },
    }),
  );
  const person = await h.connected(h.TRANSPORTS.websocket, { auth: { apiKey } });
  await h.join(person, room);
  const [messages, complete] = [[], []];
  person.on("messageBroadcast", (message) => messages.push(message));
  person.on("messageComplete", (data) => complete.push(data));
  return { room, agentId, service, person, messages, complete, stop: () => service.stop() };
}

checks["it finds the servers, channels and participants it is among"] = async () => {
  const { room, agentId, service, stop } = await conversation(() => {});
  assert.deepEqual([...service.subscribedMessageServers], [SERVER]);
  assert.equal(service.validChannelIds.has(room), true);
  assert.deepEqual(await service.getChannelParticipants(room), [agentId]);
  // One that came into being since is discovered by its details; an unknown one is not.
  const later = randomUUID();
  assert.deepEqual(await service.getChannelParticipants(later), []);
  await call("POST", `/channels/${later}/agents`, { agentId });
  assert.deepEqual(await service.getChannelParticipants(later), [agentId]);
  await stop();
};

checks["it answers a message, and says when it is done"] = async () => {
  const responseId = randomUUID();
  const attachments = [{ id: "1", url: "https://x/y.png" }];
  const { room, agentId, person, messages, complete, stop } = await conversation(({ onResponse }) =>
    onResponse({ text: "An answer", thought: "hm", actions: ["REPLY"], attachments, responseId }),
  );
  const { id } = await h.send(person, room, "a question");
  await h.eventually(() => `the end of ${JSON.stringify(messages)}`, () => complete.length > 0);
  assert.deepEqual(messages.map((m) => m.text), ["a question", "An answer"]);
  const answer = messages[1];
  assert.deepEqual(
    [answer.id, answer.senderId, answer.senderName, answer.source, answer.thought, answer.actions, answer.attachments],
    [responseId, agentId, "Eliza", "agent_response", "hm", ["REPLY"], attachments],
  );
  await h.sleep(h.QUIET_MS);
  assert.deepEqual(complete, [{ channelId: room, serverId: SERVER }]);
  const { messages: kept } = await call("GET", `/channels/${room}/messages`);
  assert.deepEqual(kept.map((m) => [m.id, m.inReplyToRootMessageId]), [[responseId, id], [id, undefined]]);
  await stop();
};

checks["its actions are shown as they go"] = async () => {
  const action = randomUUID();
  const { room, person, messages, complete, stop } = await conversation(async ({ service, message }) => {
    const { roomId, worldId, id } = message;
    const content = { text: "Searching", thought: "look", actions: ["SEARCH"], actionId: "1", type: "agent_action" };
    const start = await service.notifyActionStart(roomId, worldId, content, action, id);
    assert.equal(start.status, 201);
    const done = { ...content, text: "Found it", actionStatus: "completed", actionResult: { ok: true } };
    const update = await service.notifyActionUpdate(roomId, worldId, done, action, id);
    assert.equal(update.status, 200);
  });
  await h.send(person, room, "look it up");
  await h.eventually(() => `the end of ${JSON.stringify(messages)}`, () => complete.length > 0);
  const [, executing, completed] = messages;
  assert.deepEqual([executing.id, completed.id, messages.length], [action, action, 3]);
  assert.deepEqual([executing.text, executing.rawMessage.actionStatus], ["Searching", "executing"]);
  assert.deepEqual([completed.rawMessage.text, completed.rawMessage.actionStatus], ["Found it", "completed"]);
  assert.deepEqual(completed.rawMessage.actionResult, { ok: true });
  assert.ok(completed.updatedAt >= executing.createdAt);
  await stop();
};

await h.run(checks);
