import { createHash } from "node:crypto";
import { Connection, parseEndpoint, type TlsCredentials } from "@holdfast/client";
import {
  attributeValue,
  decodeResponse,
  type Response,
  type ResponseItem,
  tags,
} from "@holdfast/kmip";
import { batchItemId, type VcenterItem, vcenterItems, vcenterMessage } from "@holdfast/testing";
import { decode, type Item, ItemType } from "@holdfast/ttlv";

const connectTimeoutMs = 5000;
const answerTimeoutMs = 5000;
const responseBytesMax = 1_048_576;

/** The response does not meet vCenter's needs. */
export class UnexpectedAnswer extends Error {
  override readonly name = "UnexpectedAnswer";
  /** The Result Reason, if the server reported a failed operation. */
  readonly reason: string | undefined;
  constructor(message: string, reason?: string) {
    super(message);
    this.reason = reason;
  }
}

/** Credentials, and a callback for each response. */
export interface SessionOptions {
  readonly tls: TlsCredentials;
  readonly answered: () => void;
}

/** One connection of vCenter: its first message has no batch item identifier; later identifiers count up. */
export class VcenterSession implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #answered: () => void;
  #count = 0;
  #first = true;

  private constructor(connection: Connection, options: SessionOptions) {
    this.#connection = connection;
    this.#answered = options.answered;
  }

  /** Only connects, as vCenter does to see the server's certificate. */
  static async connect(endpoint: string, options: SessionOptions): Promise<VcenterSession> {
    const at = parseEndpoint(endpoint);
    if (at === undefined) throw new TypeError(`${endpoint}: is not an endpoint`);
    const { tls } = options;
    const connection = await Connection.open(at, { tls, connectTimeoutMs, responseBytesMax });
    return new VcenterSession(connection, options);
  }

  /** Connects and asks for the versions; every connection that carries messages starts with this. */
  static async begin(endpoint: string, options: SessionOptions): Promise<VcenterSession> {
    const session = await VcenterSession.connect(endpoint, options);
    try {
      await session.discoverVersions();
      return session;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }

  async discoverVersions(): Promise<readonly string[]> {
    const [item] = await this.send(vcenterItems.discoverVersions());
    const { versions } = item.payload as Response<"DiscoverVersions">;
    const names = versions.map(({ major, minor }) => `${major}.${minor}`);
    if (!names.includes("1.1")) throw new UnexpectedAnswer("KMIP 1.1 is not offered");
    return names;
  }

  /** The server's name for itself. */
  async vendorIdentification(): Promise<string> {
    const [item] = await this.send(vcenterItems.queryServerInformation());
    return (item.payload as Response<"Query">).vendorIdentification ?? "";
  }

  async create(): Promise<string> {
    const [item] = await this.send(vcenterItems.create());
    return (item.payload as Response<"Create">).uniqueIdentifier;
  }

  /** Returns the SHA-256 of the key's bytes, which are not kept. */
  async get(id: string): Promise<string> {
    const [item] = await this.send(vcenterItems.get(id));
    const { object } = item.payload as Response<"Get">;
    const material = keyMaterial(object);
    if (material.length !== 32) throw new UnexpectedAnswer(`the key has ${material.length} bytes`);
    return createHash("sha256").update(material).digest("hex");
  }

  async state(id: string): Promise<string> {
    const [item] = await this.send(vcenterItems.getAttribute(id, "State"));
    const { attributes = [] } = item.payload as Response<"GetAttributes">;
    const state = attributes.find((attribute) => attribute.item.tag === tags.State.tag);
    if (state === undefined) throw new UnexpectedAnswer("the key has no State");
    return String(attributeValue("State", state.item));
  }

  /** Whether a key is destroyed: KMIP 1.1 answers Item Not Found to its Get, as for a key that never existed. */
  async isDestroyed(id: string): Promise<boolean> {
    try {
      return (await this.state(id)).startsWith("Destroyed");
    } catch (error) {
      if (error instanceof UnexpectedAnswer) return false;
      throw error;
    }
  }

  /** How many values a custom attribute has; a request for an absent one succeeds. */
  async count(id: string, name: string): Promise<number> {
    const [item] = await this.send(vcenterItems.getAttribute(id, name));
    return (item.payload as Response<"GetAttributes">).attributes?.length ?? 0;
  }

  /** Adds all attributes in one batch. */
  async addAttributes(id: string, values: Readonly<Record<string, string>>): Promise<void> {
    await this.send(
      ...Object.entries(values).map(([name, value]) => vcenterItems.addAttribute(id, name, value)),
    );
  }

  async activate(id: string): Promise<void> {
    await this.send(vcenterItems.activate(id));
  }

  /** Sends one message and checks what vCenter's library checks: version, identifiers, every result. */
  async send(...items: readonly VcenterItem[]): Promise<[ResponseItem, ...ResponseItem[]]> {
    const numbered = items.map((item) => (this.#first ? item : { ...item, ...this.#next() }));
    this.#first = false;
    const bytes = await this.#connection.exchange(vcenterMessage(numbered), answerTimeoutMs);
    const answer = decodeResponse(decode(bytes));
    this.#answered();
    if (answer.version !== "1.1") throw new UnexpectedAnswer(`answered in ${answer.version}`);
    // A failed operation ends the batch, so report its error before the missing answers of later operations.
    for (const [at, item] of numbered.entries()) {
      const own = answer.items[at];
      if (own !== undefined) check(item, own);
    }
    const [first, ...rest] = answer.items;
    if (first === undefined || answer.items.length !== items.length) {
      throw new UnexpectedAnswer(`${answer.items.length} answers to ${items.length} operations`);
    }
    return [first, ...rest];
  }

  #next(): { readonly uniqueBatchItemId: Uint8Array } {
    this.#count += 1;
    return { uniqueBatchItemId: batchItemId(this.#count) };
  }
}

function check(asked: VcenterItem, answer: ResponseItem): void {
  const { operation, uniqueBatchItemId } = asked;
  if (answer.status !== "Success") {
    const why = [answer.reason, answer.message].filter((part) => part !== undefined).join(": ");
    throw new UnexpectedAnswer(`${operation}: ${why}`, answer.reason);
  }
  if (answer.operation !== operation) {
    throw new UnexpectedAnswer(`${operation} was answered as ${answer.operation}`);
  }
  const same = Buffer.from(uniqueBatchItemId ?? []).equals(answer.uniqueBatchItemId ?? Buffer.of());
  if (!same) throw new UnexpectedAnswer(`${operation}: the batch item identifier is not echoed`);
}

function keyMaterial(object: Item | undefined): Uint8Array {
  const path = [tags.KeyBlock.tag, tags.KeyValue.tag, tags.KeyMaterial.tag];
  let item = object;
  for (const tag of path) {
    item =
      item?.type === ItemType.Structure ? item.value.find((one) => one.tag === tag) : undefined;
  }
  if (item?.type !== ItemType.ByteString) throw new UnexpectedAnswer("the key is not Raw");
  return item.value;
}
