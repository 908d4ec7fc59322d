import {
  appendFile,
  mkdir,
  mkdtemp,
  mkdtempDisposable,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainedEntry } from "@holdfast/regions";
import { createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { purposes } from "../../base/certificates.ts";
import {
  cadf,
  entriesOf,
  type Post,
  SyslogReceiver,
  WebhookReceiver,
} from "../../testing/receivers.ts";
import { FileSink } from "./file-sink.ts";
import { checkSinkFiles, webhookSecret } from "./sink-files.ts";
import { SyslogSink, type SyslogSinkOptions } from "./syslog-sink.ts";
import { WebhookSink, type WebhookSinkOptions } from "./webhook-sink.ts";

const ids = (entries: readonly ChainedEntry[]) =>
  entries.map(({ number }) => `store-3-${number}-o`);
const signal = new AbortController().signal;

let ca: string;
let strangers: string;
let server: Issued;
let client: Issued;

beforeAll(async () => {
  const request = { notBeforeMs: Date.now() - 60_000, days: 2 };
  const authority = await createAuthority({ ...request, commonName: "receivers" });
  const other = await createAuthority({ ...request, commonName: "strangers" });
  ca = authority.certificate;
  strangers = other.certificate;
  const hosts = ["127.0.0.1", "siem.example"];
  server = await authority.issue({
    ...request,
    commonName: "siem",
    hosts,
    purposes: [purposes.serverAuth],
  });
  client = await authority.issue({
    ...request,
    commonName: "node",
    purposes: [purposes.clientAuth],
  });
});

const identity = () => ({ cert: server.certificate, key: server.key });

describe("file", () => {
  let folder: string;
  let path: string;
  let nowMs: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-sink-"));
    path = join(folder, "audit.jsonl");
    nowMs = Date.now();
  });
  afterEach(() => rm(folder, { recursive: true }));

  function open(more: { bytesMax?: number; ageMs?: number; filesMax?: number } = {}): FileSink {
    const { bytesMax = 1e9, ageMs = 1e12, filesMax = 100 } = more;
    return new FileSink({ path, bytesMax, ageMs, filesMax, clock: { wallMs: () => nowMs } }, cadf);
  }

  const idsIn = async (file = path) =>
    (await readFile(file, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).id);

  test("has one JSON object per line, and only its owner can read it", async () => {
    await writeFile(path, "", { mode: 0o644 });
    await using sink = open();
    const entries = entriesOf(5);
    await sink.deliver(entries.slice(0, 2));
    await sink.deliver(entries.slice(2));
    expect(await idsIn()).toEqual(ids(entries));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const [line = ""] = (await readFile(path, "utf8")).split("\n");
    expect(JSON.parse(line)).toMatchObject({
      action: "vmware-solutions.kmip-key.read",
      holdfast: { store: "store", partition: 3, number: 1, hash: "00".repeat(32) },
    });
  });

  test("is rotated by size and by age, and only `filesMax` rotated files are kept", async () => {
    await using sink = open({ bytesMax: 4_000, filesMax: 2, ageMs: 3_600_000 });
    for (const entry of entriesOf(9)) {
      await sink.deliver([entry]);
      nowMs += 1_000;
    }
    const files = (await readdir(folder)).toSorted();
    expect(files).toHaveLength(3);
    expect(files[0]).toMatch(/^audit-\d{8}T\d{9}Z\.jsonl$/);
    for (const name of files) {
      const { size, mode } = await stat(join(folder, name));
      expect(size).toBeLessThanOrEqual(4_000);
      expect(mode & 0o777).toBe(0o600);
    }
    const all = (await Promise.all(files.map((name) => idsIn(join(folder, name))))).flat();
    expect(all).toEqual(ids(entriesOf(9)).slice(-all.length));
    nowMs += 3_700_000;
    await sink.deliver(entriesOf(1));
    expect(await idsIn()).toHaveLength(1);
  });

  test("is created anew after somebody else has renamed or removed it", async () => {
    await using sink = open();
    const entries = entriesOf(3);
    await sink.deliver(entries.slice(0, 1));
    await rename(path, `${path}.1`);
    await sink.deliver(entries.slice(1, 2));
    await rm(path);
    await sink.deliver(entries.slice(2));
    expect(await idsIn()).toEqual(ids(entries.slice(2)));
  });

  test("loses a partial line that a crash has left", async () => {
    const entries = entriesOf(2);
    {
      await using sink = open();
      await sink.deliver(entries.slice(0, 1));
    }
    await appendFile(path, `{"id":"half ${"x".repeat(200_000)}`);
    await using sink = open();
    await sink.deliver(entries.slice(1));
    expect(await idsIn()).toEqual(ids(entries));
  });

  test("causes an error each time if its folder is missing or its path cannot be written", async () => {
    path = join(folder, "no", "audit.jsonl");
    await using sink = open();
    await expect(sink.deliver(entriesOf(1))).rejects.toThrow("ENOENT");
    await mkdir(path, { recursive: true });
    await expect(sink.deliver(entriesOf(1))).rejects.toThrow("EISDIR");
    await rm(path, { recursive: true });
    await sink.deliver(entriesOf(1));
    expect(await idsIn()).toHaveLength(1);
  });
});

