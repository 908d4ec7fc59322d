import { type Address, printAddress } from "@holdfast/server/base";

/** The state of a node, as it reports it. */
export interface NodeView {
  /** Whether it answers at all. */
  readonly answers: boolean;
  /** Whether it serves clients, which it reports only while its KMIP listener is open. */
  readonly ready: boolean;
  readonly reads: boolean;
  /** Why it answers no reads of clients; empty if it does. */
  readonly why?: string;
  readonly writes: boolean;
  /** Which store it serves from, with the reason if it gives one. */
  readonly serving: string;
  /** What it knows about the other region; absent in a cluster with only one region. */
  readonly peer?: string;
  /** Undefined if no leader is elected at all. */
  readonly leads?: boolean;
  readonly epoch?: number;
}

const silent: NodeView = {
  answers: false,
  ready: false,
  reads: false,
  writes: false,
  serving: "",
};

const timeoutMs = 1000;

/** Reads a node's `/readyz?verbose`, which costs the node far less than its metrics. */
export async function view(http: Address): Promise<NodeView> {
  try {
    const base = `http://${printAddress(http)}`;
    const ready = await get(`${base}/readyz?verbose`);
    const lines = new Map(
      ready.text.split("\n").map((line) => {
        const colon = line.indexOf(": ");
        return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 2)];
      }),
    );
    const peer = [...lines].find(([name]) => name.startsWith("peer "))?.[1];
    const leader = lines.get("leader");
    const epoch = /^this node \(epoch (\d+)\)$/.exec(leader ?? "")?.[1];
    return {
      answers: true,
      ready: ready.ok,
      reads: lines.get("read")?.startsWith("ok") === true,
      why: /^no \((.*)\)$/.exec(lines.get("read") ?? "")?.[1] ?? "",
      writes: lines.get("write")?.startsWith("ok") === true,
      serving: lines.get("serving") ?? `store: ${lines.get("store") ?? ""}`,
      ...(peer === undefined ? {} : { peer }),
      ...(leader === undefined ? {} : { leads: epoch !== undefined }),
      ...(epoch === undefined ? {} : { epoch: Number(epoch) }),
    };
  } catch {
    return silent;
  }
}

/** A summary, in words, of what a node does for its clients. */
export function inWords(seen: NodeView): string {
  if (!seen.answers) return "does not answer";
  const { leads, epoch, peer } = seen;
  return [
    serves(seen),
    ...(peer === undefined ? [] : lacks(peer)),
    ...(leads === true ? [`leads its region, epoch ${epoch ?? "?"}`] : []),
  ].join("; ");
}

function lacks(peer: string): readonly string[] {
  if (peer.startsWith("up")) return [];
  return [
    peer.startsWith("retired") ? "the other region is retired" : "cannot reach the other region",
  ];
}

function serves({ reads, writes, serving, why = "" }: NodeView): string {
  if (serving.startsWith("nothing")) return `serves ${serving}`;
  const from = serving.replace(" (own store)", "");
  if (!reads) return `refuses clients${why === "" ? "" : `: ${why}`}`;
  return `${writes ? "reads and changes" : "reads only"} from ${from}`;
}

async function get(url: string): Promise<{ readonly ok: boolean; readonly text: string }> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  return { ok: answer.ok, text: await answer.text() };
}
