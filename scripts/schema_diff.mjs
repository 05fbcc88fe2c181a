// Turn schema differences into SQL with Prisma's schema engine (WASM); no database and no native engine is needed.
// Input:  JSON list of {provider: "sqlite" | "postgresql", from, to}; both are the text of a schema.prisma, "" for none.
// Output: JSON list of SQL scripts in the same order, "" where both schemas agree.
import fs from 'node:fs'
import path from 'node:path'

const ENGINE = { sqlite: { name: 'sqlite', schema: 'main' }, postgresql: { name: 'postgres', schema: 'public' } }

const folder = path.resolve(import.meta.dirname, '../node_modules/@prisma/schema-engine-wasm')
const bindings = await import(path.join(folder, 'schema_engine_bg.js'))
const wasm = new WebAssembly.Module(fs.readFileSync(path.join(folder, 'schema_engine_bg.wasm')))
const instance = new WebAssembly.Instance(wasm, { './schema_engine_bg.js': bindings })
bindings.__wbg_set_wasm(instance.exports)
instance.exports.__wbindgen_start()
globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (message) => process.stderr.write(`${message}\n`) }

// The engine asks for a database connection although a diff of two schemas sends no query.
function connectionStub(provider) {
  const none = async () => ({ ok: true, value: { columnNames: [], columnTypes: [], rows: [] } })
  const done = async () => ({ ok: true, value: undefined })
  const { name, schema } = ENGINE[provider]
  const connection = {
    provider: name,
    adapterName: 'none',
    queryRaw: none,
    executeRaw: async () => ({ ok: true, value: 0 }),
    executeScript: done,
    dispose: done,
    getConnectionInfo: () => ({ ok: true, value: { schemaName: schema, supportsRelationJoins: false } }),
  }
  const connect = async () => ({ ok: true, value: connection })
  return { provider: name, adapterName: 'none', connect, connectToShadowDb: connect, errorRegistry: { consumeError() {} } }
}

function target(provider, schema) {
  if (schema === '') return { tag: 'empty' }
  const content = schema.replace(/(datasource\s+\w+\s*\{[^}]*?provider\s*=\s*)"\w+"/, `$1"${provider}"`)
  return { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content }] }
}

async function diff({ provider, from, to }) {
  const engine = await bindings.SchemaEngine.new({ datamodels: undefined }, () => {}, connectionStub(provider))
  const result = await engine.diff({
    from: target(provider, from),
    to: target(provider, to),
    shadowDatabaseUrl: null,
    script: true,
    exitCode: null,
    filters: { externalTables: [], externalEnums: [] },
  })
  const sql = result.stdout ?? ''
  return sql.includes('-- This is an empty migration.') ? '' : sql
}

const scripts = []
for (const pair of JSON.parse(fs.readFileSync(0, 'utf8'))) scripts.push(await diff(pair))
process.stdout.write(JSON.stringify(scripts))
