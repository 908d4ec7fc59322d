import { join } from "node:path";

/** The checkout that this file lies in. */
export const checkout = join(import.meta.dirname, "..", "..", "..", "..");
