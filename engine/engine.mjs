// Prisma's query engine, compiled to WebAssembly, on a driver adapter of ours.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
// Loaded when used: an older Node has no SQLite, and SQLite needs no driver for PostgreSQL.
const ADAPTERS = {
  sqlite: async () => (await import("./sqlite.mjs")).openSqlite,
  postgresql: async () => (await import("./postgres.mjs")).openPostgres,
};
// The engine passes a trace context along with every call; there is none.
const NO_TRACE = "{}";

// -> {query, startTransaction, endTransaction, findError, close}: requests and answers are plain objects.
export async function openEngine({ datamodel, provider, url }) {
  const QueryEngine = loadEngine(provider);
  const openAdapter = await ADAPTERS[provider]();
  const adapter = openAdapter(url);
  const settings = { datamodel, logLevel: "error", logQueries: false, engineProtocol: "json" };
  const engine = new QueryEngine(settings, (line) => console.error(line), adapter);
  await engine.connect(NO_TRACE);

  return {
    query: async (request, transactionId) =>
      JSON.parse(await engine.query(JSON.stringify(request), NO_TRACE, transactionId)),
    startTransaction: async (options) => JSON.parse(await engine.startTransaction(JSON.stringify(options), NO_TRACE)),
    endTransaction: async (id, how) => {
      const end = how === "commit" ? "commitTransaction" : "rollbackTransaction";
      const answer = await engine[end](id, NO_TRACE);
      return answer ? JSON.parse(answer) : {};
    },
    // The engine knows JavaScript errors only by number.
    findError: (id) => adapter.errorRegistry.consumeError(id)?.error,
    close: async () => {
      await engine.disconnect(NO_TRACE);
      await adapter.close();
    },
  };
}

function loadEngine(provider) {
  const bindings = require(`@prisma/client/runtime/query_engine_bg.${provider}.js`);
  const code = readFileSync(require.resolve(`@prisma/client/runtime/query_engine_bg.${provider}.wasm`));
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { "./query_engine_bg.js": bindings });
  bindings.__wbg_set_wasm(exports);
  return bindings.QueryEngine;
}
