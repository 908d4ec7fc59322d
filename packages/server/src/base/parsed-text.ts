import type { z } from "zod";

/** A record's field as JSON; undefined if it is missing or does not match the schema. */
export function parsedText<Schema extends z.ZodType>(
  schema: Schema,
  text: string | undefined,
): z.output<Schema> | undefined {
  if (text === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
