import { ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { PeerCommands } from "./peer-commands.ts";

/** Two regions that send each other their bytes; `meddle` changes those of an answer. */
function pair(meddle: (answer: Uint8Array) => Uint8Array = (answer) => answer) {
  const unexpected: unknown[] = [];
  const b = new PeerCommands({
    region: "b",
    peers: [],
    unexpected: (error) => unexpected.push(error),
  });
  const a = new PeerCommands({
    region: "a",
    peers: [
      {
        region: "b",
        state: () => "up",
        manage: async (command) => meddle(await b.answer(command)),
      },
    ],
    unexpected: () => undefined,
  });
  return { a, b, unexpected };
}

const refused = (code: string) => expect.objectContaining({ name: "ManagementError", code });

describe("a command for the other region", () => {
  test("is carried out there", async () => {
    const { a, b } = pair();
    b.serve({ countStates: async ({ instance }) => ({ states: { [instance]: 7 } }) });
    expect(await a.ask("b", "countStates", { instance: "i" })).toEqual({ states: { i: 7 } });
    expect(a.others).toEqual(["b"]);
  });

  test("that it refuses is refused here, with the region's name", async () => {
    const { a, b } = pair();
    b.serve({
      countStates: async () => {
        throw new ManagementError("rootDenied", "no permission");
      },
    });
    await expect(a.ask("b", "countStates", { instance: "i" })).rejects.toMatchObject({
      code: "rootDenied",
      message: "region b: no permission",
    });
  });

  test("does not reveal an internal error", async () => {
    const { a, b, unexpected } = pair();
    b.serve({ countStates: () => Promise.reject(new Error("secret")) });
    const failure = a.ask("b", "countStates", { instance: "i" });
    await expect(failure).rejects.toEqual(refused("internal"));
    await expect(failure).rejects.not.toThrow("secret");
    expect(unexpected).toHaveLength(1);
  });

  test("that the other region does not know is refused as peerUnreachable", async () => {
    const { a } = pair();
    const failure = a.ask("b", "countStates", { instance: "i" });
    await expect(failure).rejects.toEqual(refused("peerUnreachable"));
    await expect(failure).rejects.toThrow("does not know countStates");
  });

  test.each([
    ["nothing", ""],
    ["other JSON", "[1]"],
    ["an invalid value", '{"value":{"states":{"x":"many"}}}'],
  ])("that is answered with %s counts as not answered", async (_, answer) => {
    const { a } = pair(() => Buffer.from(answer));
    const failure = a.ask("b", "countStates", { instance: "i" });
    await expect(failure).rejects.toBeInstanceOf(ManagementError);
  });

  test.each(["", "{", "[]", "7", '{"command":7}', '{"command":"has","input":{"records":[7]}}'])(
    "in invalid bytes is refused: %s",
    async (bytes) => {
      const { b, unexpected } = pair();
      b.serve({ has: async () => ({ had: [] }) });
      const answer = JSON.parse(Buffer.from(await b.answer(Buffer.from(bytes))).toString());
      expect(answer).toMatchObject({ problem: "invalid" });
      expect(unexpected).toEqual([]);
    },
  );

  test("to an unreachable region is refused with that reason", async () => {
    const { a, b } = pair();
    let told = "";
    b.answer = () => Promise.reject(new StoreUnavailable("peerUnreachable", told));
    for (const [message, says] of [
      ["cut off", "region b: cut off"],
      ["region b cannot be asked: cut off", "region b cannot be asked: cut off"],
    ] as const) {
      told = message;
      await expect(a.ask("b", "has", { records: [] })).rejects.toMatchObject({
        code: "peerUnreachable",
        message: says,
      });
    }
    await expect(a.ask("c", "has", { records: [] })).rejects.toEqual(refused("invalid"));
  });
});
