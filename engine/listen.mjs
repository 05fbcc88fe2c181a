// Where the server listens: a unix socket that only its owner may use, or a port of this machine.

import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

// Milliseconds for an engine whose supervisor died to notice that and leave the socket, and between two looks.
const LEAVE_LIMIT = 6_000;
const LEAVE_INTERVAL = 20;

export async function listen(server, options) {
  const path = options["unix-path"];
  if (!path) {
    server.listen(Number(options.port), options.host);
    await once(server, "listening");
    return;
  }
  await removeStale(path);
  // The mode must be right from the first moment, so it comes from the mask and not from a chmod afterwards.
  const mask = process.umask(0o177);
  try {
    server.listen(path);
    await once(server, "listening");
  } finally {
    process.umask(mask);
  }
}

// A killed engine leaves its socket file behind.  One that somebody answers on is not ours to take.
async function removeStale(path) {
  const end = performance.now() + LEAVE_LIMIT;
  while (await isAnswered(path)) {
    if (performance.now() > end) throw new Error(`another server already listens on ${path}; stop it, or set AUTOGPT_DATA_DIR to another folder`);
    await sleep(LEAVE_INTERVAL);
  }
  rmSync(path, { force: true });
}

function isAnswered(path) {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.on("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", () => resolve(false));
  });
}
