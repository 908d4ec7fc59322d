export type { RecordFormats } from "./formats.ts";
export {
  forgetReplica,
  type InitialisedStore,
  initialiseStore,
  type KnownReplica,
  listReplicas,
} from "./initialise.ts";
export { type LockLook, RedisLeaderLock, type RedisLeaderLockOptions } from "./leader-lock.ts";
export type { LeaseState } from "./lease.ts";
export { RedisLocks, type RedisLocksOptions } from "./locks.ts";
export type { RedisConnectionOptions, RedisStoreOptions } from "./options.ts";
export type { StoreMemory } from "./server-info.ts";
export { RedisStore } from "./store.ts";
