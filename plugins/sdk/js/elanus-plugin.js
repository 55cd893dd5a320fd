// Write rerankers and SQL functions for Elanus in JavaScript. Types are in elanus-plugin.d.ts.

/** A parameter or an argument has a value that the plugin does not take. The text reaches the user. */
export class Refused extends Error {}

/** Something that the plugin does not do. The text reaches the user. */
export class Unsupported extends Error {}

const KINDS = ["f32s", "f64s", "s64s", "bools", "text", "vectors"];

/** A column of this name. */
export const column = (name, kind) => needed("named", name, kind);

/** The column whose name is the value of this text parameter; an empty value: no column. */
export const columnNamedBy = (parameter, kind) => needed("parameter", parameter, kind);

/** The columns whose names are the value of this text parameter, separated by commas. */
export const columnsListedIn = (parameter, kind) => needed("parameter-list", parameter, kind);

/** Parameters with a default, or with `undefined` for one that must be given. */
export const number = (fallback, description) => parameter("number", fallback, description);
export const integer = (fallback, description) => parameter("integer", fallback, description);
export const text = (fallback, description) => parameter("text", fallback, description);
export const boolean = (fallback, description) => parameter("boolean", fallback, description);

/** Larger is better: 1 / (1 + distance), and 1 - distance for the negative distances of cosines, inner products and scores. */
export const relevance = (distance) => (distance < 0 ? 1 - distance : 1 / (1 + distance));

/** All candidates by their scores, the largest first; of equal ones the earlier first. */
export function byScore(scores) {
  const order = Array.from(scores, (_, at) => at).sort((a, b) => scores[b] - scores[a]);
  return order.map((index) => ({ index, score: scores[index] }));
}

/** What the module of a reranker exports as `reranking`. */
export function reranker(plugin) {
  const { name, version, description = "", columns = [], parameters = {}, prepare, rerank } = plugin;
  let prepared;
  return {
    describe: () => ({
      name,
      version,
      description,
      columns,
      needsVectors: plugin.vectors ?? false,
      needsQueryText: plugin.queryText ?? false,
      maxCandidates: plugin.maxCandidates ?? 0,
      parameters: Object.entries(parameters).map(([name, declared]) => ({ name, ...declared })),
    }),
    configure: (given) =>
      told(() => {
        const values = Object.fromEntries(given.map(({ name, value }) => [name, value.val]));
        prepared = prepare ? prepare(values) : values;
      }),
    rerank: (request, candidates) =>
      told(() => {
        const { keys, distances, columns, vectors } = candidates;
        const places = rerank(
          {
            length: distances.length,
            keys: keys.tag === "texts" ? texts(keys.val) : keys.val,
            distances,
            columns: columns.map(({ name, column }) => ({ name, ...values(column) })),
            vectors: vectors && vectorsOf(vectors),
          },
          {
            queryVectors: vectorsOf(request.queryVectors),
            queryText: request.queryText ?? undefined,
            limit: request.limit,
          },
          prepared,
        );
        return {
          order: places.map(({ index }) => index),
          scores: places.map(({ score }) => score),
        };
      }),
  };
}

/** What the module of a plugin with functions exports as `scalarFunctions`. */
export function functions({ name, version, functions }) {
  const all = Object.entries(functions);
  return {
    describe: () => ({
      name,
      version,
      functions: all.map(([name, declared]) => ({
        name,
        description: declared.description ?? "",
        parameters: Object.entries(declared.takes).map(([name, kind]) => ({ name, kind: kindOf(kind) })),
        returns: kindOf(declared.returns),
        volatility: declared.volatility ?? "immutable",
        // Called row by row, it must not see the value of a null: so the nulls have to cross.
        nulls: "called-with-nulls",
      })),
    }),
    invoke: (place, given, rows) =>
      told(() => {
        const { call, returns, nulls = false } = all[place][1];
        const columns = given.map(({ tag, val }) => {
          const { rows: read, isThere } = values(val);
          return tag === "constant" ? { read: () => read[0], isThere: () => isThere(0) } : { read: (row) => read[row], isThere };
        });
        const row = (at) => {
          if (!nulls && !columns.every((column) => column.isThere(at))) return null;
          return call(...columns.map((column) => (column.isThere(at) ? column.read(at) : null)));
        };
        return columnOf(returns, Array.from({ length: rows }, (_, at) => row(at) ?? null));
      }),
  };
}

