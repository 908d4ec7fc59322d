import { ManagementError } from "@holdfast/admin";
import type { Crl, CrlReading } from "../../access/crl/revocation-lists.ts";
import { managementEvent } from "../../audit/management-event.ts";
import { reasonOf } from "../../base/operator-error.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { Records } from "../../records/records.ts";

export interface CrlEvidenceOptions {
  readonly region: string;
  readonly node: string;
  readonly lists: () => readonly CrlReading[];
  readonly records: Pick<Records, "leaveEvidence">;
  readonly wallMs: () => number;
  readonly requestId: () => string;
  readonly observe: NodeObserver;
}

const everyMs = 1000;

/** Leaves an audit event of each revocation list that a node reads: from then on, it decides who is refused. */
export class CrlEvidence implements Disposable {
  readonly #options: CrlEvidenceOptions;
  readonly #told = new Map<string, Crl>();
  readonly #timer: NodeJS.Timeout;
  #telling = false;

  constructor(options: CrlEvidenceOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.tick(), everyMs).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Reports the lists that are new. What cannot be written now is tried again. */
  async tick(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (const reading of this.#options.lists()) await this.#tell(reading);
    } catch (cause) {
      // A store out of reach is reported elsewhere.
      if (!(cause instanceof ManagementError)) {
        const message = `a revocation list cannot be noted in the audit trail: ${reasonOf(cause)}`;
        this.#options.observe({ type: "warning", message, cause });
      }
    } finally {
      this.#telling = false;
    }
  }

  async #tell({ authority, source, crl }: CrlReading): Promise<void> {
    const key = `${authority} ${source}`;
    if (crl === undefined || this.#told.get(key) === crl) return;
    const { region, node, records, wallMs, requestId } = this.#options;
    const principal = { name: "node", id: `node ${node} of ${region}` };
    const { number, revoked, nextUpdateMs } = crl;
    const detail = {
      authority,
      ...(number !== undefined && { number: number.toString().slice(0, 64) }),
      entries: revoked.size,
      nextUpdate: new Date(nextUpdateMs).toISOString(),
    };
    const actor = { principal, requestId: requestId() };
    const event = managementEvent(
      actor,
      "crl.read",
      "success",
      { id: source },
      {
        timeMs: wallMs(),
        detail,
      },
    );
    await records.leaveEvidence([event]);
    this.#told.set(key, crl);
  }
}
