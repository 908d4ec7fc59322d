import { callAt } from "../../base/api.ts";
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
  /** The client that was refused last, if that was after a client was admitted. */
  readonly refused?: Refused;
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
/** Refusals before that say nothing about what a person does now. */
const lateMs = 3_600_000;

/** Names of nodes by their address: they do not change while a page is open. */
const names = new Map<string, { readonly node: string; readonly region: string }>();

/** Asks one node what it has seen; `asksRefused` where the person may read the refused clients. */
export async function look(
  address: string,
  instance: string,
  asksRefused: boolean,
  nowMs: number,
): Promise<Seen> {
  const options = { signal: AbortSignal.timeout(answerMs) };
  try {
    const named = names.get(address) ?? (await callAt(address, "whoAmI", {}, options));
    const { node, region } = named;
    names.set(address, { node, region });
    const request = { params: { instance }, query: { limit: 1000 } };
    const [{ items }, refusals] = await Promise.all([
      callAt(address, "listCertificates", request, options),
      asksRefused
        ? callAt(address, "listRefused", { query: {} }, options)
        : { items: [] as readonly Refused[] },
    ]);
    const by = items.toSorted((one, other) => timeOf(other) - timeOf(one))[0];
    const admittedMs = by === undefined ? Number.NaN : timeOf(by);
    const since = Math.max(admittedMs || 0, nowMs - lateMs);
    // Each node reports those of all nodes, but only its own are up to date.
    const refused = refusals.items.find(
      (one) => one.node === node && one.region === region && Date.parse(one.time) > since,
    );
    return {
      node,
      region,
      ...(by?.lastConnection !== undefined && { by }),
      ...(refused !== undefined && { refused }),
    };
  } catch (error) {
    return { node: new URL(address).host, ...names.get(address), silent: messageOf(error) };
  }
}

function timeOf({ lastConnection }: Certificate): number {
  return lastConnection === undefined ? 0 : Date.parse(lastConnection.time);
}

/** Reasons with which a client has accepted the server, since it sent its certificate, or chose to send none. */
const afterTls: ReadonlySet<string> = new Set([
  ...["noCertificate", "denied", "denyListUnreadable", "revoked", "revocationUnknown"],
  ...["unknownCertificate", "notYetValid", "expired", "wrongPurpose", "weakSignature"],
]);

/** Whether a client connected, accepted the server's certificate, and was accepted: which of these is missing. */
export function partsOf(seen: readonly Seen[], nowMs: number): readonly Part[] {
  const admitted = seen
    .flatMap(({ by, ...at }) => (by?.lastConnection === undefined ? [] : [{ ...at, by }]))
    .toSorted((one, other) => timeOf(other.by) - timeOf(one.by))[0];
  // Where vCenter gets in somewhere, nameless clients are others: health checks, scans.
  const refusals = seen
    .flatMap(({ refused }) => refused ?? [])
    .filter(
      ({ subject, reason }) =>
        admitted === undefined || subject !== "" || reason === "serverNotTrusted",
    );
  const distrusts = refusals.find(({ reason }) => reason === "serverNotTrusted");
  const shutOut = refusals.find(({ reason }) => afterTls.has(reason));
  const unable = refusals.find((one) => one !== distrusts && !afterTls.has(one.reason));
  const parts = [
    connectedPart(admitted, distrusts ?? shutOut ?? unable, nowMs),
    trustsPart(admitted !== undefined || shutOut !== undefined, distrusts ?? unable, nowMs),
    trustedPart(admitted?.by, shutOut, nowMs),
  ];
  return admitted === undefined ? parts : parts.map(softened);
}

function connectedPart(
  admitted: Seen | undefined,
  tried: Refused | undefined,
  nowMs: number,
): Part {
  const title = "vCenter connects";
  const at = admitted?.by?.lastConnection;
  if (at !== undefined) {
    const text = `A client connected ${ageText(at.time, nowMs)} to node ${at.node} (region ${at.region}), with ${admitted?.by?.name}.`;
    return { title, state: "ok", text, mend: "" };
  }
  if (tried !== undefined) {
    const text = `The last try was ${ageText(tried.time, nowMs)}, at node ${tried.node}: ${clientOf(tried)}.`;
    return { title, state: "ok", text, mend: "" };
  }
  return {
    title,
    state: "pending",
    text: "No client with a certificate of this instance has connected since these nodes started.",
    mend: "Press Refresh at the provider in vCenter. If nothing changes, the addresses or the firewall are wrong: see steps 1 and 2.",
  };
}

function trustsPart(accepts: boolean, fault: Refused | undefined, nowMs: number): Part {
  const title = "vCenter trusts this server";
  if (fault !== undefined) return failed(title, fault, nowMs);
  return accepts
    ? { title, state: "ok", text: "It accepted the server's certificate.", mend: "" }
    : { title, state: "pending", text: "Known once it connects.", mend: "See step 3." };
}

function trustedPart(
  by: Certificate | undefined,
  shutOut: Refused | undefined,
  nowMs: number,
): Part {
  const title = "vCenter is trusted";
  if (shutOut !== undefined) return failed(title, shutOut, nowMs);
  if (by === undefined) {
    return { title, state: "pending", text: "Known once it connects.", mend: "See step 5." };
  }
  return { title, state: "ok", text: `${by.name} admits it (${by.subject}).`, mend: "" };
}

function failed(title: string, refused: Refused, nowMs: number): Part {
  const { node, time, advice } = refused;
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
