// Describes outside input as data, checks it, and gives its TypeScript type. One description serves frames, HTTP bodies
// and the API document. Why not a library: docs/decisions/0004-input-checks.md.
import { MAX_HEADERS_BYTES } from "./limits.ts";

/** What a value must be. Objects may hold further fields, which are ignored. */
export type Spec =
  | {
      readonly type: "integer";
      readonly minimum: number;
      readonly maximum: number;
      readonly nullable?: true;
      /** True and false will do as well. */
      readonly boolean?: true;
    }
  | { readonly type: "number"; readonly minimum: number; readonly maximum: number }
  | {
      readonly type: "string";
      readonly minLength?: number;
      readonly maxLength: number;
      readonly nullable?: true;
    }
  | { readonly type: "boolean" }
  | { readonly type: "any" }
  | { readonly type: "enum"; readonly values: readonly string[] }
  | { readonly type: "texts" }
  | { readonly type: "array"; readonly items: Spec; readonly maxItems: number }
  | ObjectSpec;

/** An object with known fields. */
export interface ObjectSpec {
  readonly type: "object";
  readonly fields: Readonly<Record<string, Spec>>;
  readonly required: readonly string[];
}

/** The type of a value that passed `check`. */
export type Infer<S extends Spec> = S extends { type: "integer" | "number"; nullable: true }
  ? number | null
  : S extends { type: "integer"; boolean: true }
    ? number | boolean
    : S extends { type: "integer" | "number" }
      ? number
      : S extends { type: "string"; nullable: true }
        ? string | null
        : S extends { type: "string" }
          ? string
          : S extends { type: "boolean" }
            ? boolean
            : S extends { type: "enum"; values: readonly (infer V)[] }
              ? V
              : S extends { type: "texts" }
                ? Record<string, string>
                : S extends { type: "array"; items: infer I extends Spec }
                  ? Infer<I>[]
                  : S extends { type: "object"; fields: infer F; required: readonly (infer R)[] }
                    ? { [K in Extract<keyof F, R>]: F[K] extends Spec ? Infer<F[K]> : never } & {
                        [K in Exclude<keyof F, R>]?: F[K] extends Spec ? Infer<F[K]> : never;
                      }
                    : unknown;

/** Describes an object with literal types kept. */
export function object<const F extends Record<string, Spec>, const R extends readonly (keyof F & string)[]>(
  fields: F,
  required: R,
): { readonly type: "object"; readonly fields: F; readonly required: R } {
  return { type: "object", fields, required };
}

/**
 * Checks a value against its description.
 *
 * @returns what is wrong, with the value and the limit, or undefined
 * @example check({ type: "integer", minimum: 1, maximum: 9 }, 12, "priority") // "priority must be an integer from 1 to 9, got 12"
 */
export function check(spec: Spec, value: unknown, path: string): string | undefined {
  switch (spec.type) {
    case "any":
      return undefined;
    case "integer":
      if (spec.nullable && value === null) return undefined;
      if (spec.boolean && typeof value === "boolean") return undefined;
      if (Number.isInteger(value) && within(spec, value as number)) return undefined;
      return `${path} must be ${spec.boolean ? "true, false or " : ""}an integer from ${spec.minimum} to ${spec.maximum}, got ${shown(value)}`;
    case "number":
      if (typeof value === "number" && within(spec, value)) return undefined;
      return `${path} must be a number from ${spec.minimum} to ${spec.maximum}, got ${shown(value)}`;
    case "string":
      if (spec.nullable && value === null) return undefined;
      return checkString(spec, value, path);
    case "boolean":
      return typeof value === "boolean" ? undefined : `${path} must be true or false, got ${shown(value)}`;
    case "enum":
      if (spec.values.includes(value as string)) return undefined;
      return `${path} must be one of ${spec.values.join(", ")}, got ${shown(value)}`;
    case "texts":
      return checkTexts(value, path);
    case "array":
      return checkArray(spec, value, path);
    case "object":
      return checkObject(spec, value, path);
  }
}

/** Checks the fields of an object: the required ones are there, and every known one fits. */
export function checkObject(spec: ObjectSpec, value: unknown, path: string): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return `${path || "it"} must be an object, got ${shown(value)}`;
  }
  const record = value as Record<string, unknown>;
  for (const name of spec.required) {
    if (record[name] === undefined) return `${join(path, name)} is required`;
  }
  // The known fields are few and the object's own usually fewer: unknown ones are passed over.
  for (const name in record) {
    const field = Object.hasOwn(spec.fields, name) ? spec.fields[name] : undefined;
    if (field === undefined || record[name] === undefined) continue;
    const wrong = check(field, record[name], join(path, name));
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function checkString(
  spec: { minLength?: number; maxLength: number },
  value: unknown,
  path: string,
): string | undefined {
  if (typeof value !== "string") return `${path} must be a string, got ${shown(value)}`;
  const { minLength = 0, maxLength } = spec;
  if (value.length < minLength || value.length > maxLength) {
    return `${path} must have ${minLength} to ${maxLength} characters, got ${value.length}`;
  }
  // A lone surrogate has no UTF-8: it would come out as another string than went in.
  return value.isWellFormed() ? undefined : `${path} must be well-formed Unicode`;
}

function checkTexts(value: unknown, path: string): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return `${path} must be an object of strings, got ${shown(value)}`;
  }
  let size = 0;
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== "string") return `${join(path, name)} must be a string, got ${shown(text)}`;
    size += name.length + text.length + 6;
  }
  return size <= MAX_HEADERS_BYTES
    ? undefined
    : `${path} must have at most ${MAX_HEADERS_BYTES} bytes, got ${size}`;
}

function checkArray(
  spec: { items: Spec; maxItems: number },
  value: unknown,
  path: string,
): string | undefined {
  if (!Array.isArray(value)) return `${path} must be an array, got ${shown(value)}`;
  if (value.length > spec.maxItems)
    return `${path} must have at most ${spec.maxItems} items, got ${value.length}`;
  for (let i = 0; i < value.length; i++) {
    const wrong = check(spec.items, value[i], `${path}[${i}]`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function within(spec: { minimum: number; maximum: number }, value: number): boolean {
  return value >= spec.minimum && value <= spec.maximum;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function shown(value: unknown): string {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
