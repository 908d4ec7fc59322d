import {
  decodeRequest,
  encodeResponse,
  KmipError,
  type RequestHeader,
  type RequestMessage,
  type ResponseItem,
  type Version,
  versionOfParts,
} from "@holdfast/kmip";
import {
  decode,
  defaultLimits,
  encode,
  FrameTooLong,
  type Limits,
  TtlvError,
} from "@holdfast/ttlv";
import type { Clock } from "../base/clock.ts";
import type { Ids } from "../base/ids.ts";
import type { Observer } from "../base/observe.ts";
import type { Locks } from "../concurrency/locks.ts";
import { Pace, RoundRobin } from "../concurrency/pace.ts";
import { AnswerMemory } from "../operations/answer-memory.ts";
import { handlers } from "../operations/operation-handlers.ts";
import { serverCorrelation, tooLarge } from "../operations/response-room.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { ObjectStore } from "../ports/objects.ts";
import type { EngineSettings } from "../ports/operation-context.ts";
import type { Writer } from "../record/registers.ts";
import { systemInstance } from "../system/partition.ts";
import { authenticate, type Client, type MessageUser } from "./access.ts";
import { runBatch } from "./batch.ts";
import type { BatchParts } from "./batch-parts.ts";
import { failureOf } from "./failure.ts";

/** The dependencies and settings of an engine. */
export interface EngineOptions extends Partial<Omit<EngineSettings, "interop">> {
  readonly store: ObjectStore;
  readonly locks: Locks;
  readonly keyRing: KeyRing;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly region: string;
  /** Names the values that this process adds. */
  readonly writer: Writer;
  readonly interop: boolean;
  /** Bounds of the decoder. */
  readonly limits?: Limits;
}

/** Settings that apply unless the options override them. */
export const defaultSettings: EngineSettings = {
  interop: false,
  auditReads: "batched",
  vendorIdentification: "Holdfast",
  serverVersion: "0",
  profileSuites: false,
  approvedOnly: false,
  batchItemsMax: 1000,
  responseBytesMax: 8 << 20,
};

/** What a response's header is made from. */
interface Envelope {
  readonly version: Version;
  readonly requestId: string;
  /** Absent if the request could not be read. */
  readonly header?: RequestHeader;
}

/** Answers KMIP requests: bytes in, bytes out. No request bytes make it reject. */
export class Engine {
  readonly #parts: BatchParts;
  readonly #limits: Limits;
  readonly #roundRobin = new RoundRobin();
  readonly #answers: AnswerMemory;

