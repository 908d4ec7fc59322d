import { codeOf, OperatorError, reasonOf } from "./operator-error.ts";

/** Why a listener could not be opened, in words that name the setting and how to fix it. */
export function listenError(setting: string, address: string, error: unknown): OperatorError {
  const mends: Record<string, string> = {
    EADDRINUSE: "is in use; stop what listens there or choose another port",
    EADDRNOTAVAIL: "is not an address of this machine; choose one of its own",
    EACCES: "needs a permission this process lacks; choose a port above 1023",
  };
  const mend = mends[codeOf(error) ?? ""] ?? `cannot be opened: ${reasonOf(error)}`;
  return new OperatorError(`${setting}: ${address} ${mend}`);
}
