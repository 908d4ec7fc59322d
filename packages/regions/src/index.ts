export { AdoptKeks, type AdoptKeksOptions, type KekAdopter } from "./leader/adopt-keks.ts";
export { DueDates, type DueDatesOptions, nextDate } from "./leader/due-dates.ts";
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
export { type Merge, PeerReader, type PeerReaderOptions } from "./leader/reader.ts";
export {
  type LastHello,
  PeerClient,
  type PeerClientOptions,
  type PeerClientTimes,
} from "./net/peer-client.ts";
export { PeerServer, type PeerServerOptions } from "./net/peer-server.ts";
export { type PeerTls, peerName } from "./net/peer-tls.ts";
export type { Peer, PeerHello, PeerState, PeerStore, PushOutcome, Timers } from "./ports.ts";
