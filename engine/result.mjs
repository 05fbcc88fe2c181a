// Answers of the engine's JSON protocol, as the native engine would have written them for GraphQL.

import { isBusy, isDiskError } from "./sqlite_lock.mjs";

const UNREADABLE_QUERY = "P2009";
const EXTERNAL_ERROR = "P2036"; // a JavaScript error that the driver adapter reported by number
const UNREACHABLE = "P1001";
const CONNECTION_LOST = "P1017";
const TIMED_OUT = "P1008";

// Codes of Node and of PostgreSQL (class 08, 57P0x, 53300) which say that the query never ran.
const NODE_CODES = "ECONNREFUSED|ENOENT|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EAI_AGAIN";
const NO_CONNECTION = new RegExp(`^(${NODE_CODES}|08001|08004|57P03|53300)$`);
const NO_CONNECTION_TEXT = /timeout exceeded when trying to connect/;
const LOST_TEXT = /^(Connection terminated|Client has encountered a connection error)/;
const LOST = /^(ECONNRESET|EPIPE|57P01|57P02|08\w\w\w)$/;

export function readResult(result, alias, findError) {
  if (result.errors) return { errors: result.errors.map((error) => plainError(error, findError)) };
  const [[field, value]] = Object.entries(result.data);
  // Raw rows keep their types beside their values: that is what the client expects there.
  return { data: { [alias]: field === "queryRaw" ? value : withoutTypes(value) } };
}

export const errorAnswer = (error) => ({ errors: [error] });

// What the engine throws instead of answering: its message is a user-facing error when it is JSON.
export function describeError(error, findError) {
  const message = String(error?.message ?? error);
  const known = parseKnownError(message);
  if (known) return plainError({ error: known.message, user_facing_error: known }, findError);
  return { error: message, user_facing_error: { is_panic: false, message, meta: {}, error_code: UNREADABLE_QUERY } };
}

function parseKnownError(message) {
  try {
    const known = JSON.parse(message);
    return known.error_code ? known : undefined;
  } catch {
    return undefined;
  }
}

function plainError(error, findError) {
  const known = error.user_facing_error;
  if (!known) return error;
  known.meta ??= {}; // the client looks into it without asking
  if (known.error_code !== EXTERNAL_ERROR) return error;
  const cause = findError(known.meta.id);
  if (!cause) return error;
  const message = String(cause.message ?? cause) || String(cause.code);
  const error_code = connectionCode(cause, message) ?? known.error_code;
  return { error: message, user_facing_error: { is_panic: false, message, meta: {}, error_code } };
}

function connectionCode(cause, message) {
  if (isBusy(cause)) return TIMED_OUT;
  if (isDiskError(cause)) return UNREACHABLE;
  const code = String(cause.code ?? cause.errors?.[0]?.code ?? "");
  if (NO_CONNECTION.test(code) || NO_CONNECTION_TEXT.test(message)) return UNREACHABLE;
  if (LOST.test(code) || LOST_TEXT.test(message)) return CONNECTION_LOST;
  return undefined;
}

// {"$type": "DateTime", "value": "..."} -> "...", in place: results may be large.
function withoutTypes(value) {
  if (value === null || typeof value !== "object") return value;
  if ("$type" in value) return value.value;
  for (const key in value) value[key] = withoutTypes(value[key]);
  return value;
}
