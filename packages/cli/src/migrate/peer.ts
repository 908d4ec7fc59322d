import { type KmipClient, KmipClientError, MalformedResponseError } from "@holdfast/client";
import {
  type AttributeReference,
  type ClientRequestItem,
  type IdentifierReference,
  type ObjectTypeName,
  type OperationName,
  type Request,
  type Version,
  within,
} from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { type Identifiers, type LocatePage, readIdentifiers } from "./inventory.ts";
import { isUnreadable, kindOfFailure, type Patience, patiently } from "./patience.ts";
import { referenceWord } from "./plan-row.ts";

/** What a server says of itself. */
export interface About {
  readonly version: Version;
  readonly vendor: string;
  readonly operations: ReadonlySet<string>;
}

/** An object as Get Attributes shows it. */
export interface Described {
  readonly id: string;
  /** Its attributes in their 2.x form. */
  readonly items: readonly Item[];
  /** Names of attributes that cannot be understood. */
  readonly unread: readonly string[];
}

/** The server's answer for one object: it is gone, or the server refuses. */
export interface Refused {
  readonly id: string;
  readonly refused: string;
  readonly gone: boolean;
}

type GetOptions = Omit<Request<"Get">, "uniqueIdentifier">;

/** Storage Status Mask: on-line and archived. */
const everyStorage = 0x03;
const goneReasons: readonly unknown[] = ["ItemNotFound", "ObjectNotFound"];

/** A KMIP server of any version, of which this side knows nothing in advance; lost connections are made again. */
export class Peer {
  readonly #client: KmipClient;
  readonly #patience: Patience;
  #about: About | undefined;
  #answered: boolean;

  /** `answered`: the server has let this client in already. */
  constructor(client: KmipClient, patience: Patience, answered = false) {
    this.#client = client;
    this.#patience = patience;
    this.#answered = answered;
  }

  get version(): Version {
    return this.#client.version;
  }

  /** `the source` or `the target`, for messages. */
  get who(): string {
    return this.#patience.who;
  }

