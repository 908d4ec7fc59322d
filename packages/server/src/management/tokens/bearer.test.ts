import { expect, test } from "vitest";
import { authenticator, type Bearer, paced } from "./bearer.ts";

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
  expect(await asked(header)).toBe(bearer);
  expect(await asked(header)).toBe(bearer);
  expect(looks).toBe(1);
});

test("an unknown token stays unknown, with or without another read", async () => {
  const own = { verify: () => "unknown" as const };
  expect(await authenticator(own, undefined, async () => undefined)(header)).toBe("unknown");
  expect(await authenticator(own)(header)).toBe("unknown");
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
