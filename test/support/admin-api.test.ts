import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createAuthority } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { PatientClient } from "./admin-api.ts";

test("a patient client asks again with the same key until the service can say yes or no", async () => {
  const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const authority = await createAuthority({ commonName: "test", ...day });
  const issued = await authority.issue({ commonName: "node", hosts: ["127.0.0.1"], ...day });
  const answers = [
    { status: 503, body: { code: "storeUnavailable" } },
    undefined,
    { status: 503, body: { code: "peerUnreachable" } },
    { status: 201, body: { secret: "made" } },
    { status: 409, body: { code: "nameTaken" } },
  ];
  const keys: unknown[] = [];
  const identity = { cert: issued.certificate, key: issued.key };
  await using server = createServer(identity, ({ headers, socket }, answer) => {
    keys.push(headers["idempotency-key"]);
    const next = answers.shift();
    if (next === undefined) socket.destroy();
    else answer.writeHead(next.status).end(JSON.stringify(next.body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const urls = [`https://127.0.0.1:${port}`];
  await using client = new PatientClient({ urls, token: "t", ca: authority.certificate });
  const make = () => client.call("createToken", { body: { name: "one", roles: ["viewer"] } });
  expect(await make()).toEqual({ secret: "made" });
  await expect(make()).rejects.toMatchObject({ code: "nameTaken" });
  expect([keys.length, new Set(keys.slice(0, 4)).size, new Set(keys).size]).toEqual([5, 1, 2]);
});
