// Values between SQLite and the engine.  DateTime is kept as integer milliseconds, as by the native engine.

// Column types of the driver adapter protocol.
const INT32 = 0;
const INT64 = 1;
const FLOAT = 2;
const DOUBLE = 3;
const NUMERIC = 4;
const BOOLEAN = 5;
const TEXT = 7;
const DATE = 8;
const TIME = 9;
const DATETIME = 10;
const JSON_TEXT = 11;
const BYTES = 13;
const UNKNOWN_NUMBER = 128;

const DECLARED = new Map(
  Object.entries({
    DECIMAL: NUMERIC, NUMERIC, FLOAT, REAL: DOUBLE, DOUBLE, "DOUBLE PRECISION": DOUBLE,
    TINYINT: INT32, SMALLINT: INT32, MEDIUMINT: INT32, INT: INT32, INTEGER: INT32, SERIAL: INT32, INT2: INT32,
    BIGINT: INT64, "UNSIGNED BIG INT": INT64, INT8: INT64,
    DATETIME, TIMESTAMP: DATETIME, TIME, DATE,
    TEXT, CLOB: TEXT, CHARACTER: TEXT, VARCHAR: TEXT, "VARYING CHARACTER": TEXT, NCHAR: TEXT,
    "NATIVE CHARACTER": TEXT, NVARCHAR: TEXT,
    BLOB: BYTES, BOOLEAN, JSONB: JSON_TEXT,
  }),
);

// Arguments of a statement.
export function toSqlite(args, types) {
  return args.map((value, i) => {
    if (typeof value === "boolean") return value ? 1 : 0;
    if (typeof value === "string") return types?.[i] === "DateTime" ? Date.parse(value) : value;
    if (value instanceof Date) return value.getTime();
    return Array.isArray(value) ? Uint8Array.from(value) : value;
  });
}

// Types of the columns of a result: as declared, or by the first value where the column is an expression.
export function typesOf(columns, rows) {
  return columns.map(({ type }, i) => {
    const declared = type ? DECLARED.get(type.toUpperCase().replace(/\(.*/, "").trim()) : undefined;
    return declared ?? typeOfValue(rows.find((row) => row[i] !== null)?.[i]);
  });
}

function typeOfValue(value) {
  if (value === undefined) return INT32;
  if (typeof value === "string") return TEXT;
  return value instanceof Uint8Array ? BYTES : UNKNOWN_NUMBER;
}

// Values of a result, converted in place.  SQLite lets any value stand in any column, so each is looked at.
export function toEngine(rows, types) {
  for (const row of rows) {
    for (let i = 0; i < types.length; i += 1) {
      const value = row[i];
      if (typeof value === "bigint") row[i] = integer(value, types[i]);
      else if (typeof value === "number") row[i] = real(value, types[i]);
      else if (value instanceof Uint8Array) row[i] = Array.from(value);
    }
  }
}

function integer(value, type) {
  if (type === DATETIME) return new Date(Number(value)).toISOString();
  if (type === INT64 || type === NUMERIC || type === TEXT) return value.toString();
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

function real(value, type) {
  if (type === DATETIME) return new Date(value).toISOString();
  return type === INT32 || type === INT64 ? Math.trunc(value) : value;
}
