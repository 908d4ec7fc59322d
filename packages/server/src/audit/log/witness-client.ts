import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { NoteKey } from "@holdfast/engine";
import { readNoteKey } from "@holdfast/engine";
import type { Witness, WitnessAnswer, WitnessRequest } from "@holdfast/regions";
import { readText } from "../../base/certificates.ts";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";

/** A witness as the configuration names it. */
export interface WitnessSettings {
  readonly name: string;
  /** `add-checkpoint` is appended. */
  readonly url: string;
  /** Its verifier key. */
  readonly key: string;
  readonly ca: string | undefined;
}

const timeoutMs = 5_000;
const answerBytesMax = 16_384;

/** A witness over HTTP: `POST <url>/add-checkpoint` of C2SP tlog-witness v1.0.0. */
export class HttpWitness implements Witness {
  readonly name: string;
  readonly key: NoteKey;
  readonly #settings: WitnessSettings;

  /** An `OperatorError` says what is wrong with the settings. */
  constructor(settings: WitnessSettings) {
    const key = readNoteKey(settings.key);
    if (key === undefined) throw new OperatorError(`audit.log.witnesses: key of ${settings.name}`);
    this.name = settings.name;
    this.key = key;
    this.#settings = settings;
    witnessCa(settings);
  }

  async add({ old, proof, note }: WitnessRequest, signal: AbortSignal): Promise<WitnessAnswer> {
    const hashes = proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`);
    const body = `old ${old}\n${hashes.join("")}\n${note}`;
    const { status, text } = await post(this.#settings, body, signal);
    const where = `witness ${this.#settings.url} answered ${status}`;
    switch (status) {
      case 200:
        return { lines: text };
      case 409: {
        const size = /^(0|[1-9]\d{0,14})\n$/.exec(text)?.[1];
        if (size === undefined) throw new Error(`${where} without its size`);
        return { size: Number(size) };
      }
      case 422:
        return { disagrees: "knows another history: the log has not grown from what it cosigned" };
      case 403:
      case 404:
        throw new Error(`${where}: it does not know this log or its key (\`audit-key show\`)`);
      default:
        throw new Error(where);
    }
  }
}

function witnessCa({ ca }: WitnessSettings): string | undefined {
  return ca === undefined ? undefined : readText(ca, "audit.log.witnesses.ca");
}

async function post(
  settings: WitnessSettings,
  body: string,
  stop: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const url = new URL(`${settings.url.replace(/\/$/, "")}/add-checkpoint`);
  const signal = AbortSignal.any([stop, AbortSignal.timeout(timeoutMs)]);
  const ca = witnessCa(settings);
  const headers = { "content-length": String(Buffer.byteLength(body)) };
  const options = { method: "POST", signal, headers, agent: false, ...(ca && { ca }) };
  try {
    return await new Promise((resolve, reject) => {
      const send = url.protocol === "https:" ? requestHttps : requestHttp;
      const sent = send(url, options, (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          parts.push(part);
          bytes += part.length;
          if (bytes > answerBytesMax) response.destroy(new Error("its answer is too long"));
        });
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: response.statusCode ?? 0, text });
        });
      });
      sent.on("error", reject);
      sent.end(body);
    });
  } catch (error) {
    const why = signal.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error);
    throw new Error(`witness ${settings.url}: ${why}`);
  }
}
