import { join } from "node:path";

/** The checkout that this file is in. */
export const checkout = join(import.meta.dirname, "..", "..", "..", "..");
