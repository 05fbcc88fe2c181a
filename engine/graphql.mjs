// The GraphQL that the Python client writes, read into queries of the engine's JSON protocol.
//
// It is a small part of GraphQL: one operation with one root field, arguments given in place, no variables,
// fragments or directives.

const SPACE_OR_COMMENT = /(?:[\s,]+|#[^\n]*)*/y;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const NAME = /[A-Za-z_]\w*/y;
const INTEGER = /^-?\d+$/;
const READS = "findUnique|findFirst|findMany|aggregate|groupBy";
const WRITES = "createOne|createMany|updateOne|updateMany|upsertOne|deleteOne|deleteMany";
const ACTION = new RegExp(`^(${READS}|${WRITES})(\\w+?)(OrThrow)?$`);
const RAW = new Set(["queryRaw", "executeRaw"]);
const WORDS = new Map([["true", true], ["false", false], ["null", null]]);

// -> {alias, query}: the name under which the client wants the result, and the JSON protocol's query.
export function parseDocument(source) {
  const reader = new Reader(source);
  reader.operation();
  reader.expect("{");
  let field = reader.name();
  const alias = field;
  if (reader.accept(":")) field = reader.name();
  const query = { arguments: reader.arguments(), selection: reader.at("{") ? reader.selection() : {} };
  if (!reader.accept("}")) reader.fail("exactly one root field is supported");
  reader.expectEnd();
  return { alias, query: { ...action(field, reader), query } };
}

function action(field, reader) {
  if (RAW.has(field)) return { action: field };
  const parts = ACTION.exec(field);
  if (!parts) reader.fail(`${field} is no operation of the engine`);
  return { modelName: parts[2], action: parts[1] + (parts[3] ?? "") };
}

class Reader {
  constructor(source) {
    this.source = source;
    this.offset = 0;
    this.skip();
  }

  operation() {
    if (!this.at("{")) this.name();
  }

  selection() {
    this.expect("{");
    const fields = {};
    while (!this.accept("}")) {
      const name = this.name();
      const hasArguments = this.at("(");
      const given = this.arguments();
      if (this.at("{")) fields[name] = { arguments: given, selection: this.selection() };
      else fields[name] = hasArguments ? { arguments: given, selection: { $scalars: true } } : true;
    }
    return fields;
  }

  arguments() {
    return this.accept("(") ? this.pairs(")") : {};
  }

  pairs(end) {
    const pairs = {};
    while (!this.accept(end)) {
      const name = this.name();
      this.expect(":");
      pairs[name] = this.value();
    }
    return pairs;
  }

  value() {
    if (this.at('"')) return this.string();
    if (this.accept("[")) return this.list();
    if (this.accept("{")) return this.pairs("}");
    const number = this.match(NUMBER);
    if (number !== undefined) return readNumber(number);
    const word = this.match(NAME);
    if (word === undefined) this.fail("a value is missing");
    return WORDS.has(word) ? WORDS.get(word) : word;
  }

  list() {
    const items = [];
    while (!this.accept("]")) items.push(this.value());
    return items;
  }

  // The client quotes names of fields now and then.
  name() {
    if (this.at('"')) return this.string();
    const name = this.match(NAME);
    if (name === undefined) this.fail("a name is missing");
    return name;
  }

  // Strings may be many megabytes long, so their end is searched for and not matched.
  string() {
    const start = this.offset;
    let end = start;
    do {
      end = this.source.indexOf('"', end + 1);
      if (end < 0) this.fail("a string does not end");
    } while (this.isEscaped(end));
    this.offset = end + 1;
    try {
      return JSON.parse(this.source.slice(start, this.offset));
    } catch {
      this.offset = start;
      return this.fail("a string cannot be read");
    } finally {
      this.skip();
    }
  }

  isEscaped(index) {
    let first = index;
    while (this.source[first - 1] === "\\") first -= 1;
    return (index - first) % 2 === 1;
  }

  match(pattern) {
    pattern.lastIndex = this.offset;
    const found = pattern.exec(this.source);
    if (!found) return undefined;
    this.offset = pattern.lastIndex;
    this.skip();
    return found[0];
  }

  at(character) {
    return this.source[this.offset] === character;
  }

  accept(character) {
    if (!this.at(character)) return false;
    this.offset += 1;
    this.skip();
    return true;
  }

  expect(character) {
    if (!this.accept(character)) this.fail(`${character} is missing`);
  }

  expectEnd() {
    if (this.offset < this.source.length) this.fail("only one operation is supported");
  }

  skip() {
    SPACE_OR_COMMENT.lastIndex = this.offset;
    SPACE_OR_COMMENT.exec(this.source);
    this.offset = SPACE_OR_COMMENT.lastIndex;
  }

  // Without the text around it, which may be a user's data.
  fail(reason) {
    throw new Error(`GraphQL: ${reason} at character ${this.offset} of ${this.source.length}`);
  }
}

// Integers beyond what a double holds keep all their digits.
function readNumber(text) {
  const number = Number(text);
  return INTEGER.test(text) && !Number.isSafeInteger(number) ? { $type: "BigInt", value: text } : number;
}
