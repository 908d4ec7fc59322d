import { SealBroken, type StoreFailure, StoreUnavailable } from "@holdfast/engine";
import { type Address, printAddress } from "../base/address.ts";
import { OperatorError, reasonOf } from "../base/operator-error.ts";

/** Failures that may pass soon, without a change of the configuration. */
const passing: ReadonlySet<StoreFailure> = new Set([
  "noLease",
  "keyClosed",
  "timeout",
  "barrierShort",
  "full",
  "formatNotAgreed",
  "clockDoubt",
  "peerUnreachable",
  "noAgreement",
  "reserved",
  "deposed",
  "superseded",
]);

/** Redis may be down, lack the lease only for a moment, or be another one than the settings mean. */
const unreached = "if this lasts, see that it runs, and that the settings under `store` fit it";

/** Where a store is: one address, or Sentinels. */
interface StorePlace {
  readonly address: Address | undefined;
  readonly sentinels: readonly Address[];
}

/**
 * A fault of the store that ends a node's start, as `storeFault` says it. An operator can repair the store without a
 * change of the configuration, so the node should be started again.
 */
export function startFault(error: unknown, store: StorePlace, configFile: string): OperatorError {
  const fault = storeFault(error, store, configFile);
  const mendable = error instanceof StoreUnavailable && !isForeign(error);
  return mendable ? new OperatorError(fault.message, "again") : fault;
}

/** Whether the configured root key is not the one that wrapped the store's key. */
function isForeign({ cause }: StoreUnavailable): boolean {
  return cause instanceof SealBroken;
}

/** A fault of the store, in words that name the setting and the remedy. */
export function storeFault(error: unknown, store: StorePlace, configFile: string): OperatorError {
  const setting = store.address === undefined ? "store.sentinels" : "store.address";
  const where = (store.address === undefined ? store.sentinels : [store.address])
    .map(printAddress)
    .join(", ");
  if (error instanceof OperatorError) return error;
  const reason = reasonOf(error);
  if (!(error instanceof StoreUnavailable))
    return new OperatorError(`${setting}: ${where}: ${reason}`);
  const mends = {
    notInitialised: `only if the store is new, run \`holdfast store init --config ${configFile}\``,
    unsafe: "correct that, then start again",
    keyClosed: "start the key manager, or correct its access",
    noLease: unreached,
    timeout: unreached,
    barrierShort: "start its replicas, or see `holdfast store replicas`",
    full: "give it more memory (maxmemory)",
    corrupt: "restore it from its replica or a backup",
    unknownFormat: "upgrade this node",
    formatNotAgreed: "upgrade every node of both regions",
    badReply: "look at the log of Redis, and restore its data from a replica or a backup",
    clockDoubt: "set the clocks of all nodes and of Redis by NTP",
    doubted: `find out why its data are old, or run \`holdfast store accept --config ${configFile}\``,
    peerUnreachable: "start a node of the other region, or correct the address under `peer`",
    noAgreement: "start a node of the other region, or correct the address under `peer`",
    reserved: "wait until the leaders have resolved it",
    deposed: "try again",
    superseded: "try again",
    retired: `run \`holdfast region rejoin --config ${configFile}\``,
  } as const;
  if (isForeign(error)) return new OperatorError(`rootOfTrust: ${reason}`);
  const exit = passing.has(error.failure) ? "again" : "wrong";
  const place = error.failure === "keyClosed" ? "rootOfTrust" : `${setting}: ${where}`;
  return new OperatorError(`${place}: ${reason}; ${mends[error.failure]}`, exit);
}
