import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { openSqlite } from "../sqlite.mjs";

let folder;
let first;
let second;
const sql = (text, ...args) => ({ sql: text, args, argTypes: args.map(() => "Text") });
const insert = (id) => sql("INSERT INTO things VALUES (?)", id);
const count = async (adapter) => (await adapter.queryRaw(sql("SELECT count(*) FROM things"))).value.rows[0][0];
const begin = async (adapter) => (await (await adapter.transactionContext()).value.startTransaction()).value;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "engine-"));
  const url = `file:${folder}/database.db`;
  first = openSqlite(url);
  second = openSqlite(`${url}?socket_timeout=0.2`);
  await first.executeRaw(sql("CREATE TABLE things (id TEXT PRIMARY KEY)"));
});

afterEach(() => {
  first.close();
  second.close();
  rmSync(folder, { recursive: true });
});

test("a database that stays locked is reported after the limit to all who wait", async () => {
  const holder = await begin(first);
  const started = performance.now();
  const results = await Promise.all([second.executeRaw(insert("a")), second.executeRaw(insert("b")), begin(second)]);
  const waited = performance.now() - started;

  assert.deepEqual(results.map((result) => result?.ok), [false, false, undefined]);
  assert.match(second.errorRegistry.consumeError(results[0].error.id).error.message, /database is locked/);
  assert.ok(waited >= 190 && waited < 2_000, `${waited}`);
  await holder.rollback();
  assert.deepEqual(await second.executeRaw(insert("a")), { ok: true, value: 1 });
});

test("a write waits for a writer of another connection", async () => {
  const holder = await begin(first);
  await holder.executeRaw(insert("a"));
  const writing = second.executeRaw(insert("b"));
  await new Promise(setImmediate);
  assert.equal(await count(second), 0);

  await holder.commit();

  assert.deepEqual(await writing, { ok: true, value: 1 });
  assert.equal(await count(first), 2);
});

test("a commit that fails leaves neither a transaction nor the lock", async () => {
  await first.executeRaw(sql("CREATE TABLE parts (thing TEXT REFERENCES things (id) DEFERRABLE INITIALLY DEFERRED)"));
  const transaction = await begin(first);
  await transaction.executeRaw(sql("INSERT INTO parts VALUES (?)", "missing"));

  const committed = await transaction.commit();

  assert.equal(committed.ok, false);
  assert.match(committed.error.message, /FOREIGN KEY/);
  assert.deepEqual(await first.executeRaw(insert("a")), { ok: true, value: 1 });
});

test("statements that were prepared survive a change of the table", async () => {
  await first.executeRaw(insert("a"));
  const read = () => first.queryRaw(sql("SELECT * FROM things"));
  assert.deepEqual((await read()).value.columnNames, ["id"]);

  await second.executeRaw(sql("ALTER TABLE things ADD COLUMN name TEXT"));

  assert.deepEqual((await read()).value.columnNames, ["id", "name"]);
  assert.deepEqual((await read()).value.rows, [["a", null]]);
});
