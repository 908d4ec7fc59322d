import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { contextOptions } from "@holdfast/server";
import { answerKey, type BareAnswer, type BareRequest } from "./bare.ts";

/**
 * The least that a Node process can do for a KMIP client: it uses mutual TLS with the endpoint's options, reads the
 * length of a request, and sends back bytes that a real node once answered. It asks for the client's certificate but
 * does not check it.
 */
const headerBytes = 8;

async function serve({ certificate, key, answers }: BareRequest): Promise<BareAnswer> {
  const known = new Map(
    answers.map(([request, answer]) => [
      answerKey(Buffer.from(request, "base64")),
      Buffer.from(answer, "base64"),
    ]),
  );
  const server = createServer({
    ...contextOptions({ pairs: [{ certificate, key }], leaves: [] }, "default"),
    requestCert: true,
    rejectUnauthorized: false,
    noDelay: true,
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  server.on("secureConnection", (socket: TLSSocket) => answerAll(socket, known));
  server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 });
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port };
}

/** Sends one answer for each complete request. */
function answerAll(socket: TLSSocket, known: ReadonlyMap<number, Buffer>): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (bytes.length >= headerBytes) {
      const length = headerBytes + bytes.readUInt32BE(4);
      if (bytes.length < length) break;
      const answer = known.get(answerKey(bytes.subarray(0, length)));
      if (answer === undefined) socket.destroy();
      else socket.write(answer);
      bytes = bytes.subarray(length);
    }
    rest = bytes;
  });
}

process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.on("message", (request: BareRequest) => {
  serve(request)
    .catch((error: unknown): BareAnswer => ({ error: String(error) }))
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1));
});
