import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readDeclaration } from "./apply-file.ts";

const [pem = ""] = rootCertificates;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-declaration-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

describe("a declaration", () => {
  test("is read together with the files that it names, which are in its folder", () => {
    write("vcenter.pem", pem);
    write("esx.password", "a long password\nmore");
    write("api.key", "the key\r\n");
    const path = write(
      "instances.yaml",
      `instances:
  - name: kmip-prod
    labels: { group: finance }
    rootOfTrust:
      a: { type: key-protect, instanceId: i, rootKey: k, apiKey: { fromFile: api.key } }
      b: { type: pkcs11, token: t, rootKey: k, pin: { env: HOLDFAST_ROOT_PIN } }
    certificates:
      - { name: vcenter, file: vcenter.pem }
    users:
      - { name: esx, passwordFile: esx.password }
`,
    );
    const [one, ...more] = readDeclaration(path);
    expect(more).toEqual([]);
    expect(one).toMatchObject({
      name: "kmip-prod",
      description: undefined,
      labels: { group: "finance" },
      roots: {
        a: { type: "key-protect", instanceId: "i", rootKey: "k", apiKey: { value: "the key" } },
        b: { type: "pkcs11", token: "t", rootKey: "k", pin: { env: "HOLDFAST_ROOT_PIN" } },
      },
      certificates: [{ name: "vcenter", kind: "client", pem }],
    });
    expect(one?.users[0]?.password()).toBe("a long password");
  });

  test.each([
    ["instances: [", "not YAML"],
    ["instances: []\n---\ninstances: []", "has a second YAML document"],
    ["{}", "instances.yaml: instances is missing"],
    ["7", "instances.yaml: the file must be an object"],
    ["instance: []", 'instances.yaml: unknown field "instance"; there are: instances'],
    [
      "instances: [{ nam: a }]",
      'instances.yaml: instances[0]: unknown field "nam"; there are: name, description, labels, ',
    ],
    ["instances: [{ name: [a] }]", "instances.yaml: instances[0].name must be a text"],
    [
      "instances: [{ name: a, rootOfTrust: { a: { type: hpcs, apiKey: secret-text } } }]",
      'instance "a": rootOfTrust.a.apiKey must be { fromFile: FILE }, or { env: NAME } or { file: NAME }',
    ],
    ["instances: [null]", "instances.yaml: instances[0] must be an object"],
    ["instances: [{ name: a }, { name: a }]", "instance a is declared twice"],
    ["instances: [{ name: a, descripton: b }]", 'instance "a": unknown field "descripton"'],
    [
      "instances: [{ name: a, certificates: [{ name: b, fil: c }] }]",
      'instance "a": certificates[0]: unknown field "fil"; there are: name, kind, file',
    ],
    [
      "instances: [{ name: a, users: [{ name: b }] }]",
      'instances.yaml: instance "a": users[0].passwordFile is missing',
    ],
    [
      "instances: [{ name: a, rootOfTrust: { a: { type: nonsense } } }]",
      'instance "a": rootOfTrust.a.type must be one of local, key-protect, dedicated-key-protect, hpcs, pkcs11',
    ],
    [
      "instances: [{ name: a, certificates: [{ name: b, file: missing.pem }] }]",
      "missing.pem: no such file; give another path",
    ],
    [
      "instances: [{ name: a, certificates: [{ name: b, file: . }] }]",
      ": is a directory; give a file",
    ],
    [
      "instances: [{ name: a, certificates: [{ name: b, file: instances.yaml }] }]",
      "instances.yaml: holds no certificate",
    ],
  ])("%j is refused with its place in the file", (content, wanted) => {
    const path = write("instances.yaml", content);
    expect(() => readDeclaration(path)).toThrow(
      expect.objectContaining({ name: "Failure", message: expect.stringContaining(wanted) }),
    );
  });

  test("must not contain a secret; its refusal does not repeat one", () => {
    const content =
      "instances: [{ name: a, rootOfTrust: { a: { type: key-protect, apiKey: very-secret } } }]";
    const path = write("instances.yaml", content);
    const read = () => readDeclaration(path);
    expect(read).toThrow("apiKey");
    expect(read).not.toThrow("very-secret");
  });
});
