import type { X509Certificate } from "node:crypto";
import { type Handlers, ManagementError } from "@holdfast/admin";
import { type Clock, systemIdentifier, systemTypes } from "@holdfast/engine";
import { z } from "zod";
import { fingerprintOf, keyTypeOf, subjectOf } from "../../certificates.ts";
import type { NodeObserver } from "../../events.ts";
import { reasonOf } from "../../start-error.ts";
import { parsedText } from "../parsed-text.ts";
import type { Records } from "../records.ts";
import { PublishPace } from "../refused/publish-pace.ts";
import type { SystemView } from "../system-view.ts";

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

/** What `ServerCertificates` stand on. */
export interface ServerCertificatesOptions {
  readonly region: string;
  readonly node: string;
  /** The certificates that this node's KMIP endpoint shows now, without their intermediates. */
  readonly leaves: () => readonly X509Certificate[];
  readonly view: Pick<SystemView, "documents" | "get">;
  readonly records: Pick<Records, "create" | "change">;
  readonly clock: Clock;
  readonly observe: NodeObserver;
}

const kind = "server-certificates";
const field = "told";
const tickMs = 1000;
/** A node repeats what it told, so that a node that is gone for good leaves the list. */
const repeatMs = 12 * 3_600_000;
const keptMs = 7 * 86_400_000;

/**
 * The KMIP server certificates of every node of both regions. Each node tells its own in a system record when they
 * change: an administrator asks one node, and vCenter shows the fingerprint of another.
 */
export class ServerCertificates implements Disposable {
  readonly #options: ServerCertificatesOptions;
  readonly #id: string;
  readonly #timer: NodeJS.Timeout;
  readonly #pace = new PublishPace();
  #telling = false;

  constructor(options: ServerCertificatesOptions) {
    this.#options = options;
    const { region, node } = options;
    this.#id = systemIdentifier(systemTypes.Setting, `${kind}\0${region}\0${node}`);
    this.#timer = setInterval(() => void this.tick(), tickMs).unref();
  }

  /** By region and node; this node's as they are now, the others' as they were told last. */
  list(): readonly Listed[] {
    const { region, node, view, clock } = this.#options;
    const nowMs = clock.wallMs();
    const others = view
      .documents(systemTypes.Setting)
      .filter(({ id, fixed, destroyed }) => {
        return fixed["kind"] === kind && id !== this.#id && destroyed === undefined;
      })
      .flatMap(({ fixed, fields }): Listed[] => {
        const { at, certificates } = parsedText(told, fields[field]) ?? none;
        if (nowMs - Date.parse(at) > keptMs) return [];
        const who = { region: fixed["region"] ?? "", node: fixed["node"] ?? "" };
        return certificates.map((one) => ({ ...who, asked: false, toldAt: at, ...one }));
      });
    const toldAt = new Date(nowMs).toISOString();
    const own = this.#own().map((one) => ({ region, node, asked: true, toldAt, ...one }));
    const placeOf = (one: Listed) => `${one.region} ${one.node}`;
    return [...own, ...others].toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  }

  /** Tells the other nodes what is new. */
  async tick(): Promise<void> {
    const { clock, observe } = this.#options;
    if (this.#telling || !this.#isNew() || !this.#pace.may(clock.monotonicMs())) return;
    this.#telling = true;
    try {
      await this.#tell();
    } catch (cause) {
      // A store that is out is told elsewhere, and a later turn tries again.
      if (!(cause instanceof ManagementError)) {
        const message = `server certificates are not told to other nodes: ${reasonOf(cause)}`;
        observe({ type: "warning", message, cause });
      }
    } finally {
      this.#telling = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #isNew(): boolean {
    const { view, clock } = this.#options;
    const before = parsedText(told, view.get(systemTypes.Setting, this.#id)?.fields[field]);
    if (before === undefined || clock.wallMs() - Date.parse(before.at) > repeatMs) return true;
    const shas = (all: readonly Entry[]) => all.map(({ sha256 }) => sha256).join();
    return shas(before.certificates) !== shas(this.#own());
  }

  async #tell(): Promise<void> {
    const { region, node, view, records, clock } = this.#options;
    const at = new Date(clock.wallMs()).toISOString();
    const fields = { [field]: JSON.stringify({ at, certificates: this.#own() }) };
    const id = this.#id;
    if (view.get(systemTypes.Setting, id) === undefined) {
      try {
        await records.create(systemTypes.Setting, { kind, region, node }, fields, [], { id });
        return;
      } catch (error) {
        if (!(error instanceof ManagementError) || error.code !== "conflict") throw error;
      }
    }
    await records.change(systemTypes.Setting, id, () => fields, []);
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

/** The certificates by which clients know the nodes. */
export function serverCertificateHandlers(
  certificates: Pick<ServerCertificates, "list">,
): Pick<Handlers, "listServerCertificates"> {
  return { listServerCertificates: async () => ({ items: [...certificates.list()] }) };
}
