import { isIP } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import type { AuditSink, ChainedEntry } from "@holdfast/regions";
import type { Address } from "../../base/address.ts";
import type { CadfSettings } from "../cadf.ts";
import { shippedTexts } from "./shipped.ts";
import { type SyslogOrigin, syslogFrame } from "./syslog-format.ts";

/** The syslog receiver, and how to send to it. */
export interface SyslogSinkOptions extends SyslogOrigin {
  readonly address: Address;
  /** The name in the receiver's certificate, if it is not the address's host. */
  readonly serverName?: string | undefined;
  /** Read for each connection, so that files may change. */
  readonly tls: () => Pick<ConnectionOptions, "ca" | "cert" | "key">;
  /** How long a batch may take, connecting included; 10,000 ms unless given. */
  readonly timeoutMs?: number;
  /** How long a connection must stay open after a batch; 250 ms unless given. */
  readonly settleMs?: number;
}

/**
 * Sends audit events to a syslog receiver over TLS. Syslog acknowledges nothing: a batch counts as
 * delivered when the operating system has taken all of it and the connection has then stayed open
 * for a moment, in which an error of a receiver that is gone would have arrived.
 */
export class SyslogSink implements AuditSink, AsyncDisposable {
  readonly name = "syslog";
  /** More than other sinks take at once, since each delivery waits for a moment. */
  readonly batchMax = 2_000;
  readonly #options: SyslogSinkOptions;
  readonly #cadf: CadfSettings;
  #socket: TLSSocket | undefined;

  constructor(options: SyslogSinkOptions, cadf: CadfSettings) {
    this.#options = options;
    this.#cadf = cadf;
  }

  async deliver(entries: readonly ChainedEntry[], signal: AbortSignal): Promise<void> {
    const { timeoutMs = 10_000, settleMs = 250 } = this.#options;
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const socket = await this.#connected(bounded);
      const texts = await shippedTexts(entries, this.#cadf);
      const frames = texts.map((each) => syslogFrame(each, this.#options));
      await lives(socket, bounded, async () => {
        await written(socket, Buffer.concat(frames));
        await delay(settleMs, undefined, { signal: bounded });
      });
    } catch (error) {
      this.#socket?.destroy();
      this.#socket = undefined;
      throw bounded.aborted && !signal.aborted
        ? new Error(`${this.#where}: took longer than ${timeoutMs} ms`)
        : error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.end();
    this.#socket?.unref();
    this.#socket = undefined;
  }

  get #where(): string {
    const { host, port } = this.#options.address;
    return `syslog ${host}:${port}`;
  }

  async #connected(signal: AbortSignal): Promise<TLSSocket> {
    const open = this.#socket;
    if (open?.writable === true && !open.readableEnded) return open;
    open?.destroy();
    const { address, serverName = address.host, tls } = this.#options;
    const { host, port } = address;
    const socket = connect({
      ...tls(),
      host,
      port,
      minVersion: "TLSv1.2",
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    });
    this.#socket = socket;
    socket.setKeepAlive(true, 10_000);
    // No data is expected. It is read and discarded, so that the end of the connection is noticed.
    socket.resume();
    socket.on("error", () => undefined);
    await lives(
      socket,
      signal,
      () => new Promise((resolve) => socket.once("secureConnect", resolve)),
    );
    return socket;
  }
}

/** Resolves as `work` does; rejects if the connection ends first. */
async function lives<Result>(
  socket: TLSSocket,
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  let stop: () => void = () => undefined;
  const ended = new Promise<never>((_, reject) => {
    const failed = (error: Error): void => reject(error);
    const closed = (): void => reject(new Error("syslog: the receiver closed the connection"));
    const aborted = (): void => reject(new Error("syslog: given up"));
    socket.once("error", failed).once("close", closed).once("end", closed);
    signal.addEventListener("abort", aborted, { once: true });
    stop = () => {
      socket.off("error", failed).off("close", closed).off("end", closed);
      signal.removeEventListener("abort", aborted);
    };
    if (signal.aborted) aborted();
  });
  try {
    return await Promise.race([work(), ended]);
  } finally {
    stop();
  }
}

function written(socket: TLSSocket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
