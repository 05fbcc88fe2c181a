// JavaScript errors that pass through the engine, which knows them only by number.

export function createErrorRegistry() {
  const errors = new Map();
  let last = 0;

  return {
    register(error) {
      last += 1;
      errors.set(last, { error });
      return { ok: false, error: { kind: "GenericJs", id: last } };
    },
    consumeError(id) {
      const record = errors.get(id);
      errors.delete(id);
      return record;
    },
  };
}
