export { allAttributes } from "./attributes/attribute-view.ts";
export {
  type ChainPoint,
  chainGap,
  chainHash,
  chainStart,
  checkpointEvery,
} from "./audit/audit-chain.ts";
export {
  type AuditEntryContent,
  auditTimeOf,
  decodeAudit,
  encodeAudit,
} from "./audit/audit-codec.ts";
export { type AuditEvent, fromRegion } from "./audit/audit-event.ts";
export {
  type AuditEntry,
  type AuditLog,
  type AuditRange,
  type AuditStanding,
  auditEntriesMax,
  type SinkPoint,
} from "./audit/audit-log.ts";
export {
  type AuditHead,
  type AuditHeads,
  type AuditLeaf,
  eventLeaf,
  headsHash,
  headsLeaf,
  readHeads,
  readLeaves,
  writeHeads,
  writeLeaves,
} from "./audit/transparency/audit-leaves.ts";
export {
  type AuditTreeStore,
  readRange,
  readSigned,
  type SignedHeads,
  sizeOfHeads,
  type TreeWrite,
  treeOfHeads,
  treeTexts,
  type WitnessedHeads,
  writeRange,
  writeSigned,
} from "./audit/transparency/audit-tree.ts";
export {
  leafHash,
  MerkleNodes,
  MerkleRange,
  rootFromInclusion,
} from "./audit/transparency/merkle-tree.ts";
export {
  type Checkpoint,
  isNoteName,
  isSignedBy,
  type NoteKey,
  rawPublicKey,
  readCheckpointNote,
  readNoteKey,
  signCheckpoint,
  signedAt,
  splitLines,
  writeNoteKey,
} from "./audit/transparency/signed-note.ts";
export type { Clock, ClockDoubt, Moment, Timers } from "./base/clock.ts";
export { ClockCheck, type ClockOffset, type ClockReading } from "./base/clock-check.ts";
export {
  isCorrupt,
  KeyRingUnavailable,
  RootOfTrustError,
  refuseUnknown,
  SealBroken,
  type StoreFailure,
  StoreUnavailable,
  supersededMessage,
  UnknownKek,
} from "./base/errors.ts";
export type { Ids } from "./base/ids.ts";
export { type InstanceStatus, instanceStatuses } from "./base/instance-status.ts";
export {
  type Event,
  type JoinResult,
  type KekGiving,
  kekGivings,
  type Observer,
  type PeerRefusal,
  peerRefusals,
} from "./base/observe.ts";
export { allowedOperations, commonLimit } from "./base/operation-sets.ts";
export { hashUuid, uuidText, writeUuid } from "./base/uuid.ts";
export type { Client } from "./batch/access.ts";
export { defaultSettings, Engine, type EngineOptions } from "./batch/execute.ts";
export type { Locks } from "./concurrency/locks.ts";
export { MemoryLocks } from "./concurrency/memory-locks.ts";
export { Semaphore } from "./concurrency/semaphore.ts";
export { singleFlight } from "./concurrency/single-flight.ts";
export { TimedOut, withTimeout } from "./concurrency/timeout.ts";
export { InstanceKeyRing, type KeyRingOptions } from "./key-ring/key-ring.ts";
export { newestFirst, sealingKek, withheldKek } from "./key-ring/key-ring-kek.ts";
export type { KeyRingStatus } from "./key-ring/key-ring-status.ts";
export type { Rewrapped, WrapProof } from "./key-ring/key-ring-wraps.ts";
export { ObjectInstances } from "./key-ring/object-instances.ts";
export { ObjectKekStore, type SystemWriter } from "./key-ring/object-kek-store.ts";
export { kekData } from "./key-ring/seal.ts";
export type { SealCounts } from "./key-ring/seal-counts.ts";
export { opens } from "./material/healing.ts";
export {
  type ForeignObject,
  holdsSame,
  type ImportAt,
  type ImportedObject,
  importedObject,
  sealImported,
  shownDigest,
} from "./material/imported-object.ts";
export { sealDigests, withoutSealedDigest, withSealedParts } from "./material/object-digest.ts";
export {
  areUnderOtherKeks,
  isMisplaced,
  isSameSeal,
  kekIdsOf,
  type Releaser,
  type Resealer,
  released,
  resealed,
  type SealTargets,
  sealsBy,
} from "./material/reseal.ts";
export { differingMask, digestsOf, firstByteOf, inMask } from "./ports/digest.ts";
export { instanceTakes } from "./ports/instance-takes.ts";
export type { InstanceStatuses, InstanceStore } from "./ports/instances.ts";
export type {
  KekStore,
  KeyRing,
  RootDescription,
  RootKey,
  RootLimits,
  RootOfTrust,
  RootOfTrustFailure,
  RootUnwrap,
  RootWrap,
} from "./ports/keys.ts";
export type {
  Change,
  CommitOptions,
  CommitOutcome,
  FindCursor,
  FindPage,
  FindQuery,
  ObjectStore,
  StoredObject,
} from "./ports/objects.ts";
export type { EngineSettings } from "./ports/operation-context.ts";
export type {
  ChangePage,
  GivenRecord,
  InstanceCounts,
  LeaderStore,
  Leaf,
  LeafPage,
  Levels,
  OwnCommitOptions,
  OwnFindPage,
  OwnFindQuery,
  OwnStore,
  OwnStoredObject,
  PeerCursor,
  QuarantineStore,
  RecordsAnswer,
  Recount,
  ReplicationSource,
  Reservation,
  ReservationStore,
  ReserveOutcome,
  StateCountStore,
  StateCounts,
  StorePosition,
  StoreState,
} from "./ports/own-store.ts";
export {
  CountsByInstance,
  countedOf,
  countObjects,
  initialMonth,
  monthOf,
  stateCounts,
} from "./ports/state-counts.ts";
export { TooManyUpdates, updateRecord } from "./ports/update-record.ts";
export { creatorOf, creatorTerm } from "./record/creator.ts";
export {
  compromiseReasons,
  type DatedNow,
  delayedAnew,
  destroyedFinally,
  due,
  dueSurely,
  hasPassed,
  isDestroyed,
  type LifecycleEvent,
  type PlannedDates,
  pendingDestruction,
  requireState,
  restored,
  revokeEvent,
  type State,
  stateOf,
  stateValues,
  type Transition,
  transition,
} from "./record/lifecycle.ts";
export {
  type Destruction,
  deletionRegion,
  type Fact,
  type Facts,
  type ManagedObject,
  type Register,
  type Revocation,
  type Stamp,
  type Tag,
} from "./record/record.ts";
export {
  areKnownAlike,
  decodeRecord,
  encodeRecord,
  identifierIn,
  recordDigest,
  recordFormat,
  recordTag,
  regionsOfFacts,
  tagOf,
  tagOfDigest,
} from "./record/record-codec.ts";
export { recordBytesMax } from "./record/record-size.ts";
export { recordTags } from "./record/record-tags.ts";
export { compareRegisters } from "./record/register-codec.ts";
export {
  addValue,
  type CurrentValue,
  currentValues,
  deleteValue,
  deleteValues,
  isSameItem,
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
} from "./record/registers.ts";
export type { SealBinding, SealedMaterial } from "./record/sealed.ts";
export { vendorItem, vendorKey, vendorOf, vendorTags } from "./record/vendor-attribute.ts";
export {
  type IndexTerm,
  indexTerms,
  nameOfTerm,
  restorableTerm,
  termFor,
} from "./system/index-terms.ts";
export {
  type ApprovalSignature,
  type ApprovalUse,
  type BackupOrder,
  type BackupRun,
  type BackupWork,
  type CrkState,
  type KeysOrder,
  type KindName,
  type RegionState,
  type RekeyState,
  type Removal,
  recordKinds,
} from "./system/kinds.ts";
export {
  isSurplus,
  partitionCount,
  partitionOf,
  partitionOfTrail,
  sysPartition,
  systemInstance,
  trailCount,
  trailsOf,
} from "./system/partition.ts";
export {
  changeRecord,
  type FieldChanges,
  isMarked,
  kindOf,
  makeRecord,
  markedIdentifier,
  type NewRecord,
  readAnyRecord,
  readRecord,
  type SystemRecord,
  systemIdentifier,
  withDestroyed,
} from "./system/system-record.ts";
export {
  everWrapped,
  hasErasedWraps,
  isWithheldKek,
  type KekEntry,
  type KekWrap,
  kekRecord,
  kekRegistersOf,
  kekWrittenMs,
  readKekRecord,
  type WrappedKek,
  withKekWrap,
  withoutKekWraps,
  wrappedKek,
} from "./system/wrapped-kek.ts";
