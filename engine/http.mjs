// HTTP around a function (method, path, headers, body) -> {status, body}, with a stop that loses no answer.

import { createServer } from "node:http";
import { Server as NetServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// Milliseconds for requests that were on their way when the engine stopped: they are refused, not lost.
const GRACE = 50;

export function createHttpServer(route) {
  let running = 0;
  let stopping = false;
  let allDone = () => {};

  async function answer(request, response) {
    if (stopping) {
      // Nothing was done: the client may send this again, whatever it is.
      return send(response, { status: 503, body: { stopping: true } }, true);
    }
    running += 1;
    try {
      const reply = await route(request.method, request.url, request.headers, await readBody(request));
      await send(response, reply, stopping);
    } catch (error) {
      await send(response, { status: 500, body: { error: String(error?.message ?? error) } }, stopping);
    } finally {
      running -= 1;
      if (running === 0) allDone();
    }
  }

  const server = createServer(answer);
  // Clients keep their connections open for as long as they live, and a query may take its time.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;

  async function finish() {
    stopping = true;
    const done = new Promise((resolve) => (allDone = resolve));
    // Not http's own close: it drops connections on which a request may have arrived just now.
    NetServer.prototype.close.call(server);
    if (running > 0) await done;
    await sleep(GRACE);
  }

  return { server, finish };
}

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

// Resolves when the answer has been handed to the kernel, or cannot be because the client has gone.
function send(response, { status, body }, last) {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const headers = { "content-type": "application/json", "content-length": bytes.length };
  if (last) headers.connection = "close";
  return new Promise((resolve) => {
    response.on("close", resolve);
    response.writeHead(status, headers).end(bytes, resolve);
  });
}
