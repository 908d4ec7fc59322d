import type { X509Certificate } from "node:crypto";
import type { Handlers } from "@holdfast/admin";
import { z } from "zod";
import { fingerprintOf, keyTypeOf, subjectOf } from "../../base/certificates.ts";
import { parsedText } from "../../base/parsed-text.ts";
import { type NewsSite, NodeNews } from "../node-news.ts";

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const time = z.iso.datetime({ offset: true });
const entry = z.object({
  keyType: z.string().max(64),
  subject: z.string().max(256),
  names: z.array(z.string().max(256)).max(100),
  notBefore: time,
  notAfter: time,
  sha1: hex(40),
  sha256: hex(64),
});
const told = z.object({ at: time, certificates: z.array(entry).max(16) });

type Entry = z.output<typeof entry>;
type Listed = Awaited<ReturnType<Handlers["listServerCertificates"]>>["items"][number];

export interface ServerCertificatesOptions extends NewsSite {
  /** The certificates that this node's KMIP endpoint presents now, without their intermediates. */
  readonly leaves: () => readonly X509Certificate[];
}

const tickMs = 1000;
/** A node repeats its report, so that a node that is gone for good leaves the list. */
const repeatMs = 12 * 3_600_000;
const keptMs = 7 * 86_400_000;

/**
 * The KMIP server certificates of every node of both regions. Each node reports its own when they change: an
 * administrator asks one node, and vCenter shows the fingerprint of another.
 */
export class ServerCertificates implements Disposable {
  readonly #options: ServerCertificatesOptions;
  readonly #news: NodeNews;

  constructor(options: ServerCertificatesOptions) {
    this.#options = options;
    this.#news = new NodeNews(options, {
      kind: "server-certificates",
      field: "told",
      about: "server certificates",
      tickMs,
      isNew: () => this.#isNew(),
      next: () => {
        const at = new Date(options.clock.wallMs()).toISOString();
        return { text: JSON.stringify({ at, certificates: this.#own() }) };
      },
    });
  }

  /** By region and node; this node's as they are now, the others' as they were reported last. */
  list(): readonly Listed[] {
    const { region, node, clock } = this.#options;
    const nowMs = clock.wallMs();
    const others = this.#news.others().flatMap(({ text, ...who }): Listed[] => {
      const { at, certificates } = parsedText(told, text) ?? none;
      if (nowMs - Date.parse(at) > keptMs) return [];
      return certificates.map((one) => ({ ...who, asked: false, toldAt: at, ...one }));
    });
    const toldAt = new Date(nowMs).toISOString();
    const own = this.#own().map((one) => ({ region, node, asked: true, toldAt, ...one }));
    const placeOf = (one: Listed) => `${one.region} ${one.node}`;
    return [...own, ...others].toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  }

  /** Reports what is new to the other nodes. */
  tick(): Promise<void> {
    return this.#news.tick();
  }

  [Symbol.dispose](): void {
    this.#news[Symbol.dispose]();
  }

  #isNew(): boolean {
    const before = parsedText(told, this.#news.own);
    if (before === undefined) return true;
    if (this.#options.clock.wallMs() - Date.parse(before.at) > repeatMs) return true;
    const shas = (all: readonly Entry[]) => all.map(({ sha256 }) => sha256).join();
    return shas(before.certificates) !== shas(this.#own());
  }

  #own(): readonly Entry[] {
    return this.#options.leaves().map((leaf) => ({
      keyType: keyTypeOf(leaf),
      subject: subjectOf(leaf),
      names: (leaf.subjectAltName ?? "")
        .split(", ")
        .filter((name) => name !== "")
        .slice(0, 100)
        .map((name) => name.replace(/^(DNS|IP Address):/, "").slice(0, 256)),
      notBefore: leaf.validFromDate.toISOString(),
      notAfter: leaf.validToDate.toISOString(),
      sha1: leaf.fingerprint.replaceAll(":", "").toLowerCase(),
      sha256: fingerprintOf(leaf),
    }));
  }
}

const none = { at: "", certificates: [] };

/** The certificates by which clients recognize the nodes. */
export function serverCertificateHandlers(
  certificates: Pick<ServerCertificates, "list">,
): Pick<Handlers, "listServerCertificates"> {
  return { listServerCertificates: async () => ({ items: [...certificates.list()] }) };
}
