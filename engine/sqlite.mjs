// SQLite for the engine: a driver adapter on Node's own node:sqlite.
//
// One connection writes, another reads beside it; both calls are synchronous, so that no read transaction outlives
// its statement.  Other processes write to the same file, see waitUntilFree.

import { DatabaseSync } from "node:sqlite";

import { crashPoint } from "./crash_points.mjs";
import { createErrorRegistry } from "./errors.mjs";
import { RETRY_LIMIT, isBusy, isDiskError, Lock, waitUntilFree } from "./sqlite_lock.mjs";
import { toEngine, toSqlite, typesOf } from "./sqlite_values.mjs";

// Older versions can corrupt a WAL database that several processes write.
const OLDEST = [3, 51, 3];
// Milliseconds that opening waits for others; afterwards waitUntilFree does the waiting.
const OPEN_LIMIT = 10_000;
const PRAGMAS = `
  PRAGMA busy_timeout = ${OPEN_LIMIT};
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA foreign_keys = ON;
  PRAGMA busy_timeout = 0;
`;
const MAX_BIND_VALUES = 32_766;
const KEPT_STATEMENTS = 200;
const GENERIC_ERROR = 1; // SQLITE_ERROR
const READ = /^\s*(select|explain|values)\b/i;
const NAMES = { provider: "sqlite", adapterName: "node-sqlite" };

export function openSqlite(url) {
  const { path, limit } = parseUrl(url);
  const writer = new Connection(path);
  const reader = new Connection(path);
  const lock = new Lock();
  const errorRegistry = createErrorRegistry();

  // The engine wants results instead of exceptions, and knows SQLite's errors by their extended code.  A database
  // that stays locked, or whose disk is full, has none of its own there, so it is registered, see result.mjs.
  async function attempt(work) {
    try {
      return { ok: true, value: await work() };
    } catch (error) {
      if (isBusy(error) || isDiskError(error)) return errorRegistry.register(error);
      const message = String(error.message ?? error);
      return { ok: false, error: { kind: "Sqlite", extendedCode: error.errcode ?? GENERIC_ERROR, message } };
    }
  }

  // A statement of its own, outside a transaction.
  const alone = (run) => async (query) => {
    if (READ.test(query.sql)) return attempt(() => waitUntilFree(() => run(reader, query), performance.now() + limit));
    // The limit counts from here: those who queue behind a locked database shall not each wait in full.
    const end = performance.now() + limit;
    const release = await lock.acquire();
    try {
      return await attempt(() => waitUntilFree(() => run(writer, query), end));
    } finally {
      release();
    }
  };
  const inTransaction = (run) => async (query) => attempt(() => run(writer, query));

  async function startTransaction() {
    const end = performance.now() + limit;
    const release = await lock.acquire();
    const begun = await attempt(() => waitUntilFree(() => writer.database.exec("BEGIN IMMEDIATE"), end));
    if (!begun.ok) {
      release();
      return begun;
    }
    const finish = (sql) => async () => {
      if (sql === "COMMIT") crashPoint("engine.written");
      const ended = await attempt(() => writer.database.exec(sql));
      if (sql === "COMMIT") crashPoint("engine.committed");
      if (writer.database.isTransaction) await attempt(() => writer.database.exec("ROLLBACK"));
      release();
      return ended;
    };
    const transaction = {
      ...NAMES,
      options: { usePhantomQuery: true }, // the engine leaves BEGIN, COMMIT and ROLLBACK to us
      queryRaw: inTransaction(readRows),
      executeRaw: inTransaction(countChanges),
      commit: finish("COMMIT"),
      rollback: finish("ROLLBACK"),
    };
    return { ok: true, value: transaction };
  }

  const queryable = { ...NAMES, queryRaw: alone(readRows), executeRaw: alone(countChanges) };
  return {
    ...queryable,
    errorRegistry,
    getConnectionInfo: () => ({ ok: true, value: { maxBindValues: MAX_BIND_VALUES } }),
    transactionContext: async () => ({ ok: true, value: { ...queryable, startTransaction } }),
    close: () => [reader, writer].forEach((connection) => connection.database.close()),
  };
}

// As in the native engine, socket_timeout tells how many seconds to wait for a locked database.
function parseUrl(url) {
  const [file, query] = url.split("?", 2);
  const seconds = Number(new URLSearchParams(query).get("socket_timeout"));
  return { path: file.replace(/^(file|sqlite):(\/\/(?=\/))?/, ""), limit: 1_000 * seconds || RETRY_LIMIT };
}

export function checkVersion(version) {
  const numbers = version.split(".").map(Number);
  const first = numbers.findIndex((number, i) => number !== OLDEST[i]);
  if (first >= 0 && numbers[first] < (OLDEST[first] ?? 0)) {
    throw new Error(
      `SQLite ${version} is linked into this Node; versions before ${OLDEST.join(".")} can corrupt a database that ` +
        "several processes write, so the engine does not start.  Use a newer Node.",
    );
  }
}

class Connection {
  #statements = new Map(); // by SQL, the least recently used first

  constructor(path) {
    this.database = new DatabaseSync(path);
    checkVersion(this.database.prepare("SELECT sqlite_version() AS version").get().version);
    this.database.exec(PRAGMAS);
  }

  prepare(sql) {
    let statement = this.#statements.get(sql);
    if (statement) {
      this.#statements.delete(sql);
    } else {
      statement = this.database.prepare(sql);
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      if (this.#statements.size >= KEPT_STATEMENTS) this.#statements.delete(this.#statements.keys().next().value);
    }
    this.#statements.set(sql, statement);
    return statement;
  }
}

function readRows(connection, { sql, args, argTypes }) {
  const statement = connection.prepare(sql);
  const rows = statement.all(...toSqlite(args, argTypes));
  const columns = statement.columns();
  const columnTypes = typesOf(columns, rows);
  toEngine(rows, columnTypes);
  return { columnNames: columns.map((column) => column.name), columnTypes, rows };
}

function countChanges(connection, { sql, args, argTypes }) {
  return Number(connection.prepare(sql).run(...toSqlite(args, argTypes)).changes);
}
