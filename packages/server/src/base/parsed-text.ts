import type { z } from "zod";

/** What a record's field says as JSON; undefined where there is none, or where it is not as the schema says. */
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
