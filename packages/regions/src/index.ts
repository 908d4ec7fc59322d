export { type AgreedChanges, type AgreementOptions, agreedCommit } from "./agreed.ts";
export { type AgreementSite, ownSite, peerSite, sitesInOrder } from "./agreement-site.ts";
export { type AsideOptions, isOpen, type OwnAnswer, readAside } from "./aside.ts";
export { type Ahead, clockAhead, type JoinOutcome, join, joinAll } from "./join.ts";
export { AdoptKeks, type AdoptKeksOptions, type KekAdopter } from "./leader/adopt-keks.ts";
export { AgreeFormat, type AgreeFormatOptions, type FormatRecords } from "./leader/agree-format.ts";
export { AuditChain, type AuditChainOptions } from "./leader/audit-chain.ts";
export { chainPoint, sameHash } from "./leader/audit-points.ts";
export { AuditRetention, type AuditRetentionOptions } from "./leader/audit-retention.ts";
export {
  AuditShip,
  type AuditShipOptions,
  type AuditSink,
  type ChainedEntry,
} from "./leader/audit-ship.ts";
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
  type Moment,
  noLeadership,
  remainingMs,
} from "./leader/lease.ts";
export { CatchUp, DigestCheck, Levelling } from "./leader/levelling.ts";
export { OwnFeed } from "./leader/own-feed.ts";
export { PeerReader, type PeerReaderOptions } from "./leader/reader.ts";
export { type ResolveOptions, ResolveReservations } from "./leader/resolve-reservations.ts";
export { type Merged, type MergeOptions, type MergeResult, mergeInto } from "./merge.ts";
export type { PeerClientTimes } from "./net/client-times.ts";
export {
  type LastHello,
  PeerClient,
  type PeerClientOptions,
} from "./net/peer-client.ts";
export { PeerServer, type PeerServerOptions } from "./net/peer-server.ts";
export { type PeerTls, peerName } from "./net/peer-tls.ts";
export { ofRegion } from "./net/status.ts";
export { type Arrival, originOf, type StrangerLimits, Strangers } from "./net/strangers.ts";
export { PeerService, type PeerServiceOptions, pushOutcomes } from "./peer-service.ts";
export {
  manageBytes,
  type Peer,
  type PeerHello,
  type PeerState,
  type PeerStore,
  type PushOutcome,
  type Timers,
} from "./ports.ts";
export { type PushOptions, pushToAll } from "./push.ts";
export {
  entryOf,
  RegionRefused,
  type RegionTools,
  retireRegion,
} from "./region-operations.ts";
export { isRetiredEntry, RegionRecords, regionIdentifier } from "./region-records.ts";
export {
  type PeerAcknowledgement,
  type RegionalHealth,
  type RegionalParts,
  RegionalStore,
  type RegionalStoreOptions,
} from "./regional-store.ts";
export {
  type RejoinOptions,
  type RejoinProgress,
  type RejoinResult,
  rejoinRegion,
} from "./rejoin.ts";
export {
  type Others,
  type Serving,
  type ServingEvent,
  type ServingState,
  serveStep,
  serving,
  servingAtStart,
} from "./serving.ts";
