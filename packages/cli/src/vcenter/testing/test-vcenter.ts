import type { Vcenter } from "../vi-json.ts";

/** Objects with their properties, by type; the second one of a type has the identifier `TYPE-1`. */
export type TestObjects = Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;

/** What a method answers; other methods answer with a reference that means nothing. */
export type TestAnswers = Readonly<Record<string, (body: never) => unknown>>;

/** A vCenter in this process. Its tasks have ended at once, and it has no first-class disks unless an answer says so. */
export function testVcenter(objects: TestObjects, answers: TestAnswers = {}): Vcenter {
  const reference = { type: "X", value: "x" };
  let type = "";
  const retrieved = () => {
    const found = (objects[type] ?? []).map((values, at) => ({
      obj: { type, value: `${type}-${at}` },
      propSet: Object.entries(values).map(([name, val]) => ({ name, val })),
    }));
    return found.length === 0 ? undefined : { objects: found };
  };
  const call = async (_: unknown, method: string, body: unknown) => {
    if (method === "RetrievePropertiesEx") return retrieved();
    if (method === "CreateContainerView") [type = ""] = (body as { type: string[] }).type;
    return answers[method] === undefined ? reference : answers[method](body as never);
  };
  const callAt = (_: string, ...rest: Parameters<typeof call>) => call(...rest);
  const managers = { viewManager: reference, rootFolder: reference, propertyCollector: reference };
  const content = { ...managers, vStorageObjectManager: reference, about: {} };
  const property = async () => undefined;
  const asked = { call, callAt, property, task: call, taskAt: callAt };
  return { host: "vc.example", content, cryptoManager: reference, ...asked } as never;
}
