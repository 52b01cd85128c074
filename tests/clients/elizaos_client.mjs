// The socket manager of the published web client, unmodified, beside clients of the documented API and an agent over HTTP.

import * as h from "./harness.mjs";
import { socketManager } from "./elizaos.mjs";

const { assert, randomUUID } = h;
const SERVER = "00000000-0000-0000-0000-000000000000";
const SocketIOManager = await socketManager();
const checks = {};

/** The manager of a page just loaded by `userId`, and what its `events` were given. */
async function page(userId) {
  SocketIOManager.getInstance().logout();
  const manager = SocketIOManager.getInstance();
  const connected = h.next(manager, "connect");
  manager.initialize(userId, process.env.SOCKEYE_API_KEY);
  await connected;
  return manager;
}

/** Collects what an event of a manager is given. */
function collect(manager, event) {
  const heard = [];
  manager.on(event, (data) => heard.push(data));
  return heard;
}

const some = (heard, n) => h.eventually(() => `${n} events, got ${JSON.stringify(heard)}`, () => heard.length >= n);

async function api(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-API-KEY": process.env.SOCKEYE_API_KEY ?? "" };
  const response = await fetch(`${h.url}/api/messaging${path}`, { method, headers, body: JSON.stringify(body) });
  return [response.status, await response.json()];
}

const auth = { apiKey: process.env.SOCKEYE_API_KEY };
const plain = (more = {}) => h.connected(h.TRANSPORTS.websocket, { auth: { ...auth, ...more } });

/** Waits until a manager's join has taken effect. */
async function joined(manager, room) {
  const confirmed = h.next(manager.socket, "room_joined");
  await manager.joinChannel(room);
  const [{ message, channelId, roomId }] = await confirmed;
  assert.deepEqual([channelId, roomId], [room, room]);
  assert.equal(message, `Socket ${manager.socket.id} successfully joined channel ${room}.`);
}

checks["a page connects, and takes over the user the server confirms"] = async () => {
  const user = randomUUID();
  const manager = await page(user);
  await h.eventually(() => "authenticated", () => localStorage.getItem("elizaos-client-user-id") === user);
  assert.equal(SocketIOManager.isConnected(), true);
  assert.match(manager.socket.io.engine.transport.name, /polling|websocket/);
};

checks["a message is shown once, known again by its own id, and complete"] = async () => {
  const [user, room, tempId] = [randomUUID(), randomUUID(), randomUUID()];
  const manager = await page(user);
  const [messages, complete] = [collect(manager, "messageBroadcast"), collect(manager, "messageComplete")];
  await joined(manager, room);
  const ack = h.next(manager.socket, "messageAck");
  await manager.sendMessage("hello", room, SERVER, "client_chat", undefined, tempId, { channelType: "GROUP" });
  await some(complete, 1);
  const [message] = messages;
  assert.deepEqual(
    [message.senderId, message.name, message.text, message.channelId, message.source, message.clientMessageId],
    [user, "user", "hello", room, "client_chat", tempId],
  );
  assert.equal(typeof message.createdAt, "number");
  const [acknowledged] = await ack;
  assert.deepEqual(acknowledged, {
    clientMessageId: tempId,
    messageId: message.id,
    status: "received_by_server_and_processing",
    channelId: room,
    roomId: room,
  });
  await h.sleep(h.QUIET_MS);
  assert.deepEqual([messages.length, complete.length], [1, 1]);
  assert.equal(complete[0].channelId, room);
};

checks["an agent's answer, actions and stream reach the page, and the message is complete once"] = async () => {
  const [user, room, agent, action, streamed] = Array.from({ length: 5 }, () => randomUUID());
  const manager = await page(user);
  const [messages, complete] = [collect(manager, "messageBroadcast"), collect(manager, "messageComplete")];
  const [chunks, errors] = [collect(manager, "messageStreamChunk"), collect(manager, "messageStreamError")];
  await joined(manager, room);
  const own = await plain({ agentId: agent });
  await own.emitWithAck("join", { roomId: room });
  await manager.sendMessage("a question", room, SERVER, "client_chat");
  await some(messages, 1);
  for (const [index, chunk] of ["An ", "answer"].entries()) {
    own.emit("messageStreamChunk", { messageId: streamed, chunk, index, channelId: room });
  }
  own.emit("messageStreamError", { messageId: streamed, channelId: room, error: "gone", partialText: "An " });
  await some(chunks, 2);
  await some(errors, 1);
  assert.deepEqual(chunks[1], { messageId: streamed, chunk: "answer", index: 1, channelId: room, agentId: agent });
  assert.deepEqual([errors[0].agentId, errors[0].error, errors[0].partialText], [agent, "gone", "An "]);

  const base = { channel_id: room, message_server_id: SERVER, author_id: agent, content: "An answer" };
  const raw_message = { text: "An answer", thought: "hm", actions: ["REPLY"] };
  const metadata = { agentName: "Eliza", agent_id: agent };
  const submitted = { ...base, messageId: streamed, source_type: "agent_response", raw_message, metadata };
  assert.equal((await api("POST", "/submit", submitted))[0], 201);
  const acted = { ...base, messageId: action, source_type: "agent_action", metadata };
  await api("POST", "/action", { ...acted, raw_message: { ...raw_message, actionStatus: "executing" } });
  await api("PATCH", `/action/${action}`, { raw_message: { actionStatus: "completed" }, metadata });
  await some(messages, 4);
  const [, answer, executing, completed] = messages;
  assert.deepEqual([answer.id, answer.name, answer.thought, answer.actions], [streamed, "Eliza", "hm", ["REPLY"]]);
  assert.equal("clientMessageId" in answer, false);
  assert.deepEqual([executing.id, completed.id, completed.source], [action, action, "agent_action"]);
  assert.deepEqual([executing, completed].map((m) => m.rawMessage.actionStatus), ["executing", "completed"]);
  assert.deepEqual(complete, []);
  await api("POST", "/complete", { channel_id: room, message_server_id: SERVER });
  await some(complete, 1);
  await h.sleep(h.QUIET_MS);
  assert.equal(complete.length, 1);
};

