import { getFips } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { readClientHello } from "./client-hello.ts";

/** The first bytes that a real client sends. */
async function helloOf(options: object): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      if (readClientHello(Buffer.concat(chunks)) !== "unfinished") socket.destroy();
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", ...options });
  client.on("error", () => undefined);
  await new Promise((resolve) => client.once("close", resolve));
  server.close();
  return Buffer.concat(chunks);
}

async function isRead(options: object, version: number, suite: number): Promise<void> {
  const bytes = await helloOf({ ...options, servername: "kms.example" });
  const hello = readClientHello(bytes);
  expect(hello).toMatchObject({ version });
  expect(hello).toHaveProperty("suites", expect.arrayContaining([suite]));
  for (let end = 0; end < bytes.length; end++) {
    expect(readClientHello(bytes.subarray(0, end))).toBe("unfinished");
  }
}

test.each([
  ["TLS 1.2 and 1.3", {}, 0x03_04, 0x13_01],
  ["TLS 1.2", { maxVersion: "TLSv1.2", ciphers: "AES128-SHA256" }, 0x03_03, 0x00_3c],
])("the ClientHello of a client that offers %s is read", (_, options, version, suite) =>
  isRead(options, version, suite),
);

test.skipIf(getFips() === 1)(
  "the ClientHello of a client that offers TLS 1.1 is read (needs TLS 1.1, which FIPS mode refuses)",
  () => {
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" };
    return isRead(old, 0x03_02, 0xc0_14);
  },
);

test("a ClientHello split over many records is read as one message", async () => {
  const whole = await helloOf({});
  const body = whole.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < body.length; at += 7) {
    const part = body.subarray(at, at + 7);
    records.push(Buffer.from([22, 3, 1, 0, part.length]), part);
  }
  expect(readClientHello(Buffer.concat(records))).toEqual(readClientHello(whole));
});

test.each([
  ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ["an alert", Buffer.from([21, 3, 3, 0, 2, 1, 0])],
  ["a ServerHello", Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0])],
  ["a message with wrong lengths", Buffer.from([22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 9, 9])],
  [
    "an endless series of records",
    Buffer.concat(new Array(32_768 / 8).fill(Buffer.from([22, 3, 1, 0, 3, 1, 255, 255]))),
  ],
])("%s is not a ClientHello", (_, bytes) => {
  expect(readClientHello(bytes)).toBeUndefined();
});

test("a ClientHello with any byte changed never makes the reader throw", async () => {
  const whole = await helloOf({});
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 1, 127, 255]) {
      const changed = Buffer.from(whole);
      changed[at] = value;
      expect(() => readClientHello(changed)).not.toThrow();
    }
  }
});
