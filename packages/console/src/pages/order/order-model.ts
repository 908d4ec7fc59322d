import { AdminProblem } from "@holdfast/admin/errors";
import { signal } from "@preact/signals";
import { call, who } from "../../base/api.ts";
import type { Given } from "../../parts/action-model.ts";

/** The steps of an order, as the address has them. */
export const steps = ["name", "roots", "certificate", "review", "ordered"] as const;
/** One of `steps`. */
export type Step = (typeof steps)[number];

/** An order that a person has begun; kept in the tab, so that a reload loses nothing and orders nothing twice. */
interface Draft {
  /** Who began it: nobody else who signs in here continues it. */
  readonly by: string;
  /** The body of `createInstance`. */
  readonly given: Given;
  /** The body of `addCertificate`; empty for none. */
  readonly certificate: Given;
  /** The same for every try of this order. */
  readonly keys: { readonly order: string; readonly certificate: string };
  /** It was sent, and no answer came yet. */
  readonly sent: boolean;
  /** The identifier of the instance, once it was made. */
  readonly made?: string;
}

const storageKey = "holdfast-order";

/** An order on its way through its steps. */
export class OrderModel {
  readonly draft = signal<Draft>(restored() ?? fresh());
  readonly error = signal<unknown>(undefined);
  /** Why the certificate was not added, although the instance was made. */
  readonly certificateError = signal<unknown>(undefined);
  readonly busy = signal(false);
  /** A dry run succeeded, and nothing was changed since. */
  readonly checked = signal(false);

  change(part: Partial<Pick<Draft, "given" | "certificate">>): void {
    this.checked.value = false;
    this.#keep({ ...this.draft.value, ...part });
  }

  /** Regions whose secret must be typed again: a draft holds none. */
  get withoutSecret(): readonly string[] {
    return Object.entries(rootsOf(this.draft.value.given)).flatMap(([region, root]) =>
      Object.values(root).some((field) => secretOf(field) === "") ? [region] : [],
    );
  }

  /** Whether a certificate is added after the order. */
  get addsCertificate(): boolean {
    const { pem } = this.draft.value.certificate;
    return typeof pem === "string" && pem !== "";
  }

  /** Forgets this order, and begins another one. */
  restart(): void {
    sessionStorage.removeItem(storageKey);
    this.draft.value = fresh();
    this.error.value = undefined;
    this.certificateError.value = undefined;
  }

  /** Asks the service whether it would take the order; nothing is made. */
  async check(): Promise<void> {
    await this.#working(async () => {
      await call("createInstance", { body: this.draft.value.given }, { dryRun: true });
      this.checked.value = true;
    });
  }

  /** Sends the order, and then the certificate. */
  async send(): Promise<void> {
    await this.#working(async () => {
      const { given, keys } = this.draft.value;
      this.#keep({ ...this.draft.value, sent: true });
      try {
        const { id } = await call(
          "createInstance",
          { body: given },
          { idempotencyKey: keys.order },
        );
        this.#keep({ ...this.draft.value, sent: false, made: String(id) });
      } catch (error) {
        // A refusal is an answer: nothing was made.
        if (error instanceof AdminProblem) this.#keep({ ...this.draft.value, sent: false });
        throw error;
      }
    });
    await this.addCertificate();
  }

  /** Adds the certificate to the new instance, again if a person wants it. */
  async addCertificate(): Promise<void> {
    const { certificate, keys, made } = this.draft.value;
    if (made === undefined || !this.addsCertificate) return;
    this.busy.value = true;
    try {
      await call(
        "addCertificate",
        { params: { instance: made }, body: certificate },
        { idempotencyKey: keys.certificate },
      );
      this.certificateError.value = undefined;
      this.#keep({ ...this.draft.value, certificate: {} });
    } catch (error) {
      this.certificateError.value = error;
    } finally {
      this.busy.value = false;
    }
  }

  async #working(work: () => Promise<void>): Promise<void> {
    this.busy.value = true;
    this.error.value = undefined;
    try {
      await work();
    } catch (error) {
      this.error.value = error;
    } finally {
      this.busy.value = false;
    }
  }

  #keep(draft: Draft): void {
    this.draft.value = draft;
    sessionStorage.setItem(storageKey, JSON.stringify(withoutSecrets(draft)));
  }
}

function fresh(): Draft {
  const keys = { order: crypto.randomUUID(), certificate: crypto.randomUUID() };
  return { by: who.peek()?.name ?? "", given: {}, certificate: {}, keys, sent: false };
}

function restored(): Draft | undefined {
  try {
    const draft = JSON.parse(sessionStorage.getItem(storageKey) ?? "null") as Draft | null;
    return draft !== null && draft.by === who.peek()?.name ? draft : undefined;
  } catch {
    return undefined;
  }
}

/** The roots of trust of an order, by region. */
function rootsOf(given: Given): Readonly<Record<string, Given>> {
  const { regions = {} } = (given["rootOfTrust"] ?? {}) as {
    readonly regions?: Readonly<Record<string, Given>>;
  };
  return regions;
}

/** The text of a secret that was typed; undefined for every other field. */
function secretOf(field: unknown): string | undefined {
  if (typeof field !== "object" || field === null) return undefined;
  const { value } = field as { readonly value?: unknown };
  return typeof value === "string" ? value : undefined;
}

/** The draft as the tab keeps it. A private key that was pasted by mistake is not kept either. */
function withoutSecrets(draft: Draft): Draft {
  const regions = Object.entries(rootsOf(draft.given)).map(([region, root]) => {
    const fields = Object.entries(root).map(([name, field]) => [
      name,
      secretOf(field) === undefined ? field : { value: "" },
    ]);
    return [region, Object.fromEntries(fields)] as const;
  });
  const given =
    regions.length === 0
      ? draft.given
      : { ...draft.given, rootOfTrust: { regions: Object.fromEntries(regions) } };
  const isKey = String(draft.certificate["pem"] ?? "").includes("PRIVATE KEY");
  const certificate = isKey ? { ...draft.certificate, pem: "" } : draft.certificate;
  return { ...draft, given, certificate };
}