  constructor(options: EngineOptions) {
    const { store, locks, keyRing, clock, ids, observe, region, writer, limits, ...settings } =
      options;
    this.#limits = limits ?? defaultLimits;
    // An answer must be able to return everything that a request can contain.
    const largest = 2 * this.#limits.bytesMax;
    const responseBytesMax = Math.max(defaultSettings.responseBytesMax, largest);
    const merged = { ...defaultSettings, responseBytesMax, ...settings };
    this.#answers = new AnswerMemory(16 * merged.responseBytesMax);
    this.#parts = {
      store,
      locks,
      keyRing,
      clock,
      ids,
      observe,
      region,
      writer,
      settings: merged,
      handlers,
    };
  }

  /** Carries out one request message. `requestId` becomes the Server Correlation Value. */
  async execute(request: Uint8Array, client: Client, requestId: string): Promise<Uint8Array> {
    let version: Version | undefined;
    const share = this.#answers.share(client.instance);
    try {
      const message = decodeRequest(decode(request, this.#limits));
      version = message.version;
      const verdict = this.#refusalOf(message, client) ?? (await usersOf(client, message));
      const [users, refusal] = verdict instanceof KmipError ? [[], verdict] : [verdict];
      const pace = new Pace(this.#parts.clock, this.#roundRobin, client.instance);
      const origin = { client, users, requestId, pace, share };
      const items = await runBatch(this.#parts, message, origin, refusal);
      return this.#respond({ version, requestId, header: message.header }, items);
    } catch (error) {
      const known = error instanceof KmipError ? error.version : undefined;
      const envelope = { version: known ?? version ?? versionIn(request), requestId };
      return this.#respond(envelope, [this.#messageFailure(error, envelope, client)]);
    } finally {
      share.giveBack();
    }
  }

  /**
   * Answers a message that cannot be read to its end (KMIP 1.4, 11.1; KMIP 2.1, 11.46). `beginning` is its first bytes,
   * as far as they are known: 56 of them show its version.
   */
  refuse(failure: TtlvError, beginning: Uint8Array, client: Client, requestId: string): Uint8Array {
    const envelope = { version: versionIn(beginning), requestId };
    const error =
      failure instanceof FrameTooLong
        ? new KmipError("serverLimitExceeded", failure.message)
        : failure;
    return this.#respond(envelope, [this.#messageFailure(error, envelope, client)]);
  }

  /** Why a message that can be read is refused as a whole. */
  #refusalOf({ header, items }: RequestMessage, client: Client): KmipError | undefined {
    if (client.instance === systemInstance) {
      return new KmipError("permissionDenied", "the certificate belongs to no instance");
    }
    const { batchItemsMax } = this.#parts.settings;
    if (items.length > batchItemsMax) {
      return new KmipError("serverLimitExceeded", `a batch holds at most ${batchItemsMax} items`);
    }
    if (header.asynchronousIndicator === "Mandatory") {
      return new KmipError("featureNotSupported", "asynchronous operations are not supported");
    }
    return undefined;
  }

  #messageFailure(error: unknown, { version, requestId }: Envelope, client: Client): ResponseItem {
    const shown =
      error instanceof TtlvError
        ? new KmipError("codecError", `the message is not TTLV: ${error.message}`)
        : error;
    const { reason, message, cause } = failureOf(shown, version, undefined);
    this.#parts.observe({
      type: "operation",
      operation: "none",
      version,
      instance: client.instance,
      result: reason,
      durationMs: 0,
      requestId,
      fingerprint: client.fingerprint,
      ...(cause === undefined ? {} : { cause }),
    });
    return { status: "OperationFailed", reason, message };
  }

  /** Encodes the answers. One that is too large is refused; a batch of several items has already checked each item. */
  #respond(envelope: Envelope, items: readonly ResponseItem[]): Uint8Array {
    try {
      return this.#encode(envelope, items);
    } catch (error) {
      const { version } = envelope;
      const refused = items.map((item): ResponseItem => {
        const { operation, payload: _, encodedPayload: __, ...echo } = item;
        const { reason, message } = failureOf(error, version, operation);
        const named = operation === undefined ? echo : { operation, ...echo };
        return { ...named, status: "OperationFailed", reason, message };
      });
      return this.#encode(envelope, refused);
    }
  }

  #encode({ version, requestId, header }: Envelope, items: readonly ResponseItem[]): Uint8Array {
    const timeStamp = Math.floor(this.#parts.clock.wallMs() / 1000);
    const correlation = serverCorrelation(version, header, requestId);
    const response = {
      version,
      timeStamp,
      ...(correlation === undefined ? {} : { serverCorrelationValue: correlation }),
      items,
    };
    const { responseBytesMax } = this.#parts.settings;
    return encode(encodeResponse(response), (length) => {
      if (length > responseBytesMax) throw tooLarge();
      return Buffer.allocUnsafe(length);
    });
  }
}

/** A message's users, or why its credentials are refused. */
function usersOf(
  client: Client,
  message: RequestMessage,
): Promise<readonly MessageUser[] | KmipError> | readonly MessageUser[] {
  const verified = authenticate(client, message)?.catch((error: unknown) => {
    if (error instanceof KmipError) return error;
    throw error;
  });
  return verified ?? [];
}

/** The version of a request that cannot be read, if its first bytes are those of a header; else the oldest. */
function versionIn(request: Uint8Array): Version {
  if (request.length < 56) return "1.0";
  const bytes = new DataView(request.buffer, request.byteOffset, request.byteLength);
  const begins = bytes.getUint32(8) === 0x42007701 && bytes.getUint32(16) === 0x42006901;
  const version = versionOfParts({ major: bytes.getInt32(32), minor: bytes.getInt32(48) });
  return (begins ? version : undefined) ?? "1.0";
}
