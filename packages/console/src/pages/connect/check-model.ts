import { callAt, timeAt } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { ageText } from "../../base/text.ts";
import { messageOf } from "../../parts/notices.tsx";

type Certificate = AnswerOf<"listCertificates">["items"][number];
/** A client that a node refused. */
export type Refused = AnswerOf<"listRefused">["items"][number];

/** What one node has seen of the clients of an instance. */
export interface Seen {
  /** Its name, or its address where it never answered. */
  readonly node: string;
  readonly region?: string;
  /** The certificate or authority that admitted a client last. */
  readonly by?: Certificate;
  /** The clients that were refused in the last hour, after a client was admitted; the newest first. */
  readonly refused: readonly Refused[];
  /** The time at the node, milliseconds since the epoch: what it has seen is dated by its clock. */
  readonly nowMs: number;
  /** Why the node says nothing. */
  readonly silent?: string;
}

/** One of the things that a working connection needs. */
export interface Part {
  readonly title: string;
  readonly state: "ok" | "pending" | "failed";
  /** What was seen, or what is missing. */
  readonly text: string;
  /** What to do; empty where all is well. */
  readonly mend: string;
}

/** A node that is silent for this long does not hold up the others. */
const answerMs = 2500;
/** What is older says nothing about what a person does now: vCenter looks every five minutes. */
const lateMs = 3_600_000;

/** Names of nodes by their address: they do not change while a page is open. */
const names = new Map<string, { readonly node: string; readonly region: string }>();

/** Asks one node what it has seen; `asksRefused` where the person may read the refused clients. */
export async function look(address: string, instance: string, asksRefused: boolean): Promise<Seen> {
  const options = { signal: AbortSignal.timeout(answerMs) };
  try {
    const named = names.get(address) ?? (await callAt(address, "whoAmI", {}, options));
    const { node, region } = named;
    names.set(address, { node, region });
    const request = { params: { instance }, query: { limit: 1000 } };
    const [{ items }, refusals] = await Promise.all([
      callAt(address, "listCertificates", request, options),
      asksRefused
        ? callAt(address, "listRefused", { query: { limit: 1000 } }, options)
        : { items: [] as readonly Refused[] },
    ]);
    const nowMs = timeAt(address);
    const by = items.toSorted((one, other) => timeOf(other) - timeOf(one))[0];
    const admittedMs = by === undefined ? Number.NaN : timeOf(by);
    const since = Math.max(admittedMs || 0, nowMs - lateMs);
    // Each node reports those of all nodes, but only its own are up to date.
    const refused = refusals.items
      .filter((one) => one.node === node && one.region === region && Date.parse(one.time) > since)
      .toSorted(newestFirst);
    return {
      ...{ node, region, refused, nowMs },
      ...(by?.lastConnection !== undefined && { by }),
    };
  } catch (error) {
    const name = names.get(address) ?? { node: new URL(address).host };
    return { ...name, refused: [], nowMs: timeAt(address), silent: messageOf(error) };
  }
}

function timeOf({ lastConnection }: Certificate): number {
  return lastConnection === undefined ? 0 : Date.parse(lastConnection.time);
}

function newestFirst(one: Refused, other: Refused): number {
  return Date.parse(other.time) - Date.parse(one.time);
}

/** When a client of the instance connected to a node last, as an age in milliseconds; infinite if none did. */
export function connectedMs({ by, nowMs }: Seen): number {
  return by?.lastConnection === undefined ? Number.POSITIVE_INFINITY : nowMs - timeOf(by);
}

/** Whether a client of the instance connected to a node in the last hour. */
export function isConnected(seen: Seen): boolean {
  return connectedMs(seen) < lateMs;
}

/** Reasons with which a client has accepted the server, since it sent its certificate, or chose to send none. */
const afterTls: ReadonlySet<string> = new Set([
  ...["noCertificate", "denied", "denyListUnreadable", "revoked", "revocationUnknown"],
  ...["unknownCertificate", "notYetValid", "expired", "wrongPurpose", "weakSignature"],
]);

/** A client that was refused, and the time at the node that refused it. */
type RefusedAt = Refused & { readonly nowMs: number };

