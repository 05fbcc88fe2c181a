import assert from "node:assert/strict";
import { test } from "node:test";

import { parseDocument } from "../graphql.mjs";

test("a query becomes a query of the JSON protocol", () => {
  const { alias, query } = parseDocument(`query {
    result: findManyUser(where: { id: { in: ["a", "b"] }, NOT: [{ name: null }] } take: 5, orderBy: [{ id: desc }]) {
      id
      posts(take: 1) { id }
      comments { id }
      _count(where: {})
    }
  }`);

  assert.equal(alias, "result");
  assert.deepEqual(query, {
    modelName: "User",
    action: "findMany",
    query: {
      arguments: { where: { id: { in: ["a", "b"] }, NOT: [{ name: null }] }, take: 5, orderBy: [{ id: "desc" }] },
      selection: {
        id: true,
        posts: { arguments: { take: 1 }, selection: { id: true } },
        comments: { arguments: {}, selection: { id: true } },
        _count: { arguments: { where: {} }, selection: { $scalars: true } },
      },
    },
  });
});

test("every operation finds its model and action", () => {
  const operations = {
    findUniqueUser: ["User", "findUnique"],
    findUniqueUserOrThrow: ["User", "findUniqueOrThrow"],
    findFirstUserOrThrow: ["User", "findFirstOrThrow"],
    createOneUser: ["User", "createOne"],
    createManyUser: ["User", "createMany"],
    upsertOneUser: ["User", "upsertOne"],
    deleteManyOrder: ["Order", "deleteMany"],
    aggregateUser: ["User", "aggregate"],
    groupByUser: ["User", "groupBy"],
  };
  for (const [operation, [modelName, action]] of Object.entries(operations)) {
    const { query } = parseDocument(`mutation { ${operation} { id } }`);
    assert.deepEqual([query.modelName, query.action], [modelName, action]);
  }
});

test("raw SQL has no model and needs no selection", () => {
  const { query } = parseDocument('mutation { result: queryRaw(query: "SELECT 1", parameters: "[]") }');

  assert.deepEqual(query, {
    action: "queryRaw",
    query: { arguments: { query: "SELECT 1", parameters: "[]" }, selection: {} },
  });
});

test("texts keep every character", () => {
  const texts = ["", '"', "\\", '\\"', "# no comment", "{[(:)]}", "\u2028\u0085\n", "é 🎉", "\\\\"];
  for (const text of texts) {
    const { query } = parseDocument(`mutation { createOneUser(data: { name: ${JSON.stringify(text)} }) { id } }`);
    assert.equal(query.query.arguments.data.name, text);
  }
});

test("a text of many megabytes is read", () => {
  const text = 'a "quoted" \\ text\n'.repeat(500_000);
  const { query } = parseDocument(`mutation { createOneUser(data: { name: ${JSON.stringify(text)} }) { id } }`);

  assert.equal(query.query.arguments.data.name, text);
});

test("numbers keep their digits", () => {
  const values = "[1, -2, 1.5, -1e-3, 9007199254740993, -9223372036854775808]";
  const { query } = parseDocument(`query { findManyUser(where: { n: { in: ${values} } }) { id } }`);

  assert.deepEqual(query.query.arguments.where.n.in, [
    1, -2, 1.5, -0.001,
    { $type: "BigInt", value: "9007199254740993" },
    { $type: "BigInt", value: "-9223372036854775808" },
  ]);
});

test("words are constants or names of enumerations", () => {
  const where = "{ a: true, b: false, c: null, d: insensitive }";
  const { query } = parseDocument(`query { findManyUser(where: ${where}) { id } }`);

  assert.deepEqual(query.query.arguments.where, { a: true, b: false, c: null, d: "insensitive" });
});

test("comments and commas mean nothing", () => {
  const { query } = parseDocument("query { # first\n findManyUser(take: 1,, skip: 2) # second\n { id, name } }");

  assert.deepEqual(query.query.arguments, { take: 1, skip: 2 });
  assert.deepEqual(query.query.selection, { id: true, name: true });
});

test("what cannot be read is refused without repeating it", () => {
  const documents = [
    "",
    "query {",
    "query { findManyUser(where: { secret } ) { id } }",
    'query { findManyUser(where: { name: "secret } ) { id } }',
    'query { findManyUser(where: { name: "secret\\x" } ) { id } }',
    "query { dropEverything { id } }",
    "query { findManyUser { id } findManyPost { id } }",
    "query { findManyUser { id } } query { findManyUser { id } }",
    "query { findManyUser(take: ) { id } }",
    "query { findManyUser(take: [1 { id } }",
  ];
  const isDiscreet = ({ message }) => /^GraphQL: /.test(message) && !/secret/.test(message);
  for (const document of documents) assert.throws(() => parseDocument(document), isDiscreet);
});
