import { rootOfTrustConformance } from "@holdfast/engine/testing";
import { afterAll, beforeAll, describe } from "vitest";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { openRoot } from "../support/key-protect/root.ts";

const failures = ["unavailable", "denied", "disabled", "gone"] as const;

const kinds = ["key-protect", "dedicated-key-protect", "hpcs"] as const;

describe.each(kinds)("the stand-in of %s", (kind) => {
  let manager: KeyManager;
  beforeAll(async () => {
    manager = await startKeyManager({ kind });
  });
  afterAll(async () => {
    await manager.close();
  });

  rootOfTrustConformance(
    kind,
    async () => {
      const rootKey = await manager.createRootKey();
      const root = await openRoot(manager, { rootKey });
      return {
        subject: root,
        rotate: () => manager.change(rootKey, "rotate"),
        fail: {
          // 501 is not retried, so the test need not wait for the deadline.
          unavailable: () => manager.switch({ status: 501 }),
          denied: () => manager.role("None"),
          disabled: () => manager.change(rootKey, "disable"),
          gone: () => manager.change(rootKey, "delete"),
        },
        mend: async () => {
          await manager.heal();
          await manager.role("Manager");
          await manager.change(rootKey, "restore");
        },
        close: async () => {
          await root.close();
          await manager.heal();
          await manager.role("Manager");
        },
      };
    },
    { rotates: true, failures, mends: failures },
  );
});
