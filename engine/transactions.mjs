// Interactive transactions.  The engine ends them when their timeout is over; waiting for one is limited here.

import { errorAnswer } from "./result.mjs";

const NO_LIMIT = 2 ** 30; // milliseconds
const DEFAULT_WAIT = 2_000; // milliseconds, as in the native engine
const TOO_LONG = "Unable to start a transaction in the given time.";

export function createTransactions(engine) {
  async function start(options) {
    // The engine's own max_wait drops the wish but not the database's lock, which then would stay taken for ever.
    const starting = engine.startTransaction({ ...options, max_wait: NO_LIMIT });
    const started = await within(starting, options.max_wait ?? DEFAULT_WAIT);
    if (started === undefined) {
      starting.then(({ id }) => id && engine.endTransaction(id, "rollback")).catch(() => {});
      return failure({ error_code: "P2028", message: `Transaction API error: ${TOO_LONG}`, meta: { error: TOO_LONG } });
    }
    return started.id ? started : failure(started);
  }

  async function end(id, how) {
    const answer = await engine.endTransaction(id, how);
    return answer.error_code ? failure(answer) : {};
  }

  return { start, end };
}

async function within(promise, milliseconds) {
  let timer;
  const limit = new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)));
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

const failure = (error) => errorAnswer({ error: error.message, user_facing_error: { is_panic: false, ...error } });
