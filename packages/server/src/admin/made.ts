import { type Call, type Handlers, ManagementError } from "@holdfast/admin";
import { type Document, systemIdentifier, systemTypes } from "@holdfast/engine";
import type { SystemView } from "../records/system-view.ts";
import type { Served } from "./dispatch.ts";
import { madeAlready, mismatch } from "./repeats.ts";

/** How an operation's repetition is answered once what it makes is there. */
interface Row {
  readonly type: number;
  /** The answer, by reading what was made; absent where it holds a secret that was shown once. */
  readonly read?: (handlers: Handlers, call: Call, id: string) => Promise<unknown>;
}

const certificate: Row = {
  type: systemTypes.Certificate,
  read: (handlers, call, id) => readCertificate(handlers, call, id),
};

/** Operations that make a record under `Call.newId`. */
const rows: Partial<Record<keyof Handlers, Row>> = {
  createInstance: {
    type: systemTypes.Instance,
    read: (handlers, call, instance) =>
      handlers.readInstance({ ...call, params: { instance }, query: undefined, body: undefined }),
  },
  addCertificate: certificate,
  adoptCertificate: certificate,
  signRequest: {
    type: systemTypes.Certificate,
    read: async (handlers, call, id) => {
      const made = await readCertificate(handlers, call, id);
      const params = call.params as unknown as { readonly instance: string };
      const authority = await handlers.readAuthority({
        ...call,
        params,
        query: undefined,
        body: undefined,
      });
      return { certificate: made, pem: made.pem, authority: authority.certificate };
    },
  },
  issuePair: { type: systemTypes.Certificate },
  createToken: { type: systemTypes.Token },
};

/** Finds what an earlier call with the same idempotency key made, at whichever node, before a crash or after. */
export class Made {
  readonly #view: Pick<SystemView, "get" | "refresh">;
  readonly #handlers: Handlers;

  constructor(view: Pick<SystemView, "get" | "refresh">, handlers: Handlers) {
    this.#view = view;
    this.#handlers = handlers;
  }

  /** The answer to repeat; undefined where nothing was made yet. */
  async before({ operation }: Served, call: Call): Promise<unknown> {
    const row = rows[operation];
    if (row === undefined) return undefined;
    const { newId } = call;
    const id = row.type === systemTypes.Instance ? systemIdentifier(row.type, newId) : newId;
    const document = this.#view.get(row.type, id);
    if (document === undefined) return undefined;
    if (differs(document, call.body)) throw mismatch();
    if (row.read === undefined || document.destroyed !== undefined) throw madeAlready();
    return row.read(this.#handlers, call, newId);
  }

  /** The answer to repeat in place of a refusal: another node may have made it, and this one not have seen it. */
  async instead(served: Served, call: Call, error: unknown): Promise<unknown> {
    const maybe = error instanceof ManagementError && contended.has(error.code);
    if (!maybe || rows[served.operation] === undefined) return undefined;
    await this.#view.refresh().catch(() => undefined);
    return this.before(served, call);
  }
}

/** What is refused where the same is made by another node at this moment. */
const contended: ReadonlySet<string> = new Set(["conflict", "nameTaken", "certificateTaken"]);

function readCertificate(handlers: Handlers, call: Call, id: string) {
  const { instance } = call.params as unknown as { readonly instance: string };
  const params = { instance, certificate: id };
  return handlers.readCertificate({ ...call, params, query: undefined, body: undefined });
}

/** Whether it was made under another name, or of another certificate, than is asked for now. */
function differs({ fixed, fields }: Document, body: unknown): boolean {
  const { name, pem, fingerprint } = (body ?? {}) as Readonly<Record<string, unknown>>;
  const made = fixed["pem"];
  return (
    (typeof name === "string" && fields["name"] !== undefined && fields["name"] !== name) ||
    (typeof pem === "string" && made !== undefined && !bare(pem).includes(bare(made))) ||
    (typeof fingerprint === "string" && fingerprint !== (fixed["fingerprint"] ?? fingerprint))
  );
}

/** A PEM text without its tags and line ends. */
function bare(pem: string): string {
  return pem.replaceAll(/-----[A-Z ]+-----|\s/g, "");
}
