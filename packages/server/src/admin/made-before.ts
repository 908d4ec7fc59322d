import { type Call, type Handlers, type Makes, ManagementError, type Route } from "@holdfast/admin";
import { type SystemRecord, systemIdentifier } from "@holdfast/engine";
import type { SystemView } from "../records/system-view.ts";
import { madeAlready, mismatch } from "./idempotency.ts";

/** A kind of record that calls make, and how to read it for the answer to a repetition. */
interface Kind {
  readonly type: "Instance" | "Certificate" | "Token";
  /** Absent if the answer holds a secret that is shown only once. */
  readonly read?: (handlers: Handlers, call: Call, id: string) => Promise<unknown>;
}

const kinds: Readonly<Record<Makes, Kind>> = {
  instance: {
    type: "Instance",
    read: (handlers, call, instance) =>
      handlers.readInstance(reading<"readInstance">(call, { instance })),
  },
  certificate: { type: "Certificate", read: readCertificate },
  signedCertificate: {
    type: "Certificate",
    read: async (handlers, call, id) => {
      const certificate = await readCertificate(handlers, call, id);
      const params = { instance: instanceOf(call) };
      const authority = await handlers.readAuthority(reading<"readAuthority">(call, params));
      return { certificate, pem: certificate.pem, authority: authority.certificate };
    },
  },
  token: { type: "Token" },
};

/** Finds what an earlier call with this idempotency key made, at any node, or before a crash. */
export class MadeBefore {
  readonly #view: Pick<SystemView, "get" | "refresh">;
  readonly #handlers: Handlers;

  constructor(view: Pick<SystemView, "get" | "refresh">, handlers: Handlers) {
    this.#view = view;
    this.#handlers = handlers;
  }

  /** Does a call's work; if an earlier call has already made the record, answers that instead. */
  async once(route: Route, call: Call, work: () => Promise<unknown>): Promise<unknown> {
    const before = await this.#before(route, call);
    if (before !== undefined) return before;
    try {
      return await work();
    } catch (error) {
      const maybe = error instanceof ManagementError && contended.has(error.code);
      if (!maybe || route.makes === undefined) throw error;
      // Another node may have made it, and this one may not have seen it yet.
      await this.#view.refresh().catch(() => undefined);
      const made = await this.#before(route, call);
      if (made === undefined) throw error;
      return made;
    }
  }

  /** The answer to repeat; undefined if nothing was made yet. */
  async #before({ makes, shownOnce }: Route, call: Call): Promise<unknown> {
    if (makes === undefined) return undefined;
    const { type, read } = kinds[makes];
    const { newId } = call;
    const id = type === "Instance" ? systemIdentifier(type, newId) : newId;
    const record = this.#view.get(type, id);
    if (record === undefined) return undefined;
    if (differs(record, call.body)) throw mismatch();
    const again = shownOnce === true || record.destroyed !== undefined ? undefined : read;
    if (again === undefined) throw madeAlready();
    return again(this.#handlers, call, newId);
  }
}

/** Refusals that occur when another node makes the same record at this moment. */
const contended: ReadonlySet<string> = new Set(["conflict", "nameTaken", "certificateTaken"]);

function readCertificate(handlers: Handlers, call: Call, certificate: string) {
  const params = { instance: instanceOf(call), certificate };
  return handlers.readCertificate(reading<"readCertificate">(call, params));
}

/** The same caller's call of a route that reads. */
function reading<Name extends keyof Handlers>(call: Call, params: object) {
  const read = { ...call, params, query: undefined, body: undefined };
  return read as unknown as Parameters<Handlers[Name]>[0];
}

function instanceOf({ params }: Call): string {
  return (params as unknown as { readonly instance: string }).instance;
}

/** Whether the record has another name or certificate than this call asks for. */
function differs(made: SystemRecord<Kind["type"]>, body: unknown): boolean {
  const { name, pem, fingerprint } = (body ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof name === "string" && made.name !== name) return true;
  if (made.type !== "Certificate") return false;
  return (
    (typeof pem === "string" && !bare(pem).includes(bare(made.pem))) ||
    (typeof fingerprint === "string" && fingerprint !== made.fingerprint)
  );
}

/** A PEM text without its tags and line ends. */
function bare(pem: string): string {
  return pem.replaceAll(/-----[A-Z ]+-----|\s/g, "");
}
