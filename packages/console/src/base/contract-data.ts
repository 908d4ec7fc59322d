import { contract, type Route } from "@holdfast/admin";
import { z } from "zod";

/** The contract without its validation: what the console needs to know of each operation, by name. For the build. */
export function operationsOf(): Readonly<Record<string, unknown>> {
  const schemaOf = (schema: z.ZodType | undefined) =>
    schema && z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  const rows = Object.entries(contract).map(([name, one]) => {
    const { params, query, body, answer: _, problems: __, guarded, ...route }: Route = one;
    const path = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, param]) => param);
    const row = {
      ...route,
      name,
      params: path,
      query: schemaOf(query),
      body: schemaOf(body),
      guarded: guarded?.action,
    };
    return [name, row] as const;
  });
  return Object.fromEntries(rows);
}
