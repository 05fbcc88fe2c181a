// The native engine's HTTP protocol: queries, batches, interactive transactions, status, metrics.

import { createJsonMarker } from "./json_columns.mjs";
import { parseDocument } from "./graphql.mjs";
import { describeError, errorAnswer, readResult } from "./result.mjs";
import { createTransactions } from "./transactions.mjs";

const TRANSACTION = /^\/transaction\/([^/]+)\/(commit|rollback)$/;

export function createRouter(engine, models) {
  const markJson = createJsonMarker(models);
  const transactions = createTransactions(engine);

  const translate = (document) => {
    const { alias, query } = parseDocument(document);
    return { alias, query: markJson(query) };
  };

  async function runQuery(document, transactionId) {
    const { alias, query } = translate(document);
    return readResult(await engine.query(query, transactionId), alias, engine.findError);
  }

  async function runBatch({ batch, transaction, isolationLevel }, transactionId) {
    const items = batch.map((item) => translate(item.query));
    const request = {
      batch: items.map((item) => item.query),
      transaction: transaction ? { isolationLevel } : undefined,
    };
    const result = await engine.query(request, transactionId);
    if (!result.batchResult) return readResult(result, "result", engine.findError);
    const results = result.batchResult.map((one, i) => readResult(one, items[i].alias, engine.findError));
    const errors = results.flatMap((one) => one.errors ?? []);
    return errors.length > 0 ? { batchResult: results, errors } : { batchResult: results };
  }

  async function query(body, headers) {
    try {
      const request = JSON.parse(body);
      const transactionId = headers["x-transaction-id"];
      return await (request.batch ? runBatch(request, transactionId) : runQuery(request.query, transactionId));
    } catch (error) {
      return errorAnswer(describeError(error, engine.findError));
    }
  }

  return async function route(method, path, headers, body) {
    if (path === "/status") return { status: 200, body: { status: "ok" } };
    if (path.startsWith("/metrics")) return { status: 200, body: noMetrics(path) };
    if (method !== "POST") return { status: 404, body: {} };
    if (path === "/") return { status: 200, body: await query(body, headers) };
    if (path === "/transaction/start") return { status: 200, body: await transactions.start(JSON.parse(body)) };
    const end = TRANSACTION.exec(path);
    if (end) return { status: 200, body: await transactions.end(end[1], end[2]) };
    return { status: 404, body: {} };
  };
}

// The WebAssembly engine counts nothing; clients get the right shape.
function noMetrics(path) {
  return path.includes("format=prometheus") ? "" : { counters: [], gauges: [], histograms: [] };
}