/** Whether a client connected, accepted the server's certificate, and was accepted: which of these is missing. */
export function partsOf(seen: readonly Seen[]): readonly Part[] {
  const [admitted] = seen
    .filter(({ by }) => by?.lastConnection !== undefined)
    .toSorted((one, other) => connectedMs(one) - connectedMs(other));
  const all = seen
    .flatMap(({ refused, nowMs }) => refused.map((one): RefusedAt => ({ ...one, nowMs })))
    .toSorted((one, other) => ageOf(one) - ageOf(other));
  // vCenter has a name. Nameless clients are mostly others: health checks, scans.
  const named = all.filter(
    ({ subject, reason }) => subject !== "" || reason === "serverNotTrusted",
  );
  const refusals =
    admitted === undefined ? [...named, ...all.filter((one) => !named.includes(one))] : named;
  const distrusts = refusals.find(({ reason }) => reason === "serverNotTrusted");
  const shutOut = refusals.find(({ reason }) => afterTls.has(reason));
  const unable = refusals.find(
    ({ reason }) => reason !== "serverNotTrusted" && !afterTls.has(reason),
  );
  const parts = [
    connectedPart(admitted, distrusts ?? shutOut ?? unable),
    trustsPart(admitted !== undefined || shutOut !== undefined, distrusts ?? unable),
    trustedPart(admitted?.by, shutOut),
  ];
  return admitted === undefined ? parts : parts.map(softened);
}

function ageOf({ time, nowMs }: RefusedAt): number {
  return nowMs - Date.parse(time);
}

/** The name of a node, with its region where it is known. */
export function nodeName({ node, region }: Seen): string {
  return region === undefined ? node : `${node} (region ${region})`;
}

/** The nodes at which a client of the instance connected in the last hour, and the others: their names. */
export function reachOf(seen: readonly Seen[]): {
  readonly connected: readonly string[];
  readonly others: readonly string[];
} {
  return {
    connected: seen.filter(isConnected).map(nodeName),
    others: seen.filter((one) => !isConnected(one)).map(nodeName),
  };
}

const refresh =
  "Press Refresh at the provider in vCenter. If nothing changes, the addresses or the firewall are wrong: see steps 1 and 2.";

function connectedPart(admitted: Seen | undefined, tried: RefusedAt | undefined): Part {
  const title = "vCenter connects";
  const at = admitted?.by?.lastConnection;
  if (admitted !== undefined && at !== undefined) {
    const age = ageText(at.time, admitted.nowMs);
    const text = `A client connected ${age} to node ${at.node} (region ${at.region}), with ${admitted.by?.name}.`;
    if (isConnected(admitted)) return { title, state: "ok", text, mend: "" };
    return {
      title,
      state: "pending",
      text,
      mend: "Press Refresh at the provider in vCenter. A connection that stays open counts from its begin.",
    };
  }
  if (tried !== undefined) {
    const text = `The last try was ${ageText(tried.time, tried.nowMs)}, at node ${tried.node}: ${clientOf(tried)}.`;
    return { title, state: "ok", text, mend: "" };
  }
  return {
    title,
    state: "pending",
    text: "No client with a certificate of this instance has connected since these nodes started.",
    mend: refresh,
  };
}

function trustsPart(accepts: boolean, fault: RefusedAt | undefined): Part {
  const title = "vCenter trusts this server";
  if (fault !== undefined) return failed(title, fault);
  return accepts
    ? { title, state: "ok", text: "It accepted the server's certificate.", mend: "" }
    : { title, state: "pending", text: "Known once it connects.", mend: "See step 3." };
}

function trustedPart(by: Certificate | undefined, shutOut: RefusedAt | undefined): Part {
  const title = "vCenter is trusted";
  if (shutOut !== undefined) return failed(title, shutOut);
  if (by === undefined) {
    return { title, state: "pending", text: "Known once it connects.", mend: "See step 5." };
  }
  return { title, state: "ok", text: `${by.name} admits it (${by.subject}).`, mend: "" };
}

function failed(title: string, refused: RefusedAt): Part {
  const { node, time, advice, nowMs } = refused;
  const text = `Node ${node} refused ${clientOf(refused)} ${ageText(time, nowMs)}.`;
  return { title, state: "failed", text, mend: advice };
}

/** The same where clients of this instance connect: the one that was refused may be somebody else's. */
function softened(part: Part): Part {
  if (part.state !== "failed") return part;
  return { ...part, state: "pending", text: `${part.text} Is it yours?` };
}

/** A client in words, also if it has shown no certificate. */
function clientOf({ subject, remote }: Refused): string {
  const [address = ""] = remote.split(" ");
  // A subject with right-to-left text must not turn the sentence around it.
  return subject === "" ? `a client at ${address}` : `\u2068${subject}\u2069 at ${address}`;
}
