// The published ElizaOS packages, as they are: `npm pack` fetched them without their hundreds of dependencies, and esbuild
// bundles of them what a check uses. A browser's globals are the only thing that is made here.

import { readFile, rm } from "node:fs/promises";
import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import WebSocket from "ws";
import xhr from "xmlhttprequest-ssl";
import { randomUUID, url } from "./harness.mjs";

process.env.LOG_LEVEL ??= "error";
const path = (name) => fileURLToPath(new URL(`elizaos/${name}`, import.meta.url));

const CORE = path("core/dist/browser/index.browser.js");

async function bundled(entry, options) {
  const outfile = path(`${process.pid}.mjs`);
  await build({
    entryPoints: [path(entry)],
    bundle: true,
    format: "esm",
    outfile,
    logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
    ...options,
  });
  return import(outfile).finally(() => rm(outfile));
}

/** The socket manager of @elizaos/client, in a page that the server under test would have served. */
export async function socketManager() {
  const storage = new Map();
  globalThis.navigator ??= { userAgent: "node" };
  Object.assign(globalThis, {
    window: globalThis,
    location: new URL(url),
    localStorage: { getItem: (key) => storage.get(key) ?? null, setItem: (key, value) => storage.set(key, value) },
    XMLHttpRequest: xhr.XMLHttpRequest ?? xhr,
    WebSocket,
  });
  URL.createObjectURL = () => `blob:${url}/${randomUUID()}`;
  const bundle = await bundled("client/src/lib/socketio-manager.ts", {
    platform: "browser",
    alias: { "@": path("client/src"), "@elizaos/core": CORE },
    nodePaths: [fileURLToPath(new URL("node_modules", import.meta.url))],
  });
  return bundle.SocketIOManager;
}

/** Stands for a module that is not installed, whatever is done with it. */
const ABSENT = `const absent = new Proxy(function () {}, {
  get: (target, key) => (key === "prototype" ? target[key] : key === Symbol.toPrimitive ? () => "" : absent),
  apply: () => absent,
  construct: () => absent,
});
module.exports = absent;`;

/**
 * What connects the published agents to a central server: the `MessageBusService` of @elizaos/server, and what it needs.
 * The server around it (Express, files, its database) is bundled but never started. What is not exported is, by a line at
 * the end; what only the build of @elizaos/core for Node.js has, is nothing.
 */
export function messageBusService() {
  const more = [
    [/server.dist.index\.js$/, "export { MessageBusService, message_bus_default, setGlobalAgentServer, setGlobalElizaOS };"],
    [/index\.browser\.js$/, "export const getUploadsAgentsDir = 0, getUploadsChannelsDir = 0, getGeneratedDir = 0;"],
    [/index\.browser\.js$/, "export const getDatabaseDir = 0, getCharactersDir = 0;"],
  ];
  const plugin = {
    name: "agent",
    setup({ onLoad, onResolve }) {
      onLoad({ filter: /index(\.browser)?\.js$/ }, async ({ path }) => {
        const lines = more.filter(([file]) => file.test(path)).map(([, line]) => line);
        return { contents: [await readFile(path, "utf8"), ...lines].join("\n") };
      });
      onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => {
        if (name === "@elizaos/core") return { path: CORE };
        if (kind === "entry-point" || name.startsWith("node:") || builtinModules.includes(name)) return undefined;
        return { path: name, namespace: "absent" };
      });
      onLoad({ filter: /.*/, namespace: "absent" }, () => ({ contents: ABSENT }));
    },
  };
  const banner = { js: 'import * as nodeModule from "node:module"; const require = nodeModule.createRequire("file:///");' };
  return bundled("server/dist/index.js", { platform: "node", plugins: [plugin], banner });
}
