// Json columns.  The engine's JSON protocol wants their values marked, because a bare string would be stored as a
// JSON string.  Datamodels without such columns cost nothing.

// Keys of a Json filter whose values are no JSON.
const PLAIN = new Set(["path", "mode", "string_contains", "string_starts_with", "string_ends_with"]);
const NULLS = new Set(["DbNull", "JsonNull", "AnyNull"]);
const WRITTEN_ARGUMENTS = ["where", "data", "create", "update"];

// models: model name -> field name -> type
export function createJsonMarker(models) {
  if (!Object.values(models).some((fields) => Object.values(fields).includes("Json"))) return (query) => query;

  const isObject = (value) => value !== null && typeof value === "object" && !("$type" in value);

  function markArguments(value, model) {
    if (Array.isArray(value)) return value.map((item) => markArguments(item, model));
    if (!isObject(value)) return value;
    for (const key in value) {
      const type = models[model]?.[key];
      value[key] = type === "Json" ? markJson(value[key]) : markArguments(value[key], models[type] ? type : model);
    }
    return value;
  }

  function markSelection(selection, model) {
    for (const [field, part] of Object.entries(selection)) {
      const type = models[model]?.[field];
      if (!models[type] || !part.arguments) continue;
      markArguments(part.arguments, type);
      markSelection(part.selection, type);
    }
  }

  return function mark(query) {
    if (!query.modelName) return query;
    const { arguments: given, selection } = query.query;
    for (const name of WRITTEN_ARGUMENTS) {
      if (name in given) given[name] = markArguments(given[name], query.modelName);
    }
    markSelection(selection, query.modelName);
    return query;
  };
}

function markJson(value) {
  if (typeof value === "string") return NULLS.has(value) ? { $type: "Enum", value } : { $type: "Json", value };
  if (Array.isArray(value)) return value.map(markJson);
  if (value === null || typeof value !== "object" || "$type" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, PLAIN.has(key) ? item : markJson(item)]));
}