checks["people of the documented API and of the page see each other, in one order"] = async () => {
  const room = randomUUID();
  const [ada, manager] = [await plain(), await page(randomUUID())];
  const [heard, messages] = [h.texts(ada), collect(manager, "messageBroadcast")];
  await h.join(ada, room);
  await joined(manager, room);
  for (const text of h.numbered("page", 50)) manager.sendMessage(text, room, SERVER, "client_chat");
  for (const text of h.numbered("plain", 50)) await h.send(ada, room, text);
  await some(messages, 100);
  await some(heard, 100);
  assert.deepEqual(messages.map((message) => message.text), heard);
};

checks["a conversation with an agent is a DM of two"] = async () => {
  const [user, agent, room] = [randomUUID(), randomUUID(), randomUUID()];
  const manager = await page(user);
  const messages = collect(manager, "messageBroadcast");
  await joined(manager, room);
  const metadata = { channelType: "DM", isDm: true, targetUserId: agent };
  await manager.sendMessage("hi", room, SERVER, "client_chat", [], randomUUID(), metadata);
  await some(messages, 1);
  const state = await manager.socket.emitWithAck("request-world-state", { roomId: room });
  const channel = state.channels[room];
  assert.deepEqual([channel.type, new Set(channel.participants)], ["DM", new Set([user, agent])]);
  assert.equal(state.users[user].name, "user");
};

checks["a page that lost its connection hears on without joining again"] = async () => {
  const room = randomUUID();
  const [ada, manager] = [await plain(), await page(randomUUID())];
  const messages = collect(manager, "messageBroadcast");
  await joined(manager, room);
  await h.send(ada, room, "before");
  await some(messages, 1);
  const back = h.next(manager, "connect");
  manager.socket.io.engine.close();
  await h.send(ada, room, "meanwhile");
  await back;
  assert.equal(manager.socket.recovered, true);
  await h.send(ada, room, "after");
  await some(messages, 3);
  assert.deepEqual(messages.map((message) => message.text), ["before", "meanwhile", "after"]);
};

checks["the page's log view gets what it filters for"] = async () => {
  const [manager, agentName] = [await page(randomUUID()), randomUUID()];
  const lines = collect(manager, "logStream");
  await manager.subscribeToLogStream();
  await h.eventually(() => "the subscription", () => manager.isLogStreamSubscribed());
  const updated = h.next(manager.socket, "log_filters_updated");
  await manager.updateLogStreamFilters({ agentName, level: "info" });
  assert.deepEqual(await updated, [{ success: true, filters: { agentName, level: "info" } }]);
  const post = (msg, level) => api("POST", "/logs", { msg, level, agentName, agentId: randomUUID() });
  assert.deepEqual([(await post("quiet", 20))[0], (await post("loud", 30))[0]], [202, 202]);
  await some(lines, 1);
  assert.deepEqual([lines[0].msg, lines[0].level, lines[0].agentName], ["loud", 30, agentName]);
  await manager.unsubscribeFromLogStream();
  await h.eventually(() => "the end of it", () => !manager.isLogStreamSubscribed());
  await post("unheard", 50);
  await h.sleep(h.QUIET_MS);
  assert.equal(lines.length, 1);
};

checks["a message the server refuses is told of, and the page goes on"] = async () => {
  const [manager, room] = [await page(randomUUID()), randomUUID()];
  const [refused, error] = [h.next(manager.socket, "messageError"), h.next(manager.socket, "error")];
  await manager.sendMessage("hi", "no uuid", SERVER, "client_chat");
  assert.match((await refused)[0].error, /^For SEND_MESSAGE: channelId, .* are required\.$/);
  assert.deepEqual((await error)[0].details, { code: "invalid_payload", event: "message", field: "roomId" });
  await joined(manager, room);
};

await h.run(checks);
