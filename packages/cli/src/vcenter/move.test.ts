import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { move } from "./move.ts";
import { type TestAnswers, type TestObjects, testVcenter } from "./testing/test-vcenter.ts";
import { VcenterFault } from "./vi-json.ts";

let folder: string;
let said: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-move-"));
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const key = (provider: string) => ({ keyId: "key", providerId: { id: provider } });

/** Moves everything in a vCenter from one provider to another. */
async function moved(objects: TestObjects, answers: TestAnswers): Promise<void> {
  const providers = ["ibm", "holdfast"].map((id) => ({ clusterId: { id } }));
  const vcenter = testVcenter(objects, {
    ListKmsClusters: () => providers,
    RetrieveKmipServersStatus_Task: () => [
      { clusterId: { id: "holdfast" }, overallStatus: "green" },
    ],
    GenerateKey: () => ({ success: true, keyId: { keyId: "new" } }),
    ListVStorageObject: () => [],
    ...answers,
  });
  const { ClusterComputeResource: clusters = [] } = objects;
  const flags = { trackedToo: false, dryRun: false, machines: undefined };
  const wanted = {
    from: "ibm",
    to: "holdfast",
    atOnce: 1,
    vsan: clusters.map(({ name }) => String(name)),
    ...flags,
  };
  await move(vcenter, { ...wanted, journal: join(folder, "journal") });
}

test("a first-class disk that still has its old key after its task is not moved", async () => {
  const Datastore = [{ name: "data", summary: { accessible: true } }];
  const backing = { keyId: key("ibm") };
  const ended = moved(
    { Datastore },
    {
      ListVStorageObject: () => [{ id: "disk-1" }],
      RetrieveVStorageObject: () => ({ config: { name: "disk", backing } }),
    },
  );
  await expect(ended).rejects.toThrow("1 things were not moved");
  expect(said).toContain("failed: first-class disk disk: vCenter says that it is done, and a part");
});

test("a vSAN key that was not shown before the re-key is new only if vCenter says that the provider has it", async () => {
  const shownFirst = { kmsProviderId: { id: "ibm" }, hostKeyId: "old-host" };
  const shownThen = { kmsProviderId: { id: "holdfast" }, kekId: "kek", hostKeyId: "new-host" };
  const cluster = { name: "c-1", configurationEx: { vsanConfigInfo: { enabled: true } } };
  const movedWith = async (keyAvailable: boolean) => {
    let shown: object = shownFirst;
    await moved(
      { ClusterComputeResource: [cluster] },
      {
        VsanClusterGetConfig: () => ({
          dataEncryptionConfig: { encryptionEnabled: true, ...shown },
        }),
        VsanEncryptedClusterRekey_Task: () => {
          shown = shownThen;
        },
        QueryCryptoKeyStatus: () => [{ keyAvailable, reason: "KeyStateMissingInKMS" }],
      },
    );
  };
  await expect(movedWith(false)).rejects.toThrow("1 things were not moved");
  expect(said).toContain("holdfast does not have its key kek: re-key the cluster");
  await movedWith(true);
  expect(said).toContain("1 things were moved");
});

test("a template that cannot be one again now is named, and keeps nothing else from being moved", async () => {
  writeFileSync(join(folder, "journal"), "open vc.example vm-1\nopen vc.example vm-2\n");
  const states = ["poweredOn", "poweredOff"];
  const ended = moved(
    {},
    {
      MarkAsTemplate: () => {
        if (states.shift() === "poweredOn") throw new VcenterFault("InvalidPowerState", "it runs");
      },
    },
  );
  await expect(ended).rejects.toThrow("1 things were not moved");
  expect(said).toContain("left to you: vm-1, which was a template: make it one again (it runs)");
  expect(said).toContain("vm-2 is a template again");
});
