import { identifiersIn as read } from "@holdfast/admin/identifiers";
import { Failure } from "../terminal/failure.ts";

/** The identifiers in a file; a file that is not such a list causes a `Failure` that names the option. */
export function identifiersIn(bytes: Uint8Array, option: string): string[] {
  try {
    return read(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw new Failure(`${option}: ${error.message}`);
    throw error;
  }
}