describe("syslog over TLS", () => {
  let receiver: SyslogReceiver;

  beforeEach(async () => {
    receiver = await SyslogReceiver.open(identity());
  });
  afterEach(() => receiver[Symbol.asyncDispose]());

  function open(more: Partial<SyslogSinkOptions> = {}): SyslogSink {
    return new SyslogSink(
      {
        address: { host: "127.0.0.1", port: receiver.port },
        tls: () => ({ ca }),
        ...{ hostname: "a1", facility: 13, timeoutMs: 3_000, settleMs: 20 },
        ...more,
      },
      cadf,
    );
  }

  const arrived = (count: number) => expect.poll(() => receiver.messages.length).toBe(count);

  test("sends messages in the form of RFC 5424, each framed by its length, over one connection", async () => {
    await using sink = open();
    const entries = entriesOf(300, { target: "ключ 🗝" });
    await sink.deliver(entries.slice(0, 250), signal);
    await sink.deliver(entries.slice(250), signal);
    await arrived(300);
    expect(receiver.connections).toBe(1);
    const [first = ""] = receiver.messages;
    const [, priority, time, host, app, process, id, data, text = ""] =
      /^<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (.*)$/.exec(first) ?? [];
    expect([priority, host, app, process, id, data]).toEqual([
      String(13 * 8 + 6),
      "a1",
      "holdfast",
      "-",
      "kmip-key.read",
      "-",
    ]);
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\dZ$/);
    expect(JSON.parse(text)).toMatchObject({ id: "store-3-1-o", target: { name: "ключ 🗝" } });
    expect(first).toMatch(/^[\x20-\x7e]+$/);
  });

  test("sends each message with the severity of its event", async () => {
    await using sink = open({ facility: 10 });
    const failure = { outcome: "failure", reason: "PermissionDenied" } as const;
    await sink.deliver(entriesOf(1, failure), signal);
    await arrived(1);
    expect(receiver.messages[0]).toMatch(/^<82>1 /);
  });

  test("connects again after the connection was cut, and loses nothing", async () => {
    await using sink = open();
    const entries = entriesOf(2);
    await sink.deliver(entries.slice(0, 1), signal);
    await arrived(1);
    receiver.cut();
    // The first try may notice the cut only when it writes; a rejected batch is delivered again.
    await expect
      .poll(() =>
        sink.deliver(entries.slice(1), signal).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    await expect.poll(() => receiver.messages.at(-1)).toContain("store-3-2-o");
    expect(receiver.connections).toBeGreaterThan(1);
  });

  test("fails in time if the receiver reads nothing", async () => {
    receiver.deaf = true;
    await using sink = open({ timeoutMs: 300 });
    const large = entriesOf(1_500, { detail: { message: "x".repeat(8_000) } });
    await expect(sink.deliver(large, signal)).rejects.toThrow("took longer than 300 ms");
  });

  test("sends nothing to a receiver with another authority's certificate or name, and fails without one", async () => {
    await using wrong = open({ tls: () => ({ ca: strangers }) });
    await expect(wrong.deliver(entriesOf(1), signal)).rejects.toThrow();
    await using named = open({ serverName: "another.example" });
    await expect(named.deliver(entriesOf(1), signal)).rejects.toThrow("another.example");
    const { port } = receiver;
    await receiver[Symbol.asyncDispose]();
    receiver = await SyslogReceiver.open(identity());
    await using nobody = open({ address: { host: "127.0.0.1", port } });
    await expect(nobody.deliver(entriesOf(1), signal)).rejects.toThrow("ECONNREFUSED");
    expect(receiver.messages).toEqual([]);
  });

  test("shows its certificate if the receiver asks for one, and checks the receiver's name", async () => {
    await using strict = await SyslogReceiver.open(identity(), ca);
    const { certificate: cert, key } = client;
    const address = { host: "127.0.0.1", port: strict.port };
    await using sink = open({
      address,
      serverName: "siem.example",
      tls: () => ({ ca, cert, key }),
    });
    await sink.deliver(entriesOf(1), signal);
    await expect.poll(() => strict.messages.length).toBe(1);
    await using without = open({ address, settleMs: 300 });
    await expect(without.deliver(entriesOf(1), signal)).rejects.toThrow();
    expect(strict.messages).toHaveLength(1);
  });
});

