import assert from "node:assert/strict";
import { test } from "node:test";

import { loadDatasource } from "../datasource.mjs";
import { createJsonMarker } from "../json_columns.mjs";
import { parseAddress } from "../postgres.mjs";
import { describeError, readResult } from "../result.mjs";
import { checkVersion } from "../sqlite.mjs";
import { Lock, waitUntilFree } from "../sqlite_lock.mjs";

const DATAMODEL = `datasource db {
  provider = "sqlite"
  url      = env("DATABASE_URL")
}
model User {
  id String @id
  extra Json?
  posts Post[]
}
`;
const environment = (more) => ({ PRISMA_DML: Buffer.from(DATAMODEL).toString("base64"), ...more });

test("the provider comes from the address", () => {
  const { datamodel, provider, url, models } = loadDatasource(environment({ DATABASE_URL: "postgres://host/name" }));

  assert.equal(provider, "postgresql");
  assert.match(datamodel, /provider = "postgresql"/);
  assert.equal(url, "postgres://host/name");
  assert.deepEqual(models, { User: { id: "String", extra: "Json", posts: "Post" } });
});

test("an override of the client wins over the environment", () => {
  const OVERWRITE_DATASOURCES = JSON.stringify([{ name: "db", url: "file:/other.db" }]);
  const { url } = loadDatasource(environment({ OVERWRITE_DATASOURCES, DATABASE_URL: "file:/x.db" }));

  assert.equal(url, "file:/other.db");
});

test("a missing or strange address is refused without repeating it", () => {
  assert.throws(() => loadDatasource(environment({})), /Environment variable not found: DATABASE_URL/);
  const strange = environment({ DATABASE_URL: "mysql://secret" });
  assert.throws(() => loadDatasource(strange), ({ message }) => !/secret/.test(message));
});

test("a SQLite that can corrupt a shared database is refused", () => {
  for (const version of ["3.51.3", "3.52.0", "3.53.3", "4.0.0"]) checkVersion(version);
  for (const version of ["3.51.2", "3.46.1", "3.9.0", "2.99.99"]) {
    assert.throws(() => checkVersion(version), new RegExp(`SQLite ${version} .* 3.51.3`));
  }
});

test("addresses of PostgreSQL keep what PostgreSQL knows", () => {
  const address = "postgresql://u:p@h:1/d?schema=s&connection_limit=3&sslmode=require&application_name=x";
  assert.deepEqual(parseAddress(address), {
    url: "postgresql://u:p@h:1/d?sslmode=no-verify&application_name=x",
    schema: "s",
    connections: 3,
  });
  assert.equal(parseAddress("postgresql://u:@/d?host=/tmp").url, "postgresql://u:@/d?host=%2Ftmp");
  assert.equal(parseAddress("postgresql://h/d?sslmode=prefer").url, "postgresql://h/d");
  assert.equal(parseAddress("postgresql://h/d?sslmode=verify-full").url, "postgresql://h/d?sslmode=verify-full");
  const strict = parseAddress("postgresql://h/d?sslmode=require&sslaccept=strict");
  assert.equal(strict.url, "postgresql://h/d?sslmode=require");
});

test("Json columns are marked wherever they stand", () => {
  const mark = createJsonMarker({ User: { extra: "Json", posts: "Post" }, Post: { body: "Json", author: "User" } });
  const json = (value) => ({ $type: "Json", value });
  const query = mark({
    modelName: "User",
    query: {
      arguments: {
        data: { extra: "{}", posts: { create: [{ body: '"x"' }] } },
        where: { extra: { equals: "DbNull", path: ["a"], string_contains: "b" } },
      },
      selection: { id: true, posts: { arguments: { where: { body: { equals: "1" } } }, selection: { body: true } } },
    },
  }).query;

  assert.deepEqual(query.arguments.data, { extra: json("{}"), posts: { create: [{ body: json('"x"') }] } });
  assert.deepEqual(query.arguments.where.extra, {
    equals: { $type: "Enum", value: "DbNull" },
    path: ["a"],
    string_contains: "b",
  });
  assert.deepEqual(query.selection.posts.arguments.where.body.equals, json("1"));
});

test("results lose the marks of their types, raw rows keep them", () => {
  const at = { $type: "DateTime", value: "2026" };
  const value = () => [{ at, n: 1, none: null, list: [{ $type: "BigInt", value: "2" }] }];

  assert.deepEqual(readResult({ data: { findManyUser: value() } }, "result").data.result, [
    { at: "2026", n: 1, none: null, list: ["2"] },
  ]);
  assert.deepEqual(readResult({ data: { queryRaw: value() } }, "result").data.result, value());
});

test("a database that is away is told from a bad query", () => {
  const failed = JSON.stringify({ error_code: "P2036", message: "external", meta: { id: 7 } });
  const code = (cause) => describeError(new Error(failed), () => cause).user_facing_error.error_code;

  assert.equal(code({ code: "ECONNREFUSED", message: "connect ECONNREFUSED" }), "P1001");
  assert.equal(code(new Error("Connection terminated unexpectedly")), "P1017");
  assert.equal(code(Object.assign(new Error("database is locked"), { errcode: 5 })), "P1008");
  assert.equal(code(new Error("a bug")), "P2036");
});

test("the lock is given in order of arrival", async () => {
  const lock = new Lock();
  const order = [];
  const work = async (name) => {
    const release = await lock.acquire();
    order.push(name);
    await new Promise(setImmediate);
    release();
  };
  await Promise.all(["first", "second", "third"].map(work));

  assert.deepEqual(order, ["first", "second", "third"]);
});

test("a locked database is asked again until it is free, and reported when it stays locked", async () => {
  const busy = Object.assign(new Error("database is locked"), { errcode: 5 });
  let left = 3;
  const work = () => {
    if (left > 0) {
      left -= 1;
      throw busy;
    }
    return "done";
  };

  assert.equal(await waitUntilFree(work, performance.now() + 5_000), "done");
  await assert.rejects(waitUntilFree(() => { throw busy; }, performance.now() + 5), busy);
  await assert.rejects(waitUntilFree(() => { throw new Error("other"); }, 0), /other/);
});
