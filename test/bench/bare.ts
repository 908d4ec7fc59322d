import { HelperProcess } from "./helper-process.ts";

/** The input of the bare server; certificates and keys are PEM text. */
export interface BareRequest {
  readonly certificate: string;
  readonly key: string;
  /** Requests and their answers, in base64. */
  readonly answers: readonly (readonly [request: string, answer: string])[];
}

/** Its answer once it listens. */
export type BareAnswer = { readonly port: number } | { readonly error: string };

/** The position of the first operation's code, if the header has only version and batch count. */
const operationAt = 91;

/** Distinguishes requests without decoding: by length and first operation. That fits the work. */
export function answerKey(request: Buffer): number {
  return request.length * 256 + (request[operationAt] ?? 0);
}

/** The bare server's process. */
export class BareServer implements AsyncDisposable {
  readonly port: number;
  readonly #process: HelperProcess<BareRequest, BareAnswer>;

  private constructor(process: HelperProcess<BareRequest, BareAnswer>, port: number) {
    this.#process = process;
    this.port = port;
  }

  static async start(request: BareRequest): Promise<BareServer> {
    const process = new HelperProcess<BareRequest, BareAnswer>("bare-server.ts");
    const answer = await process.ask(request);
    if ("port" in answer) return new BareServer(process, answer.port);
    await process[Symbol.asyncDispose]();
    throw new Error(`bare server: ${answer.error}`);
  }

  get pid(): number {
    return this.#process.pid;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
