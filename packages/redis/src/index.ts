export type {
  CommandLine,
  Connection as StoreConnection,
  Connections as StoreConnections,
  Outcome,
} from "./connection/connection.ts";
export { storeFailure } from "./connection/failure.ts";
export type {
  MemoryFile,
  MemoryOptions,
  RedisConnectionOptions,
  RedisStoreOptions,
} from "./connection/options.ts";
export { loadScripts, type Script, type ScriptName } from "./connection/scripts.ts";
export { readServerInfo, type ServerInfo, type StoreUsage } from "./connection/server-info.ts";
export type { ShownCertificate } from "./connection/shown-certificate.ts";
export { nodeTimers, type StoreTimers } from "./connection/timers.ts";
export {
  forgetReplica,
  type InitialisedStore,
  initialiseStore,
  type KnownReplica,
  listReplicas,
} from "./initialise.ts";
export {
  type LockLook,
  RedisLeaderLock,
  type RedisLeaderLockOptions,
} from "./locks/leader-lock.ts";
export { RedisLocks, type RedisLocksOptions } from "./locks/locks.ts";
export { DiskMemoryFile } from "./memory/memory-file.ts";
export type { MemorySurvey } from "./memory/older.ts";
export type { RotationProgress, StorageKeyState } from "./records/key-rotation.ts";
export type { SeenStorageKeys, StorageKeyWrap } from "./records/key-wraps.ts";
export type { RecordFormats } from "./session/formats.ts";
export type { LeaseState } from "./session/lease.ts";
export { openRedisStore, openRedisTrail, type RedisStore, type RedisTrail } from "./store.ts";
