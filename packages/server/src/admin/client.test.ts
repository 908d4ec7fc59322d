import { AdminClient, AdminProblem } from "@holdfast/admin";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  bearer,
  sampleEvent as event,
  sampleInstance as instance,
  instanceNames,
  openerOf,
  tokenOf,
} from "../testing/admin.ts";

const open = openerOf(onTestFinished);
const [, two = ""] = Object.keys(instanceNames);
const manager = tokenOf("manager");

describe("the typed client", () => {
  test("calls, pages, and turns refusals into errors", async () => {
    const admin = await open({
      handlers: {
        listInstances: async ({ query }) =>
          query.cursor === undefined
            ? { items: [instance], next: "2" }
            : { items: [{ ...instance, name: "kmip-two" }] },
        readInstance: async ({ params }) => ({ ...instance, name: params.instance }),
      },
    });
    await using client = new AdminClient({
      urls: ["https://127.0.0.1:1", admin.url],
      token: manager,
      ca: admin.ca,
    });
    const names: string[] = [];
    for await (const { name } of client.items("listInstances", { query: { limit: 1 } }))
      names.push(name);
    expect(names).toEqual(["kmip-one", "kmip-two"]);
    const read = await client.call("readInstance", { params: { instance: "kmip-two" } });
    expect(read.name).toBe(two);
    const refused = client.call("readInstance", { params: { instance: ".." } });
    await expect(refused).rejects.toMatchObject({
      name: "AdminProblem",
      code: "notFound",
      status: 404,
    });
    await expect(refused).rejects.toBeInstanceOf(AdminProblem);
  });

  test("trusts only its own authority", async () => {
    const [admin, other] = [await open(), await open()];
    await using client = new AdminClient({ urls: [admin.url], token: manager, ca: other.ca });
    await expect(client.call("whoAmI", {})).rejects.toMatchObject({ name: "AdminUnreachable" });
  });

  test("follows events, and continues after a connection ends", async () => {
    const seen: (string | undefined)[] = [];
    const admin = await open({
      handlers: {
        followEvents: async function* ({ lastEventId }) {
          seen.push(lastEventId);
          yield { ...event, id: `${seen.length}-1` };
          yield { ...event, id: `${seen.length}-2` };
        },
      },
    });
    await using client = new AdminClient({ urls: [admin.url], token: manager, ca: admin.ca });
    const end = new AbortController();
    const got: unknown[] = [];
    for await (const one of client.follow("followEvents", { query: {} }, end.signal)) {
      got.push((one as { id?: unknown }).id);
      if (got.length === 4) end.abort();
    }
    expect(got).toEqual(["1-1", "1-2", "2-1", "2-2"]);
    expect(seen).toEqual([undefined, "1-2"]);
  });

  test("ends an event stream when its token is revoked", async () => {
    const tokens: Record<string, ReturnType<typeof bearer> | "revoked"> = {
      [`hf_gone_${"w".repeat(32)}`]: bearer("viewer"),
    };
    const admin = await open({
      tokens,
      handlers: {
        followEvents: async function* ({ signal }) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
          yield* [];
        },
      },
    });
    const [token = ""] = Object.keys(tokens);
    const stream = admin.ask("/v1/events/stream", { token });
    await expect.poll(() => admin.events.length).toBeGreaterThan(0);
    tokens[token] = "revoked";
    await expect(stream).resolves.toMatchObject({ status: 200 });
  });
});
