export type { Client } from "./access.ts";
export { allAttributes } from "./attribute-view.ts";
export {
  type ChainPoint,
  chainGap,
  chainHash,
  chainStart,
  checkpointEvery,
} from "./audit-chain.ts";
export { type AuditEntryContent, auditTimeOf, decodeAudit, encodeAudit } from "./audit-codec.ts";
export {
  type AuditEntry,
  type AuditLog,
  type AuditRange,
  type AuditStanding,
  auditEntriesMax,
  type SinkPoint,
} from "./audit-log.ts";
export { ClockCheck, type ClockOffset, type ClockReading } from "./clock-check.ts";
export type { EngineSettings } from "./context.ts";
export { creatorOf, creatorTerm } from "./creator.ts";
export { differingMask, digestsOf, firstByteOf, inMask } from "./digest.ts";
export {
  type Claims,
  claimsField,
  type Document,
  documentRecord,
  readDocument,
  withDestroyed,
  withFields,
} from "./document.ts";
export type { StoreFailure } from "./errors.ts";
export {
  KeyRingUnavailable,
  RootOfTrustError,
  refuseUnknown,
  SealBroken,
  StoreUnavailable,
  supersededMessage,
} from "./errors.ts";
export { defaultSettings, Engine, type EngineOptions } from "./execute.ts";
export type { FindCursor, FindPage, FindQuery } from "./find.ts";
export { opens } from "./healing.ts";
export { type IndexTerm, indexTerms, nameOfTerm, termFor } from "./index-terms.ts";
export { instanceTakes } from "./instance-takes.ts";
export { InstanceKeyRing, type KeyRingOptions } from "./key-ring.ts";
export type { KeyRingStatus } from "./key-ring-status.ts";
export type { Rewrapped } from "./key-ring-wraps.ts";
export {
  compromiseReasons,
  type DatedNow,
  due,
  dueSurely,
  hasPassed,
  type LifecycleEvent,
  type PlannedDates,
  requireState,
  revokeEvent,
  type State,
  stateOf,
  stateValues,
  type Transition,
  transition,
} from "./lifecycle.ts";
export { MemoryInstanceStore } from "./memory/memory-instance-store.ts";
export { MemoryKekStore } from "./memory/memory-kek-store.ts";
export { MemoryLocks } from "./memory/memory-locks.ts";
export { MemoryOwnStore, type MemoryOwnStoreOptions } from "./memory/memory-own-store.ts";
export { MemoryRootOfTrust } from "./memory/memory-root-of-trust.ts";
export { sealDigests, withoutSealedDigest, withSealedParts } from "./object-digest.ts";
export { ObjectInstances } from "./object-instances.ts";
export { ObjectKekStore, type SystemWriter } from "./object-kek-store.ts";
export type { Event, Observer } from "./observe.ts";
export type {
  ChangePage,
  GivenRecord,
  Leaf,
  LeafPage,
  Levels,
  OwnCommitOptions,
  OwnFindPage,
  OwnStore,
  OwnStoredObject,
  PeerCursor,
  RecordsAnswer,
  Recount,
  Reservation,
  ReserveOutcome,
  StateCounts,
  StorePosition,
  StoreState,
} from "./own-store.ts";
export { partitionCount, partitionOf, sysPartition, systemInstance } from "./partition.ts";
export type {
  AuditEvent,
  Change,
  Clock,
  ClockDoubt,
  CommitOptions,
  CommitOutcome,
  Ids,
  InstanceStatus,
  InstanceStatuses,
  InstanceStore,
  KekStore,
  KekWrap,
  KeyRing,
  Locks,
  ObjectStore,
  RootDescription,
  RootKey,
  RootOfTrust,
  RootOfTrustFailure,
  RootUnwrap,
  RootWrap,
  SealBinding,
  SealedMaterial,
  StoredObject,
  WrappedKek,
} from "./ports.ts";
export { instanceStatuses } from "./ports.ts";
export type { Fact, Facts, ManagedObject, Register, Revocation, Stamp, Tag } from "./record.ts";
export { decodeRecord, encodeRecord, identifierIn, recordFormat, tagOf } from "./record-codec.ts";
export { recordTags } from "./record-tags.ts";
export { compareRegisters } from "./register-codec.ts";
export {
  type AttributeName,
  addValue,
  type CurrentValue,
  currentValues,
  deleteValue,
  deleteValues,
  modifyValue,
  type Now,
  type OriginNow,
  plannedDates,
  registersMax,
  setValue,
  stampAfter,
  valueAt,
  Writer,
  type Written,
} from "./registers.ts";
export { kekData } from "./seal.ts";
export { countStates, stateCounts } from "./state-counts.ts";
export {
  type InstanceEntry,
  instanceRecord,
  type KekEntry,
  kekRecord,
  type RegionEntry,
  readInstanceRecord,
  readKekRecord,
  readRegionRecord,
  regionRecord,
  systemIdentifier,
  systemTypes,
  withInstanceName,
  withKekWrap,
  withoutKekWraps,
  withRegion,
} from "./system-record.ts";
export { TurnQueue } from "./turn-queue.ts";
export { hashUuid, uuidText, writeUuid } from "./uuid.ts";
export { vendorItem, vendorKey, vendorOf, vendorTags } from "./vendor-attribute.ts";