function needed(tag, val, kind) {
  return { source: { tag, val }, kind: kindOf(kind) };
}

function kindOf(kind) {
  if (!KINDS.includes(kind)) throw new TypeError(`a column cannot be ${kind}, only ${KINDS.join(", ")}`);
  return kind === "vectors" ? { tag: kind, val: 0 } : { tag: kind };
}

function parameter(kind, fallback, description = "") {
  return { kind, description, default: fallback === undefined ? undefined : { tag: kind, val: fallback } };
}

function texts({ offsets, bytes }) {
  return Array.from({ length: offsets.length - 1 }, (_, row) => utf8(bytes, offsets[row], offsets[row + 1]));
}

function vectorsOf({ dim, values }) {
  return Array.from({ length: dim ? values.length / dim : 0 }, (_, row) => values.slice(row * dim, (row + 1) * dim));
}

/** The rows of a column, and which of them are not null. */
function values({ data, validity }) {
  const isThere = validity ? (row) => validity[row] === 1 : () => true;
  switch (data.tag) {
    case "text":
      return { rows: texts(data.val), isThere };
    case "vectors":
      return { rows: vectorsOf(data.val), isThere };
    case "bools":
      return { rows: Array.from(data.val, (value) => value === 1), isThere };
    case "ipc":
      throw new Unsupported("a column of another Arrow type");
    default:
      return { rows: data.val, isThere };
  }
}

/** A column of the results of a function; null is a null. */
function columnOf(kind, rows) {
  const validity = rows.includes(null) ? Uint8Array.from(rows, (row) => (row === null ? 0 : 1)) : undefined;
  return { data: { tag: kind, val: dataOf(kind, rows) }, validity };
}

function dataOf(kind, rows) {
  switch (kind) {
    case "f32s":
    case "f64s":
    case "s64s":
      return rows.map((row) => row ?? 0);
    case "bools":
      return Uint8Array.from(rows, (row) => (row ? 1 : 0));
    case "text": {
      const offsets = [0];
      const bytes = [];
      for (const row of rows) {
        if (row !== null) pushUtf8(bytes, String(row));
        offsets.push(bytes.length);
      }
      return { offsets, bytes: Uint8Array.from(bytes) };
    }
    default: {
      const dim = rows.find((row) => row !== null)?.length ?? 0;
      const flat = rows.flatMap((row) => {
        if (row !== null && row.length !== dim) throw new RangeError(`vectors of ${dim} and of ${row.length} dimensions`);
        return row ?? new Array(dim).fill(0);
      });
      return { dim, values: flat };
    }
  }
}

/** Runs `work`; what it throws becomes an error of the contract, with the place it was thrown unless it was meant. */
function told(work) {
  try {
    return work();
  } catch (thrown) {
    throw errorOf(thrown);
  }
}

function errorOf(thrown) {
  if (thrown instanceof Refused) return { tag: "invalid-argument", val: thrown.message };
  if (thrown instanceof Unsupported) return { tag: "unsupported", val: thrown.message };
  const place = thrown?.stack?.split("\n")[0]?.trim();
  return { tag: "internal", val: place ? `${thrown} (${place})` : String(thrown) };
}

/** Bytes that become characters in one call. */
const CHUNK = 4096;

/** The text of valid UTF-8. QuickJS has no TextDecoder; what there is instead runs in its own code, not in this module's. */
function utf8(bytes, start, end) {
  let text = "";
  for (let at = start; at < end; at += CHUNK) {
    text += String.fromCharCode.apply(null, bytes.slice(at, Math.min(at + CHUNK, end)));
  }
  return /[\x80-\xff]/.test(text) ? decodeURIComponent(escape(text)) : text;
}

/** Appends a text in UTF-8; half of a surrogate pair becomes the replacement character. */
function pushUtf8(bytes, text) {
  const encoded = /[^\x00-\x7f]/.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text;
  for (let at = 0; at < encoded.length; at++) bytes.push(encoded.charCodeAt(at));
}
