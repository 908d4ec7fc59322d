import { StoreUnavailable, type Timers } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import {
  entryOf,
  isRetiredIn,
  type Others,
  PeerClient,
  type RegionEntry,
  RegionRefused,
  type RegionTools,
  type RejoinProgress,
  type RejoinResult,
  type RetireConfirmed,
  rejoinAlone,
  rejoinRegion,
  requireRetirable,
  retireRegion,
} from "@holdfast/regions";
import { type GivenApprovals, withLocalApprovals } from "../approvals/local-approvals.ts";
import { printAddress } from "../base/address.ts";
import { OperatorError, reasonOf } from "../base/operator-error.ts";
import { readPeerIdentity } from "../base/peer-tls.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { openStoreOf } from "./open-store.ts";
import { ActEvidence, appendTo } from "./operator-evidence.ts";
import { regionStatus } from "./region-status.ts";
import { storeConnection } from "./store-access.ts";
import { storeFault } from "./store-faults.ts";

/** How long a command waits for the other region before it counts as unreachable. */
const meetMs = 3000;

/** This region's store and the other region, as an operator's command reaches them. */
export interface OpenedRegions extends RegionTools {
  readonly own: RedisStore;
  readonly peer: PeerClient | undefined;
  readonly address: string;
  /** The node whose configuration was read. */
  readonly node: string;
}

/** Reports the state of this region and the other one. */
export async function showRegions(
  configFile: string,
  machine: Machine,
): Promise<readonly string[]> {
  return atRegions(configFile, machine, async (opened) => {
    const { own, peer, region, address, timers } = opened;
    if (peer !== undefined) await met(peer, timers);
    const entries = await Promise.all(
      [region, ...opened.peers.map((each) => each.region)].map((name) => known(own, name)),
    );
    return regionStatus({
      region,
      own,
      address,
      entryOf: (name) => entries.find((entry) => entry?.region === name),
      peer,
      wallMs: timers.wallMs,
    });
  });
}

/** Retires the other region: the operator confirms that it is lost, and that no client reaches it. */
export async function retire(
  configFile: string,
  machine: Machine,
  lost: string,
  confirmed: RetireConfirmed,
  approvals: GivenApprovals = {},
): Promise<string> {
  if (!confirmed.endpointsAreOff) {
    throw new OperatorError(
      `region retire ${lost}: give --endpoints-are-off ${lost} once no client can reach an endpoint of region ${lost} any more; while it is cut off it keeps serving, and what it acknowledges then may be lost`,
    );
  }
  return atRegions(configFile, machine, async (opened) => {
    if (opened.peer !== undefined) await met(opened.peer, opened.timers);
    const evidence = new ActEvidence({ action: "region.retire", target: lost }, machine);
    const append = appendTo(opened.own);
    const { own, region, node } = opened;
    const place = { own, region, node, machine };
    const call = { region: lost };
    const act = {
      operation: "region retire",
      target: lost,
      call,
    } as const;
    const work = () => retireRegion(lost, confirmed, opened, evidence.committed());
    const approved = async () => {
      // An approval is used up by what fails, so what can be refused is refused before.
      await requireRetirable(lost, confirmed, opened);
      return await withLocalApprovals(place, act, approvals, work);
    };
    const { generation } = await approved().catch(async (error: unknown) => {
      await append([evidence.pending(), evidence.ended({ reason: reasonOf(error) })]);
      throw error;
    });
    return `region ${lost} is retired (generation ${generation}): region ${opened.region} is alone from now on, within a second at all of its nodes; when ${lost} returns, run \`holdfast region rejoin\` there`;
  });
}

/**
 * Brings this region back after the other one had retired it; with `alone`, the name of the other region, which is lost
 * for good, with this region's own data only.
 */
export async function rejoin(
  configFile: string,
  machine: Machine,
  say: (line: string) => void,
  alone?: string,
): Promise<string> {
  return atRegions(configFile, machine, async (opened) => {
    const { peer, region, timers } = opened;
    if (peer === undefined) throw noPeer();
    const other = peer.region;
    if (alone !== undefined && alone !== other) {
      throw new OperatorError(`--alone ${alone}: the other region is ${other}`);
    }
    await met(peer, timers);
    if (alone !== undefined) {
      const generation = await rejoinAlone(peer, opened);
      return `region ${region} continues alone as generation ${generation}, with its own data: no record was given to region ${other} or taken from it; when ${other} returns, run \`holdfast region rejoin\` there`;
    }
    const progress = progressOf(region, other, timers, say);
    return rejoined(region, other, await rejoinRegion(peer, opened, { progress }));
  });
}

