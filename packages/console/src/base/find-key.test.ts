import { AdminProblem } from "@holdfast/admin/errors";
import { beforeEach, expect, test, vi } from "vitest";
import { findKey, type Instance } from "./find-key.ts";

const asked = vi.hoisted(() => ({ instances: [] as string[] }));
vi.mock("./api.ts", () => ({
  call: (_: string, { params }: { params: { instance: string; key: string } }) => {
    asked.instances.push(params.instance);
    if (params.instance !== "id of two") {
      return Promise.reject(new AdminProblem(404, { code: "notFound" }, undefined));
    }
    return Promise.resolve({ id: params.key });
  },
}));

const id = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
const instances = ["one", "two", "three"].map(
  (name) => ({ id: `id of ${name}`, name }) as unknown as Instance,
);

beforeEach(() => {
  asked.instances.length = 0;
});

test("finds a key in whichever instance it is, and looks first where it is likely", async () => {
  const held = await findKey(id, instances, "three");
  expect(held).toMatchObject({ key: { id }, instance: { name: "two" } });
  expect(asked.instances).toEqual(["id of three", "id of one", "id of two"]);
  asked.instances.length = 0;
  await findKey(id, instances, "id of two");
  expect(asked.instances).toEqual(["id of two"]);
});

test("finds nothing where no instance has it, and does not ask for another form", async () => {
  expect(await findKey(id, instances.slice(0, 1), "")).toBeUndefined();
  asked.instances.length = 0;
  expect(await findKey("key/1", instances, "")).toBeUndefined();
  expect(asked.instances).toEqual([]);
});
