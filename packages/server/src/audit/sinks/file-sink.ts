import type { AuditSink, ChainedEntry } from "@holdfast/regions";
import type { CadfSettings } from "../cadf.ts";
import { RotatingFile, type RotatingFileOptions } from "./rotating-file.ts";
import { shippedTexts } from "./shipped.ts";

/** Writes audit events to a file, one JSON object a line. */
export class FileSink implements AuditSink, AsyncDisposable {
  readonly name = "file";
  readonly #cadf: CadfSettings;
  readonly #file: RotatingFile;

  constructor(options: RotatingFileOptions, cadf: CadfSettings) {
    this.#cadf = cadf;
    this.#file = new RotatingFile(options);
  }

  async deliver(entries: readonly ChainedEntry[]): Promise<void> {
    const texts = await shippedTexts(entries, this.#cadf);
    await this.#file.append(texts.map(({ text }) => `${text}\n`).join(""));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