/** What a rejoin did, on one line. */
export function rejoined(
  region: string,
  other: string,
  { generation, pushed, pulled }: RejoinResult,
): string {
  const notes: readonly (readonly [number, string])[] = [
    [pushed.quarantined, `contradict what region ${other} has and lie in its quarantine`],
    [
      pushed.refused,
      `were refused by region ${other}: their instance is deleted there, or it waits for the approved request`,
    ],
    [
      pulled.quarantined,
      `of region ${other} contradict what is here and lie in the quarantine here`,
    ],
    [pulled.refused, `of region ${other} were refused here: their instance is deleted here`],
  ];
  const more = notes.flatMap(([count, what]) => (count === 0 ? [] : [`; ${count} ${what}`]));
  return `region ${region} has rejoined as generation ${generation}: ${pushed.records} records given to region ${other}, ${pulled.records} taken from it${more.join("")}`;
}

/** Reports each step as it begins, and its progress, one line a second at most. */
function progressOf(
  region: string,
  other: string,
  { monotonicMs }: Timers,
  say: (line: string) => void,
) {
  const names: Readonly<Record<RejoinProgress["step"], string>> = {
    checked: `region ${region} rejoins: what it has is joined into region ${other}, then the other way round; it serves when that is done`,
    pushing: `given to region ${other}`,
    pulling: `taken from region ${other}`,
    settling: "operations that began without this region are waited for",
    done: "",
  };
  let saidMs = 0;
  let step = "";
  return (progress: RejoinProgress): void => {
    const nowMs = monotonicMs();
    if (progress.step === "done" || (progress.step === step && nowMs - saidMs < 1000)) return;
    step = progress.step;
    saidMs = nowMs;
    say(
      step === "settling" || step === "checked"
        ? names[step]
        : `${progress.records} records ${names[progress.step]}`,
    );
  };
}

/** Runs with both regions open, and closes them; their faults are `OperatorError`s. */
export async function atRegions<Result>(
  configFile: string,
  machine: Machine,
  work: (opened: OpenedRegions) => Promise<Result>,
): Promise<Result> {
  const { region, node, store, peer: settings } = loadConfig(configFile);
  const { environment, clock, ids } = machine;
  const connection = storeConnection(store, environment);
  const identity = settings && readPeerIdentity(settings, { region, node });
  await using opened = new AsyncDisposableStack();
  const observe = () => undefined;
  try {
    const reachable = { openUnreachable: true, allowOtherStore: true };
    const own = await openStoreOf(configFile, machine, opened, reachable);
    const peer =
      settings &&
      identity &&
      opened.use(
        PeerClient.open({
          region: settings.region,
          ownRegion: region,
          addresses: settings.addresses.map(printAddress),
          tls: identity,
          timers: clock,
          observe,
        }),
      );
    return await work({
      region,
      node,
      own,
      peer,
      peers: peer === undefined ? [] : [peer],
      address: connection.address ?? connection.name ?? "",
      timers: clock,
      ids,
      observe,
    });
  } catch (error) {
    const ofStore = error instanceof StoreUnavailable && error.failure !== "peerUnreachable";
    throw ofStore ? storeFault(error, store, configFile) : faultOf(error, settings?.region);
  }
}

const refusedExits = { state: "conflicting", request: "wrong", again: "again" } as const;

/** A fault of the other region must not be reported as one of the own store. */
function faultOf(error: unknown, other: string | undefined): unknown {
  if (error instanceof RegionRefused) {
    return new OperatorError(reasonOf(error), refusedExits[error.by]);
  }
  if (!(error instanceof StoreUnavailable)) return error;
  return new OperatorError(
    `peer.addresses: ${reasonOf(error)}; start a node of region ${other}, or correct the addresses`,
    "again",
  );
}

function noPeer(): OperatorError {
  return new OperatorError("peer: the configuration names no other region");
}

/** The other regions that are not retired; `why` says what each is needed for, since it must answer. */
export async function presentRegions(
  opened: OpenedRegions,
  why: string,
): Promise<readonly PeerClient[]> {
  const { peer } = opened;
  const others = await othersNow(opened);
  if (peer === undefined || others === "absent") return [];
  if (others === "up") return [peer];
  throw new OperatorError(
    `peer.addresses: region ${peer.region} does not answer, and ${why}: start a node of it, or retire it with \`holdfast region retire ${peer.region}\``,
    "again",
  );
}

/** `up` if the other region answers, `down` if it does not, `absent` if it is retired or this region stands alone. */
export async function othersNow({
  own,
  peer,
  timers,
}: Pick<OpenedRegions, "own" | "peer" | "timers">): Promise<Others> {
  if (peer === undefined || (await isRetiredIn(own, peer.region))) return "absent";
  await met(peer, timers);
  return peer.state() === "up" ? "up" : "down";
}

/** Waits a bounded time until another region has answered once. */
export async function met(peer: PeerClient, timers: Timers): Promise<void> {
  const untilMs = timers.monotonicMs() + meetMs;
  while (peer.lastHello === undefined && timers.monotonicMs() < untilMs) {
    await timers.sleep(20);
  }
}

async function known(own: RedisStore, region: string): Promise<RegionEntry | undefined> {
  try {
    return await entryOf(own, region);
  } catch (error) {
    if (error instanceof StoreUnavailable) return undefined;
    throw error;
  }
}
