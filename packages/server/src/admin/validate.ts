import { faultsOf, type Route } from "@holdfast/admin";
import { z } from "zod";
import { Identifiers } from "../management/keys/identifiers.ts";
import { Refused } from "./problem.ts";

/** What a request asks for, without its caller. */
export interface Given {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** The schemas of a route, made once; fields of a request that they do not name are refused. */
export interface Schemas {
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType;
  readonly answer: z.ZodType;
  /** One of the answer's `items`, if it is a list. */
  readonly item: z.ZodType | undefined;
}

const faultsMax = 10;
const nothing = z.strictObject({});
/** A route that takes no body also accepts an empty one. */
const noBody = z.union([
  z.undefined(),
  z.null().transform(() => undefined),
  nothing.transform(() => undefined),
]);

const readBody = z.object({ inUse: z.instanceof(Identifiers) });

/** A route's schemas. */
export function schemasOf({ params, query, body, bodyMax, answer }: Route): Schemas {
  return {
    params: params?.strict() ?? nothing,
    query: query?.strict() ?? nothing,
    // A large body was validated while it was read.
    body: bodyMax === undefined ? (body ?? noBody) : readBody,
    answer,
    item: itemOf(answer),
  };
}

function itemOf(answer: z.ZodType): z.ZodType | undefined {
  const items: unknown = answer instanceof z.ZodObject ? answer.shape["items"] : undefined;
  return items instanceof z.ZodArray ? (items.element as z.ZodType) : undefined;
}

/** The request as its handler gets it; throws a `Refused` that names the faults, but no values. */
export function validated(schemas: Schemas, given: Given) {
  const faults: { readonly at: string; readonly says: string }[] = [];
  const part = (name: "params" | "query" | "body"): unknown => {
    const parsed = schemas[name].safeParse(given[name]);
    if (parsed.success) return parsed.data;
    for (const { path, says } of faultsOf(parsed.error.issues)) {
      faults.push({ at: placeOf([name, ...path]), says });
    }
    return undefined;
  };
  const call = { params: part("params"), query: part("query"), body: part("body") };
  const [first] = faults;
  if (first === undefined) return call;
  throw new Refused({
    code: "invalid",
    detail: `${first.at} ${first.says}`,
    extra: { errors: faults.slice(0, faultsMax) },
  });
}

/** Where in the request, such as `body.regions.a.rootKey`; names that a caller chose are cut short. */
export function placeOf(path: readonly PropertyKey[]): string {
  const step = (name: PropertyKey, at: number): string => {
    if (typeof name === "number") return `[${name}]`;
    return at === 0 ? String(name) : `.${String(name).slice(0, 64)}`;
  };
  return path.map(step).join("").slice(0, 256);
}