  /** Carries out one operation, again after a lost connection if it `repeats`; rejects with the server's refusal. */
  async call<Answer>(
    work: (client: KmipClient) => Promise<Answer>,
    repeats = true,
  ): Promise<Answer> {
    const ms = repeats ? this.#patience.ms : 0;
    const answer = await patiently(
      { ...this.#patience, ms },
      () => work(this.#client),
      (error) => {
        const kind = kindOfFailure(error);
        // A server that restarts closes connections as one does that does not know the certificate.
        if (kind === "no" && this.#answered && isRefused(error)) return "lost";
        return kind === "again" && !repeats ? "no" : kind;
      },
    );
    this.#answered = true;
    return answer;
  }

  async about(): Promise<About> {
    this.#about ??= await this.#ask();
    return this.#about;
  }

  /** Whether it takes objects with their identifiers: Import (KMIP 2.x). */
  async takesImport(): Promise<boolean> {
    const { operations, version } = await this.about();
    return operations.has("Import") && version.startsWith("2");
  }

  async #ask(): Promise<About> {
    const { version } = this.#client;
    try {
      const answer = await this.call((client) =>
        client.query({ queryFunctions: ["QueryOperations", "QueryServerInformation"] }),
      );
      const operations = new Set<string>(answer.operations ?? []);
      return { version, vendor: answer.vendorIdentification ?? "", operations };
    } catch (error) {
      if (!isAnswer(error)) throw error;
      return { version, vendor: "", operations: new Set() };
    }
  }

  /** Every object's identifier; before KMIP 1.3 there are no pages. */
  async identifiers(pageSize: number): Promise<Identifiers> {
    const { operations } = await this.about();
    const storage = operations.has("Archive") ? { storageStatusMask: everyStorage } : {};
    const locate = async (page?: { offset: number; maximum: number }): Promise<LocatePage> => {
      const asked =
        page === undefined ? {} : { offsetItems: page.offset, maximumItems: page.maximum };
      try {
        const answer = await this.call((client) =>
          client.locate({ attributes: [], ...storage, ...asked }),
        );
        const { locatedItems: counted, uniqueIdentifiers: ids } = answer;
        return counted === undefined ? { ids } : { ids, counted };
      } catch (error) {
        // Some servers answer so if nothing is left.
        if (isGone(error)) return { ids: [] };
        throw error;
      }
    };
    return await readIdentifiers(locate, within(this.version, "1.3") ? pageSize : undefined);
  }

  /** All attributes of an object that this client understands. */
  async describe(id: string): Promise<Described | Refused> {
    try {
      return { id, items: await this.#attributes(id, []), unread: [] };
    } catch (error) {
      if (error instanceof MalformedResponseError) return await this.#oneByOne(id);
      return refusedOf(id, error);
    }
  }

  async #attributes(
    id: string,
    references: readonly AttributeReference[],
  ): Promise<readonly Item[]> {
    const answer = await this.call((client) =>
      client.getAttributes({ uniqueIdentifier: id, references }),
    );
    this.#same(id, answer.uniqueIdentifier);
    return answer.attributes.map(({ item }) => item);
  }

  /** One attribute that this client does not understand must not hide the others. */
  async #oneByOne(id: string): Promise<Described | Refused> {
    const items: Item[] = [];
    const unread: string[] = [];
    try {
      const { references } = await this.call((client) =>
        client.getAttributeList({ uniqueIdentifier: id }),
      );
      for (const reference of references) {
        const name = referenceWord(reference);
        try {
          if (reference.tag === 0) unread.push(name);
          else items.push(...(await this.#attributes(id, [reference])));
        } catch (error) {
          if (!isAnswer(error)) throw error;
          unread.push(name);
        }
      }
      return { id, items, unread };
    } catch (error) {
      return refusedOf(id, error);
    }
  }

  /** The object itself, as Get returns it. */
  async object(
    id: string,
    type: ObjectTypeName,
    options: GetOptions = {},
  ): Promise<Item | Refused> {
    try {
      const answer = await this.call((client) => client.get({ uniqueIdentifier: id, ...options }));
      this.#same(id, answer.uniqueIdentifier);
      const { object, objectType } = answer;
      if (object === undefined) return refusal(id, "Get returned no object");
      return objectType === type ? object : refusal(id, `Get returned a ${objectType}`);
    } catch (error) {
      return refusedOf(id, error);
    }
  }

  /** An operation that this client has no types for; the answer's payload. */
  async raw(operation: OperationName, payload: Item): Promise<Item | undefined> {
    const item: ClientRequestItem = { operation, payload };
    const { items } = await this.call((client) => client.request(client.version, [item]), false);
    const [answer] = items;
    if (answer?.status === "Success") return answer.payload as Item | undefined;
    throw new KmipClientError({
      operation,
      status: answer?.status ?? "no answer",
      reason: answer?.reason,
      message: answer?.message,
    });
  }

  #same(asked: IdentifierReference, answered: string): void {
    if (asked === answered) return;
    throw new Failure(
      `${this.who} answered for another object than the one that was asked for: it mixes up its answers, and nothing from it can be believed`,
    );
  }
}

/** Whether the server gave an answer, if not a useful one. */
function isAnswer(error: unknown): boolean {
  return (
    error instanceof KmipClientError ||
    error instanceof MalformedResponseError ||
    isUnreadable(error)
  );
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && "refused" in error && error.refused === true;
}

function isGone(error: unknown): boolean {
  return error instanceof KmipClientError && goneReasons.includes(error.reason);
}

function refusedOf(id: string, error: unknown): Refused {
  if (!isAnswer(error)) throw error;
  return { id, refused: reasonOf(error), gone: isGone(error) };
}

function refusal(id: string, refused: string): Refused {
  return { id, refused, gone: false };
}
