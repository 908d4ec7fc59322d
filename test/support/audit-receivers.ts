import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createAuthority } from "@holdfast/testing/pki";
import { SyslogReceiver, WebhookReceiver } from "../../packages/server/src/testing/receivers.ts";

/** The receivers of a region's audit events, over TLS and HTTPS. Each keeps them in a file, one JSON object a line. */
export class AuditReceivers implements AsyncDisposable {
  readonly files: readonly string[];
  readonly #syslog: SyslogReceiver;
  readonly #webhook: WebhookReceiver;
  readonly #ca: string;

  private constructor(folder: string, syslog: SyslogReceiver, webhook: WebhookReceiver) {
    this.files = ["syslog", "webhook"].map((name) => join(folder, `${name}.jsonl`));
    this.#ca = join(folder, "receivers.pem");
    this.#syslog = syslog;
    this.#webhook = webhook;
  }

  static async start(folder: string): Promise<AuditReceivers> {
    const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
    const authority = await createAuthority({ ...day, commonName: "receivers" });
    const issued = await authority.issue({ ...day, commonName: "siem", hosts: ["127.0.0.1"] });
    const identity = { cert: issued.certificate, key: issued.key };
    const syslog = await SyslogReceiver.open(identity);
    const receivers = new AuditReceivers(folder, syslog, await WebhookReceiver.open(identity));
    await writeFile(receivers.#ca, authority.certificate);
    return receivers;
  }

  /** Settings of the group `audit`. */
  get settings(): Readonly<Record<string, unknown>> {
    const ca = this.#ca;
    const syslog = { address: `127.0.0.1:${this.#syslog.port}`, ca };
    return { syslog, webhook: { url: this.#webhook.url, ca } };
  }

  /** What each of them has received, as lines. */
  get received(): readonly (readonly string[])[] {
    const messages = this.#syslog.messages.map((message) => message.slice(message.indexOf("{")));
    const events = this.#webhook.posts.flatMap((post) => post.events);
    return [messages, events.map((event) => JSON.stringify(event))];
  }

  /** Writes lines to the files: for each its own, or, as somebody who controls them, the same for all. */
  async write(lines: readonly (readonly string[])[]): Promise<void> {
    for (const [at, file] of this.files.entries()) {
      await writeFile(file, (lines[at] ?? lines[0] ?? []).map((line) => `${line}\n`).join(""));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syslog[Symbol.asyncDispose]();
    await this.#webhook[Symbol.asyncDispose]();
  }
}
