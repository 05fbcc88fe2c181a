// Prisma's query engine for the Python client: the HTTP protocol of the native engine in front of Prisma's own
// engine compiled to WebAssembly.  One process serves every process of the machine.
//
//   node main.mjs --unix-path engine.sock [--parent-pipe]     or     node main.mjs --port 4466 [--host 127.0.0.1]
//
// The environment is the native engine's: PRISMA_DML_PATH or PRISMA_DML, the variable that the datamodel names for
// its url, and OVERWRITE_DATASOURCES.  On a socket, one line of JSON on standard output tells that it is ready.

import { parseArgs } from "node:util";

import { loadDatasource } from "./datasource.mjs";
import { openEngine } from "./engine.mjs";
import { listen } from "./listen.mjs";
import { createHttpServer } from "./http.mjs";
import { createRouter } from "./router.mjs";

// The version that Prisma Client Python 0.15 insists on.
const VERSION = "query-engine 393aa359c9ad4a4bb28630fb5613f9c281cde053";
const OLDEST_NODE = 24;
// Milliseconds that running queries get to finish at a stop.
const STOP_LIMIT = 5_000;
// Milliseconds between two looks at who the parent is.
const PARENT_CHECK = 1_000;

const { values: options } = parseArgs({
  options: {
    "unix-path": { type: "string", short: "u" },
    port: { type: "string", short: "p", default: "4466" },
    host: { type: "string", default: "127.0.0.1" },
    "parent-pipe": { type: "boolean", default: false },
    version: { type: "boolean", short: "V", default: false },
  },
  strict: false, // the Python client passes switches of the native engine that mean nothing here
});

if (options.version) {
  console.log(VERSION);
} else {
  await serve().catch((error) => {
    console.error(String(error.message ?? error));
    process.exit(1);
  });
}

async function serve() {
  checkNode();
  const datasource = loadDatasource(process.env);
  const engine = await openEngine(datasource);
  const http = createHttpServer(createRouter(engine, datasource.models));
  let stopping = false;

  async function stop() {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(0), STOP_LIMIT).unref();
    await http.finish();
    await engine.close();
    process.exit(0);
  }

  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  exitWithParent(stop);
  await listen(http.server, options);
  if (options["unix-path"]) console.log(JSON.stringify({ ready: true, provider: datasource.provider }));
}

function checkNode() {
  if (Number(process.versions.node.split(".")[0]) >= OLDEST_NODE) return;
  throw new Error(`the engine needs Node ${OLDEST_NODE} or newer, and this is ${process.version}`);
}

// An engine whose parent was killed would otherwise live on and keep the database open.
function exitWithParent(stop) {
  if (options["parent-pipe"]) {
    process.stdin.on("end", stop).on("error", stop).resume();
  }
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && stop(), PARENT_CHECK).unref();
}
