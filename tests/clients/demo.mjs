// The demo agent (`--demo-agent`) with socket.io-client: a conversation as an application would have it.

import * as h from "./harness.mjs";

const { assert, TRANSPORTS } = h;
const DEMO = "e112a000-0000-4000-8000-000000000001";
const checks = {};

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  checks[`${name}: it answers in pieces, then whole, and is done once`] = async () => {
    const [socket, listener] = [await h.connected(transports), await h.connected(transports)];
    const room = h.randomUUID();
    const joined = await socket.emitWithAck("join", { roomId: room, agentId: DEMO });
    assert.equal(joined.ok, true);
    await h.join(listener, room);
    const heard = [];
    listener.onAny((event, payload) => heard.push([event, payload]));
    const said = ["Hello!", "I feel lost in my own code", "Who are you?"];
    for (const [n, text] of said.entries()) {
      await h.send(socket, room, text);
      const complete = () => heard.filter(([event]) => event === "messageComplete").length;
      await h.eventually(() => `answer ${n} of ${JSON.stringify(heard)}`, () => complete() > n);
    }
    await h.sleep(h.QUIET_MS);
    const messages = heard.filter(([event]) => event === "messageBroadcast").map(([, message]) => message);
    assert.deepEqual(messages.map((message) => message.senderId === DEMO), [false, true, false, true, false, true]);
    for (const [n, text] of said.entries()) {
      const [question, answer] = messages.slice(2 * n);
      assert.equal(question.text, text);
      assert.deepEqual([answer.senderName, answer.actions], ["Eliza (demo)", ["REPLY"]]);
      assert.match(answer.thought, /^Demo: /);
      const pieces = heard.filter(([event, piece]) => event === "messageStreamChunk" && piece.messageId === answer.id);
      assert.deepEqual(pieces.map(([, piece]) => [piece.index, piece.agentId]), pieces.map((_, index) => [index, DEMO]));
      assert.equal(pieces.map(([, piece]) => piece.chunk).join(""), answer.text);
    }
    assert.match(messages[3].text, /lost in your own code/);
    assert.equal(heard.at(-1)[0], "messageComplete");
    assert.equal(heard.filter(([event]) => event === "messageComplete").length, said.length);
  };
}

await h.run(checks);
