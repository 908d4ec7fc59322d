import { expect, test } from "vitest";
import { authenticator, type Bearer, paced, vcenterToken } from "./bearer.ts";

const bearer: Bearer = {
  id: "t",
  name: "ci",
  roles: ["viewer"],
  instances: undefined,
  expiresMs: undefined,
};
const header = "Bearer hf_0123456789abcdef";

test("a token that was made at another node a moment ago is found by one more read", async () => {
  let looks = 0;
  const own = { verify: () => (looks === 0 ? ("unknown" as const) : bearer) };
  const asked = authenticator(own, undefined, async () => {
    looks += 1;
  });
  expect(await asked(header, "192.0.2.1")).toBe(bearer);
  expect(await asked(header, "192.0.2.1")).toBe(bearer);
  expect(looks).toBe(1);
});

test("an unknown token stays unknown, with or without another read", async () => {
  const own = { verify: () => "unknown" as const };
  expect(await authenticator(own, undefined, async () => undefined)(header, "192.0.2.1")).toBe(
    "unknown",
  );
  expect(await authenticator(own)(header, "192.0.2.1")).toBe("unknown");
});

test("a client that guesses tokens makes the store read at most at a fixed pace", async () => {
  let [nowMs, reads] = [0, 0];
  const look = paced(
    async () => {
      reads += 1;
      throw new Error("no store");
    },
    100,
    () => nowMs,
  );
  for (let at = 0; at < 50; at += 1) await look();
  expect(reads).toBe(1);
  nowMs = 100;
  await look();
  expect(reads).toBe(2);
});

test("a session of the vSphere Client is checked by its vCenter, and is unknown where none is configured", async () => {
  const own = { verify: () => "unknown" as const };
  const vcenters = { verify: async (token: string) => ({ ...bearer, name: token }) };
  const token = vcenterToken("4c2c0b5a-6f3d-4d8e-9a77-0f6f1f0e9e3f", "a token/ü");
  const session = `Bearer ${token}`;
  expect(
    await authenticator(own, undefined, undefined, vcenters)(session, "192.0.2.1"),
  ).toMatchObject({
    name: token,
  });
  expect(await authenticator(own, undefined, undefined, vcenters)(header, "192.0.2.1")).toBe(
    "unknown",
  );
  expect(await authenticator(own)(session, "192.0.2.1")).toBe("unknown");
});