describe("webhook", () => {
  let receiver: WebhookReceiver;

  beforeEach(async () => {
    receiver = await WebhookReceiver.open(identity());
  });
  afterEach(() => receiver[Symbol.asyncDispose]());

  function open(more: Partial<WebhookSinkOptions> = {}): WebhookSink {
    const options = {
      url: receiver.url,
      ca: () => ca,
      batchMax: 100,
      retryMs: 1,
      timeoutMs: 2_000,
    };
    const authorization = () => ({ Authorization: "Bearer s3cret" });
    return new WebhookSink({ ...options, authorization, chance: () => 0.5, ...more }, cadf);
  }

  const idsOf = (posts: readonly Post[]) => posts.map(({ events }) => events.map(({ id }) => id));

  test("posts arrays of `batchMax` events, with the secret and an idempotency key that repeats", async () => {
    const entries = entriesOf(5);
    await open({ batchMax: 2 }).deliver(entries, signal);
    await open({ batchMax: 2 }).deliver(entries, signal);
    const all = ids(entries);
    const batches = [all.slice(0, 2), all.slice(2, 4), all.slice(4)];
    expect(idsOf(receiver.posts)).toEqual([...batches, ...batches]);
    for (const { headers } of receiver.posts) {
      expect(headers).toMatchObject({
        authorization: "Bearer s3cret",
        "content-type": "application/json",
      });
    }
    const keys = receiver.posts.map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(3);
    expect(keys.slice(0, 3)).toEqual(keys.slice(3));
  });

  test("tries again after a temporary failure, with the same idempotency key", async () => {
    receiver.answers.push(503, "cut", 429);
    await open().deliver(entriesOf(1), signal);
    expect(receiver.posts).toHaveLength(4);
    expect(new Set(receiver.posts.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
  });

  test.each([
    [400, 1],
    [401, 1],
    [307, 1],
    [500, 4],
  ] as const)(
    "reports the status %i after %i tries, with the URL and without a secret",
    async (status, tries) => {
      receiver.answers.push(...Array.from({ length: tries }, () => status));
      const failure = await open()
        .deliver(entriesOf(1), signal)
        .catch((error: Error) => error);
      expect(String(failure)).toMatch(
        new RegExp(`webhook https://127.*/events: answered ${status}$`),
      );
      expect(String(failure)).not.toMatch(/s3cret|in-the-query/);
      expect(receiver.posts).toHaveLength(tries);
    },
  );

  test("halves a batch that is too large", async () => {
    receiver.answers.push(413, 413);
    await open().deliver(entriesOf(4), signal);
    expect(idsOf(receiver.posts).map((batch) => batch.length)).toEqual([4, 2, 1, 1, 2]);
  });

  test("fails in time without an answer, and at once when its signal is aborted", async () => {
    receiver.answers.push("silent", "silent", "silent", "silent", "silent");
    await expect(open({ timeoutMs: 100 }).deliver(entriesOf(1), signal)).rejects.toThrow(
      "no answer within 100 ms",
    );
    const ending = new AbortController();
    const delivering = open({ timeoutMs: 60_000 }).deliver(entriesOf(1), ending.signal);
    setTimeout(() => ending.abort(), 50);
    await expect(delivering).rejects.toThrow();
  });

  test("waits as long as the receiver asks for", async () => {
    await using patient = await WebhookReceiver.open(identity(), "1");
    patient.answers.push(429);
    const began = performance.now();
    await open({ url: patient.url }).deliver(entriesOf(1), signal);
    expect(performance.now() - began).toBeGreaterThan(990);
  });

  test("sends nothing to a receiver with another authority's certificate", async () => {
    const failure = await open({ ca: () => strangers })
      .deliver(entriesOf(1), signal)
      .catch((error: Error) => error);
    expect(String(failure)).toMatch(/webhook .*(certificate|signature)/);
    expect(receiver.posts).toEqual([]);
  });
});

describe("a webhook's secret", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-secret-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("is a file's first line or an environment variable, and never part of an error", async () => {
    const secretFile = join(folder, "secret");
    const of = (secretFile: string | undefined, secretEnv: string | undefined) =>
      webhookSecret({ header: "X-Key", secretFile, secretEnv }, { HOOK: " Splunk 1 " });
    await writeFile(secretFile, "Bearer abc\nmore\n");
    expect(of(secretFile, undefined)).toEqual({ "X-Key": "Bearer abc" });
    expect(of(undefined, "HOOK")).toEqual({ "X-Key": "Splunk 1" });
    expect(of(undefined, undefined)).toEqual({});
    await writeFile(secretFile, "hunter2\u0007\n");
    for (const [path, name] of [
      [secretFile, undefined],
      [undefined, "NONE"],
    ] as const) {
      expect(() => of(path, name)).toThrow("audit.webhook.secret");
      expect(() => of(path, name)).not.toThrow("hunter2");
    }
  });
});

test("files that could open no connection to a receiver are refused by name", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "holdfast-sinks-"));
  const at = (name: string) => join(folder.path, name);
  await writeFile(at("half.pem"), server.certificate.slice(0, 200));
  await writeFile(at("client.pem"), client.certificate);
  await writeFile(at("server.key"), server.key);
  const none = { ca: undefined, certificate: undefined, key: undefined };
  const syslog = (files: object) => () =>
    checkSinkFiles({ syslog: { ...none, ...files }, webhook: undefined }, {});
  expect(syslog({ ca: at("half.pem") })).toThrow(
    `audit.syslog.ca: ${at("half.pem")}: holds no PEM`,
  );
  const pair = { certificate: at("client.pem"), key: at("server.key") };
  expect(syslog(pair)).toThrow(`audit.syslog.key: ${pair.key} is not the key of`);
  const header = { header: "X-Key", secretFile: undefined, secretEnv: undefined };
  const webhook = { ...header, ca: at("half.pem") };
  expect(() => checkSinkFiles({ syslog: undefined, webhook }, {})).toThrow("audit.webhook.ca: ");
});
