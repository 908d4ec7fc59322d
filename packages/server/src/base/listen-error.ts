import { codeOf, OperatorError, reasonOf } from "./operator-error.ts";

/** The system's code → how to fix it, and whether it may pass: another process ends, or the machine gets the address. */
const mends: Readonly<Record<string, readonly [string, OperatorError["exit"]]>> = {
  EADDRINUSE: ["is in use; stop what listens there or choose another port", "again"],
  EADDRNOTAVAIL: ["is not an address of this machine; choose one of its own", "again"],
  EACCES: ["needs a permission this process lacks; choose a port above 1023", "wrong"],
};

/** Why a listener could not be opened, in words that name the setting and how to fix it. */
export function listenError(setting: string, address: string, error: unknown): OperatorError {
  const other = [`cannot be opened: ${reasonOf(error)}`, "wrong"] as const;
  const [mend, exit] = mends[codeOf(error) ?? ""] ?? other;
  return new OperatorError(`${setting}: ${address} ${mend}`, exit);
}
