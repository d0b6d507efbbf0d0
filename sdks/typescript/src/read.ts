// How an answer's JSON becomes values: each is checked, so that what a type says is so.

/** Reads a value; `path` says where in the answer it is. */
export type Reader<T> = (value: unknown, path: string) => T;

/** The answer is not what the API's description says. Says where, never what is there. */
export class Mismatch extends Error {
  constructor(path: string, wanted: string) {
    super(`${path === "" ? "it" : `\`${path}\``} is not ${wanted}`);
  }
}

export function text(value: unknown, path: string): string {
  if (typeof value !== "string") throw new Mismatch(path, "text");
  return value;
}

export function number(value: unknown, path: string): number {
  if (typeof value !== "number") throw new Mismatch(path, "a number");
  return value;
}

export function flag(value: unknown, path: string): boolean {
  if (typeof value !== "boolean") throw new Mismatch(path, "true or false");
  return value;
}

/** An object that is handed on as it came. */
export function verbatim<T extends object>(value: unknown, path: string): T {
  return object(value, path) as T;
}

export function nothing(): void {}

export function list<T>(item: Reader<T>): Reader<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw new Mismatch(path, "a list");
    return value.map((one, index) => item(one, `${path}[${index}]`));
  };
}

export function map<T>(item: Reader<T>): Reader<Record<string, T>> {
  return (value, path) =>
    // `fromEntries` defines: a key `__proto__` is a key like any other.
    Object.fromEntries(Object.entries(object(value, path)).map(([key, one]) => [key, item(one, `${path}.${key}`)]));
}

/** What is not there, or `null`, is `null`. */
export function orNull<T>(reader: Reader<T>): Reader<T | null> {
  return (value, path) => (value === undefined || value === null ? null : reader(value, path));
}

export function listOrEmpty<T>(item: Reader<T>): Reader<T[]> {
  return (value, path) => list(item)(value ?? [], path);
}

export function mapOrEmpty<T>(item: Reader<T>): Reader<Record<string, T>> {
  return (value, path) => map(item)(value ?? {}, path);
}

/** Reads fields of an object. */
export function fields(value: unknown, path: string): <T>(name: string, reader: Reader<T>) => T {
  const found = object(value, path);
  return (name, reader) => reader(found[name], path === "" ? name : `${path}.${name}`);
}

/** One field of an object, for answers that wrap what is asked for. */
export function at<T>(name: string, reader: Reader<T>): Reader<T> {
  return (value, path) => fields(value, path)(name, reader);
}

const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const DENO_INSPECT = Symbol.for("Deno.customInspect");

/** Keeps these properties out of what `console.log` shows; to `JSON.stringify` and to programs they are as any other. */
export function hide<T extends object>(value: T, ...names: (keyof T & string)[]): T {
  const shown = () => Object.fromEntries(Object.entries(value).map(([name, one]) => [name, one !== null && names.includes(name as never) ? "[hidden]" : one]));
  Object.defineProperty(value, INSPECT, { value: shown });
  Object.defineProperty(value, DENO_INSPECT, { value: (inspect: (of: unknown, how: unknown) => string, how: unknown) => inspect(shown(), how) });
  return value;
}

function object(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Mismatch(path, "an object");
  return value as Record<string, unknown>;
}
