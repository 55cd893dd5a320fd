/** The form in which a column crosses; of a row: number, number, number (up to 2^53), boolean, string, number[]. */
export type Kind = "f32s" | "f64s" | "s64s" | "bools" | "text" | "vectors";

/** A column that a reranker needs. */
export interface NeededColumn {
  readonly source: { tag: string; val: string };
  readonly kind: { tag: Kind; val?: number };
}

/** A column of this name. */
export function column(name: string, kind: Kind): NeededColumn;
/** The column whose name is the value of this text parameter; an empty value: no column. */
export function columnNamedBy(parameter: string, kind: Kind): NeededColumn;
/** The columns whose names are the value of this text parameter, separated by commas. */
export function columnsListedIn(parameter: string, kind: Kind): NeededColumn;

/** A parameter of a reranker. */
export interface Parameter {
  readonly kind: "number" | "integer" | "text" | "boolean";
  readonly description: string;
}

/** Parameters with a default, or with `undefined` for one that must be given. */
export function number(fallback: number | undefined, description?: string): Parameter;
export function integer(fallback: number | undefined, description?: string): Parameter;
export function text(fallback: string | undefined, description?: string): Parameter;
export function boolean(fallback: boolean | undefined, description?: string): Parameter;

/** A parameter or an argument has a value that the plugin does not take. The text reaches the user. */
export class Refused extends Error {}
/** Something that the plugin does not do. The text reaches the user. */
export class Unsupported extends Error {}

/** A column with its rows; that of a null row means nothing. */
export interface Column {
  readonly name: string;
  readonly rows: any[];
  isThere(row: number): boolean;
}

/** What was found, best first: everything has one entry per candidate. */
export interface Candidates {
  readonly length: number;
  readonly keys: number[] | string[];
  /** Smaller is better, whatever the metric. */
  readonly distances: number[];
  /** In the order of the description, those of a list in the order of the list. */
  readonly columns: Column[];
  /** The searched vectors, if the reranker asks for them. */
  readonly vectors?: number[][];
}

/** What is searched. */
export interface Request {
  readonly queryVectors: number[][];
  readonly queryText?: string;
  /** How many candidates the caller will use; an order may be shorter than the candidates, but not than this. */
  readonly limit: number;
}

/** A candidate by its index, and a finite score: larger is better. */
export interface Place {
  index: number;
  score: number;
}

export interface RerankerPlugin<Prepared> {
  /** Lower-case letters, digits, `-` and `_`. */
  name: string;
  /** Three numbers with dots. */
  version: string;
  description?: string;
  columns?: NeededColumn[];
  parameters?: Record<string, Parameter>;
  /** Whether it needs the vectors of the candidates. */
  vectors?: boolean;
  /** Whether it needs the text of the query. */
  queryText?: boolean;
  /** The most candidates of one call. */
  maxCandidates?: number;
  /** Called when the parameters change; what it returns is handed to `rerank`. Without it, the parameters are. */
  prepare?(parameters: Record<string, number | string | boolean>): Prepared;
  /** Places, best first. */
  rerank(candidates: Candidates, request: Request, prepared: Prepared): Place[];
}

/** What the module of a reranker exports as `reranking`. */
export function reranker<Prepared>(plugin: RerankerPlugin<Prepared>): object;

export interface ScalarFunction {
  description?: string;
  takes: Record<string, Kind>;
  returns: Kind;
  volatility?: "immutable" | "stable" | "volatile";
  /** Whether it is called with nulls; otherwise a row with one is null without a call. */
  nulls?: boolean;
  /** Called once per row; null is a null. */
  call(...values: any[]): unknown;
}

/** What the module of a plugin with functions exports as `scalarFunctions`. */
export function functions(plugin: {
  name: string;
  version: string;
  functions: Record<string, ScalarFunction>;
}): object;

/** Larger is better: 1 / (1 + distance), and 1 - distance for the negative distances of cosines, inner products and scores. */
export function relevance(distance: number): number;
/** All candidates by their scores, the largest first; of equal ones the earlier first. */
export function byScore(scores: ArrayLike<number>): Place[];
