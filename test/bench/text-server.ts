import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** How large the text is. */
export interface TextRequest {
  readonly bytes: number;
}

/** Where it is served. */
export interface TextAnswer {
  readonly port: number;
}

/** The least that a Node process can do for a scraper: every request gets the same text. */
async function serve({ bytes }: TextRequest): Promise<TextAnswer> {
  const text = Buffer.alloc(bytes, "#");
  const server = createServer((_, response) => response.end(text));
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port };
}

process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.on("message", (request: TextRequest) => {
  serve(request)
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1));
});
