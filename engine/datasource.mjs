// Which database to use: the datamodel's models, with the provider that the database's address asks for.

import { readFileSync } from "node:fs";

const DATASOURCE = /datasource\s+(\w+)\s*\{([^}]*)\}/;
const PROVIDER = /(provider\s*=\s*)"(\w+)"/;
const URL_FROM_ENVIRONMENT = /url\s*=\s*env\("([^"]+)"\)/;
const URL_IN_PLACE = /url\s*=\s*"([^"]+)"/;
const MODEL = /^model\s+(\w+)\s*\{([\s\S]*?)^\}/gm;
const FIELD = /^\s+(\w+)\s+(\w+)/gm;

// -> {datamodel, provider, url, models}; models: model name -> field name -> type
export function loadDatasource(environment) {
  const written = readDatamodel(environment);
  const block = DATASOURCE.exec(written);
  if (!block) throw new Error("the datamodel has no datasource");
  const url = findUrl(block, environment);
  const provider = providerOf(url);
  // Only in memory: the same file serves both databases.
  const datamodel = written.replace(block[0], block[0].replace(PROVIDER, `$1"${provider}"`));
  return { datamodel, provider, url, models: readModels(datamodel) };
}

function readDatamodel({ PRISMA_DML, PRISMA_DML_PATH }) {
  if (PRISMA_DML) return Buffer.from(PRISMA_DML, "base64").toString();
  if (PRISMA_DML_PATH) return readFileSync(PRISMA_DML_PATH, "utf8");
  throw new Error("neither PRISMA_DML_PATH nor PRISMA_DML is set");
}

function findUrl([, name, body], environment) {
  const overrides = JSON.parse(environment.OVERWRITE_DATASOURCES ?? "[]");
  const override = overrides.find((source) => source.name === name)?.url;
  if (override) return override;
  const variable = URL_FROM_ENVIRONMENT.exec(body)?.[1];
  if (!variable) return URL_IN_PLACE.exec(body)?.[1] ?? "";
  if (!environment[variable]) throw new Error(`Environment variable not found: ${variable}`);
  return environment[variable];
}

// The address is not repeated in the message: it may hold a password.
function providerOf(url) {
  if (/^(file|sqlite):/.test(url)) return "sqlite";
  if (/^postgres(ql)?:/.test(url)) return "postgresql";
  throw new Error("the database's address begins neither with file: nor with postgresql:");
}

function readModels(datamodel) {
  const models = {};
  for (const [, model, body] of datamodel.matchAll(MODEL)) {
    models[model] = Object.fromEntries([...body.matchAll(FIELD)].map(([, field, type]) => [field, type]));
  }
  return models;
}
