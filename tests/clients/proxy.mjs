// A TCP proxy between a client and the server that fails when it is told to.

import { once } from "node:events";
import net from "node:net";

/** How a connection breaks, by name: what the proxy does to its two ends. */
export const FAILURES = {
  /** Both ends are reset. */
  reset: ({ client, server }) => {
    client.resetAndDestroy();
    server.resetAndDestroy();
  },
  /** Nothing passes any more, and neither end is told. */
  frozen: () => {},
  /** The client is told, and can be back before the server notices anything. */
  unnoticed: ({ client }) => client.resetAndDestroy(),
};

export class Proxy {
  #acceptor = net.createServer((client) => this.#link(client));
  #target;
  /** Intact connections by their two ends. */
  #links = new Set();
  #sockets = new Set();
  /** How and after how many bytes from the server all connections fail. */
  #failure;
  #nextFailure;

  /** A proxy in front of `target`, a URL. */
  static async before(target) {
    const proxy = new Proxy();
    proxy.#target = new URL(target);
    proxy.#acceptor.listen(0, "127.0.0.1");
    await once(proxy.#acceptor, "listening");
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.#acceptor.address().port}`;
  }

  /** All connections fail in this way, now. */
  fail(how) {
    for (const link of this.#links) {
      this.#links.delete(link);
      how(link);
    }
  }

  /** All connections fail in this way once `bytes` more have come from the server. */
  failAfter(bytes, how) {
    this.#failure = { how, bytes };
  }

  /** The same after that, counted from the next connection on. */
  failAgainAfter(bytes, how) {
    this.#nextFailure = { how, bytes };
  }

  /** How many connections the server has not ended. */
  get openAtServer() {
    return [...this.#sockets].filter((socket) => socket.isServer && !socket.ended).length;
  }

  close() {
    this.#acceptor.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #link(client) {
    const server = net.connect(this.#target.port, this.#target.hostname);
    server.isServer = true;
    const link = { client, server };
    this.#links.add(link);
    if (!this.#failure) [this.#failure, this.#nextFailure] = [this.#nextFailure, undefined];
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        socket.ended = true;
        // A broken link tells neither end what the other does.
        if (this.#links.delete(link)) other.destroy();
      });
    }
    client.on("data", (bytes) => this.#links.has(link) && server.write(bytes));
    server.on("data", (bytes) => this.#links.has(link) && this.#pass(bytes, client));
  }

  /** Passes on what the server has sent, up to where the connections fail. */
  #pass(bytes, client) {
    const failure = this.#failure;
    if (!failure || bytes.length < failure.bytes) {
      if (failure) failure.bytes -= bytes.length;
      client.write(bytes);
      return;
    }
    this.#failure = undefined;
    const part = bytes.subarray(0, failure.bytes);
    // A reset throws away what waits in the proxy; what was passed on is to arrive.
    if (part.length > 0) client.write(part, () => this.fail(failure.how));
    else this.fail(failure.how);
  }
}
