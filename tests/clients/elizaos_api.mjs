// The published @elizaos/api-client, unmodified: every call of it that the server has, and what it makes of the others.

import * as h from "./harness.mjs";
import { ApiError, ElizaClient } from "./elizaos/api-client/dist/index.js";

const { assert, randomUUID } = h;
const SERVER = "00000000-0000-0000-0000-000000000000";
const apiKey = process.env.SOCKEYE_API_KEY;
const { messaging, agents } = ElizaClient.create({ baseUrl: h.url, apiKey });
const checks = {};

const member = async (room, more = {}) => {
  const socket = await h.connected(h.TRANSPORTS.websocket, { auth: { apiKey, ...more } });
  await h.join(socket, room);
  return socket;
};

/** Asserts that a call fails as the server says. */
async function refused(call, status, code, message) {
  const error = await call.then((data) => assert.fail(JSON.stringify(data)), (error) => error);
  assert.ok(error instanceof ApiError, error.stack);
  assert.deepEqual([error.status, error.code], [status, code]);
  if (message) assert.equal(error.message, message);
}

checks["an agent submits, and reads what it submitted"] = async () => {
  const [room, agentId] = [randomUUID(), randomUUID()];
  const socket = await member(room);
  const heard = h.next(socket, "messageBroadcast");
  const metadata = { agentName: "Eliza", thought: "hm", actions: ["REPLY"], attachments: [{ id: "1", url: "a.png" }] };
  const submitted = await messaging.submitMessage({ agentId, channelId: room, content: "Hello", metadata });
  const [broadcast] = await heard;
  assert.deepEqual(
    [broadcast.id, broadcast.senderId, broadcast.senderName, broadcast.text, broadcast.thought, broadcast.actions],
    [submitted.id, agentId, "Eliza", "Hello", "hm", ["REPLY"]],
  );
  assert.deepEqual(broadcast.attachments, metadata.attachments);
  const { messages } = await messaging.getChannelMessages(room, { limit: 10 });
  assert.deepEqual(messages, [submitted]);
  assert.deepEqual(
    [submitted.channelId, submitted.authorId, submitted.content, submitted.sourceType, submitted.metadata.agentName],
    [room, agentId, "Hello", "agent_response", "Eliza"],
  );
  assert.equal(new Date(submitted.createdAt).getTime(), broadcast.createdAt);
};

checks["pages of messages, newest first"] = async () => {
  const [room, agentId] = [randomUUID(), randomUUID()];
  const submitted = [];
  for (const content of h.numbered("m", 5)) {
    submitted.push(await messaging.submitMessage({ agentId, channelId: room, content }));
  }
  const texts = async (params) => (await messaging.getChannelMessages(room, params)).messages.map((m) => m.content);
  assert.deepEqual(await texts(), ["m 4", "m 3", "m 2", "m 1", "m 0"]);
  assert.deepEqual(await texts({ limit: 2 }), ["m 4", "m 3"]);
  assert.deepEqual(await texts({ limit: 2, before: submitted[3].createdAt }), ["m 2", "m 1"]);
  assert.deepEqual(await texts({ before: new Date(submitted[1].createdAt).toISOString() }), ["m 0"]);
};

checks["a message is complete by its id"] = async () => {
  const [room, agentId] = [randomUUID(), randomUUID()];
  await messaging.addAgentToChannel(room, agentId);
  const socket = await member(room);
  const own = await h.connected(h.TRANSPORTS.websocket, { auth: { apiKey, agentId } });
  const complete = h.next(socket, "messageComplete");
  const { id } = await h.send(socket, room, "a question");
  await messaging.completeMessage({ messageId: id, status: "completed" });
  assert.deepEqual((await complete)[0], { channelId: room, serverId: SERVER });
  await refused(messaging.completeMessage({ messageId: randomUUID(), status: "failed" }), 404, "not_found", "Message not found");
  own.disconnect();
};

checks["agents take part in channels, and channels are described"] = async () => {
  const [room, agentId] = [randomUUID(), randomUUID()];
  await refused(messaging.getChannelDetails(room), 404, "not_found", "Channel not found");
  await refused(messaging.getChannelParticipants(room), 404, "not_found", "Channel not found");
  await refused(messaging.getChannelMessages(room), 404, "not_found", "Channel not found");
  await messaging.addAgentToChannel(room, agentId);
  const details = await messaging.getChannelDetails(room);
  assert.deepEqual([details.id, details.messageServerId, details.type], [room, SERVER, "GROUP"]);
  assert.equal(details.name, `Chat ${room.slice(0, 8)}`);
  assert.deepEqual(await messaging.getChannelParticipants(room), [agentId]);
  const { channels } = await messaging.getMessageServerChannels(SERVER);
  assert.deepEqual(channels.filter(({ id }) => id === room), [details]);
  assert.deepEqual(await agents.getMessageServersForAgent(agentId), { agentId, messageServers: [SERVER] });
  assert.deepEqual(await messaging.getCurrentMessageServer(), { messageServerId: SERVER });
  await messaging.removeAgentFromChannel(room, agentId);
  assert.deepEqual(await messaging.getChannelParticipants(room), []);
  await refused(messaging.removeAgentFromChannel(room, agentId), 404, "not_found");
};

checks["what is wrong, or is not there, is an error the client understands"] = async () => {
  const room = randomUUID();
  await refused(messaging.submitMessage({ agentId: "x", channelId: room, content: "x" }), 400, "invalid_payload", "agentId must be a uuid.");
  await refused(messaging.submitMessage({ agentId: room, channelId: room, content: "" }), 400, "invalid_payload");
  await refused(messaging.getChannelDetails("general"), 400, "invalid_request");
  // Of this form neither the published server takes anything.
  const batch = { platform: "discord", channelId: room, messages: [{ id: "1", authorId: room, content: "x", timestamp: 1 }] };
  await refused(messaging.ingestExternalMessages(batch), 400, "invalid_payload", "author_id must be a uuid.");
  await refused(messaging.searchMessages({ query: "x" }), 404, "not_found");
  const stranger = ElizaClient.create({ baseUrl: h.url, apiKey: "wrong" });
  if (apiKey) await refused(stranger.messaging.getChannelDetails(room), 401, "unauthorized", "Invalid or missing API Key");
};

await h.run(checks);
