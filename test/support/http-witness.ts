import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { type NoteKey, writeNoteKey } from "@holdfast/engine";
import { freePort } from "@holdfast/testing";
import { MemoryWitness } from "../../packages/engine/src/testing/test-witness.ts";

/** A witness over HTTP (C2SP tlog-witness) in the test's own process, for where Debian's is not installed. */
export class HttpWitness implements AsyncDisposable {
  readonly port: number;
  readonly #witness: MemoryWitness;
  readonly #server = createServer((request, response) => {
    void text(request).then((body) => this.#answer(body, response));
  });

  private constructor(port: number, witness: MemoryWitness) {
    this.port = port;
    this.#witness = witness;
  }

  /** Starts a witness for the log of this key. */
  static async start(name: string, log: NoteKey): Promise<HttpWitness> {
    const witness = new HttpWitness(await freePort(), new MemoryWitness(name, log));
    await witness.resume();
    return witness;
  }

  /** A row of `audit.log.witnesses`. */
  get settings(): { readonly name: string; readonly url: string; readonly key: string } {
    const { name, key } = this.#witness;
    return { name, url: `http://127.0.0.1:${this.port}`, key: writeNoteKey(key) };
  }

  /** Listens, at the same port as before. */
  async resume(): Promise<void> {
    this.#server.listen(this.port, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** Refuses connections. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #answer(body: string, response: ServerResponse): Promise<void> {
    const at = body.indexOf("\n\n");
    const [first = "", ...hashes] = body.slice(0, at).split("\n");
    const proof = hashes.map((hash) => Buffer.from(hash, "base64"));
    const request = { old: Number(first.replace("old ", "")), proof, note: body.slice(at + 2) };
    try {
      const answer = await this.#witness.add(request);
      if ("lines" in answer) response.end(answer.lines);
      else if ("size" in answer) response.writeHead(409).end(`${answer.size}\n`);
      else response.writeHead(422).end();
    } catch (error) {
      response.writeHead(Number(/\d{3}$/.exec((error as Error).message)?.[0] ?? 500)).end();
    }
  }
}
