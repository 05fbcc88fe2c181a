// PostgreSQL for the engine: Prisma's own driver adapter over a pool of connections.

import { createRequire } from "node:module";

import { crashPoint } from "./crash_points.mjs";
import { createErrorRegistry } from "./errors.mjs";

const require = createRequire(import.meta.url);
const { PrismaPg } = require("@prisma/adapter-pg");
const { Pool } = require("pg");

const DEFAULT_CONNECTIONS = 10;
// Milliseconds to get a connection, and after which an idle one is closed.
const CONNECT_LIMIT = 10_000;
const IDLE_LIMIT = 60_000;
// Parameters of Prisma's addresses that PostgreSQL itself does not know.
const PRISMA_ONLY = [
  "schema", "connection_limit", "pool_timeout", "connect_timeout", "socket_timeout", "pgbouncer",
  "statement_cache_size", "sslaccept", "sslidentity",
];

export function openPostgres(address) {
  const { url, schema, connections } = parseAddress(address);
  const pool = new Pool({
    connectionString: url,
    max: connections,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_LIMIT,
    idleTimeoutMillis: IDLE_LIMIT,
  });
  pool.on("error", () => {}); // an idle connection that broke has left the pool already
  pool.on("connect", (client) => {
    // Whoever uses a connection learns from the query that it broke; without a listener the process would end.
    client.on("error", () => {});
    prepareSession(client, schema);
  });
  return bind(new PrismaPg(pool, { schema }), () => pool.end());
}

// Split by hand: addresses without a host (unix sockets) are no URLs to the parser.
export function parseAddress(address) {
  const [base, query = ""] = address.split("?", 2);
  const parameters = new URLSearchParams(query);
  const schema = parameters.get("schema") || undefined;
  const connections = Number(parameters.get("connection_limit")) || DEFAULT_CONNECTIONS;
  chooseEncryption(parameters);
  for (const name of PRISMA_ONLY) parameters.delete(name);
  return { url: parameters.size > 0 ? `${base}?${parameters}` : base, schema, connections };
}

// The driver verifies certificates in every mode, where Prisma and libpq do so only when asked to; and it cannot
// fall back to a plain connection.
function chooseEncryption(parameters) {
  const mode = parameters.get("sslmode");
  if (["disable", "allow", "prefer"].includes(mode)) parameters.delete("sslmode");
  const verified = parameters.get("sslaccept") === "strict" || parameters.has("sslrootcert");
  if (mode === "require" && !verified) parameters.set("sslmode", "no-verify");
}

// Queued before the query for which the connection was opened.  Raw SQL names tables without their schema.
function prepareSession(client, schema) {
  const path = schema ? `; SET search_path TO "${schema.replaceAll('"', '""')}"` : "";
  client.query(`SET TIME ZONE 'UTC'${path}`).catch(() => {});
}

// The shape that the engine calls: results instead of exceptions.
function bind(adapter, close) {
  const registry = createErrorRegistry();

  const guard = (object, name, wrap = (value) => value) => async (...given) => {
    try {
      const result = await object[name](...given);
      return result.ok ? { ok: true, value: wrap(result.value) } : result;
    } catch (error) {
      return registry.register(error);
    }
  };
  const queryable = (object) => ({
    provider: object.provider,
    adapterName: object.adapterName,
    queryRaw: guard(object, "queryRaw"),
    executeRaw: guard(object, "executeRaw"),
  });
  // The engine commits by a statement; what is called commit gives the connection back.
  const executeInTransaction = (execute) => async (query) => {
    if (query.sql !== "COMMIT") return execute(query);
    crashPoint("engine.written");
    const result = await execute(query);
    crashPoint("engine.committed");
    return result;
  };
  const transaction = (object) => ({
    ...queryable(object),
    executeRaw: executeInTransaction(guard(object, "executeRaw")),
    options: object.options,
    commit: guard(object, "commit"),
    rollback: guard(object, "rollback"),
  });
  const context = (object) => ({
    ...queryable(object),
    startTransaction: guard(object, "startTransaction", transaction),
  });
  return {
    ...queryable(adapter),
    errorRegistry: registry,
    getConnectionInfo: () => adapter.getConnectionInfo(),
    transactionContext: guard(adapter, "transactionContext", context),
    close,
  };
}
