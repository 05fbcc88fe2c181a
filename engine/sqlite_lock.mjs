// Waiting for SQLite's one writer: in this process in order of arrival, for other processes by asking again.

// Milliseconds between two attempts.  The other writers hand the database on among themselves by a lock that Node
// cannot take, and leave it free for moments only; a back-off that grows would never meet one of them.
const RETRY_INTERVAL = 0.5;
// Milliseconds until a database that stays locked is reported, unless its address says otherwise.
export const RETRY_LIMIT = 10_000;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;

const nobody = new Int32Array(new SharedArrayBuffer(4));

export class Lock {
  #held = false;
  #waiting = [];

  // Resolves to the function that gives the lock back.
  acquire() {
    return new Promise((resolve) => {
      const take = () => resolve(() => this.#release());
      if (this.#held) this.#waiting.push(take);
      else take();
      this.#held = true;
    });
  }

  #release() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#held = false;
  }
}

// Repeats work() until the database is not locked.  Throws what else it throws, and busy errors after the end.
export async function waitUntilFree(work, end) {
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > end) throw error;
    }
    // Timers of Node are too coarse.  Other requests run first, then the thread sleeps without using the core.
    await new Promise(setImmediate);
    Atomics.wait(nobody, 0, 0, RETRY_INTERVAL);
  }
}

// Tells errors about the disk from those about the query: read-only, I/O, full, cannot open.
export function isDiskError({ errcode }) {
  return [SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN].includes(errcode & 0xff);
}

export function isBusy({ errcode }) {
  const primary = errcode & 0xff;
  return primary === SQLITE_BUSY || primary === SQLITE_LOCKED;
}
