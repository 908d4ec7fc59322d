export { firstSight } from "./join/first-sight.ts";
export {
  type Ahead,
  clockAhead,
  type JoinOutcome,
  join,
  joinAll,
  joinKeepingSeals,
} from "./join/join.ts";
export { type Instead, type MayJoin, type OwnBefore, provenChanges } from "./join/may-join.ts";
export { type Merged, type MergeOptions, mergeInto } from "./join/merge.ts";
export { AdoptKeks, type AdoptKeksOptions, type KekAdopter } from "./leader/adopt-keks.ts";
export { AgreeFormat, type AgreeFormatOptions, type FormatRecords } from "./leader/agree-format.ts";
export { AuditChain, type AuditChainOptions } from "./leader/audit/audit-chain.ts";
export { chainPoint, sameHash } from "./leader/audit/audit-points.ts";
export { AuditRetention, type AuditRetentionOptions } from "./leader/audit/audit-retention.ts";
export {
  AuditShip,
  type AuditShipOptions,
  type AuditSink,
  type ChainedEntry,
} from "./leader/audit/audit-ship.ts";
export { type AuditSigner, AuditTree } from "./leader/audit/audit-tree.ts";
export {
  AuditWitness,
  type Witness,
  type WitnessAnswer,
  type WitnessRequest,
} from "./leader/audit/audit-witness.ts";
export { keptLeaves } from "./leader/audit/kept-leaves.ts";
export { OwnFeed } from "./leader/catch-up/own-feed.ts";
export { PeerReader, type PeerReaderOptions } from "./leader/catch-up/reader.ts";
export { catchUp, digestCheck, Resync } from "./leader/catch-up/resync.ts";
export { DueDates, type DueDatesOptions, nextDate } from "./leader/due-dates.ts";
export { DuplicateNames, type DuplicateNamesOptions } from "./leader/duplicate-names.ts";
export type { Duty, DutyContext, DutyResult, LeaderLock } from "./leader/duty.ts";
export { Leader, type LeaderOptions } from "./leader/leader.ts";
export {
  actingEpoch,
  type LeaderEvent,
  type LeaderLease,
  type LeaderRules,
  leaderRules,
  leaseStep,
  noLeadership,
  remainingMs,
} from "./leader/lease.ts";
export { type Rekeying, Reseal, type ResealOptions, type ResealProgress } from "./leader/reseal.ts";
export { type ResolveOptions, ResolveReservations } from "./leader/resolve-reservations.ts";
export {
  entryOf,
  isRetiredIn,
  RegionRefused,
  type RegionTools,
  type RetireConfirmed,
  requireRetirable,
  retireRegion,
} from "./operations/region-operations.ts";
export {
  type RejoinOptions,
  type RejoinProgress,
  type RejoinResult,
  rejoinAlone,
  rejoinRegion,
  type TakenRecords,
} from "./operations/rejoin.ts";
export type { ProvenNode } from "./peer/client/channel.ts";
export type { PeerClientTimes } from "./peer/client/client-times.ts";
export {
  type LastHello,
  PeerClient,
  type PeerClientOptions,
} from "./peer/client/peer-client.ts";
export { type LinkSide, proveLink } from "./peer/link-proof.ts";
export { type PeerTls, peerName } from "./peer/peer-tls.ts";
export {
  makeRegionKey,
  peerKeysMax,
  publicHalf,
  RegionKeys,
  readPeerKey,
  readRegionKey,
  regionKeyId,
} from "./peer/region-keys.ts";
export {
  type Arrival,
  HandshakeLimiter,
  type HandshakeLimits,
  originOf,
} from "./peer/server/handshake-limiter.ts";
export { PeerServer, type PeerServerOptions } from "./peer/server/peer-server.ts";
export { ofRegion } from "./peer/status.ts";
export {
  manageBytes,
  type NodeStore,
  type Peer,
  type PeerHello,
  type PeerState,
  type PeerStore,
  type PushOutcome,
  type StoreUse,
  usesIn,
} from "./ports/ports.ts";
export {
  type RegionEntry,
  RegionRecords,
  regionIdentifier,
} from "./serving/region-records.ts";
export {
  type Others,
  type RegionalHealth,
  type Serving,
  type ServingEvent,
  type ServingState,
  serveStep,
  serving,
  servingAtStart,
} from "./serving/serving.ts";
export { ownUse, StoreCheck, type StoreCheckOptions, storeInUse } from "./serving/store-check.ts";
export { type AgreedChanges, type AgreementOptions, agreedCommit } from "./store/agreed.ts";
export { type AgreementSite, ownSite, peerSite, sitesInOrder } from "./store/agreement-site.ts";
export {
  type GivenKek,
  PeerService,
  type PeerServiceOptions,
  pushOutcomes,
} from "./store/peer-service.ts";
export { type PushOptions, pushToAll } from "./store/push.ts";
export { isOpen, type OwnAnswer, type ReadRepairOptions, readRepair } from "./store/read-repair.ts";
export {
  type PeerAcknowledgement,
  type RegionalParts,
  RegionalStore,
  type RegionalStoreOptions,
} from "./store/regional-store.ts";
