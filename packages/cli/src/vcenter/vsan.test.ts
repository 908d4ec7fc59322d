import { expect, test } from "vitest";
import { vsanSteps } from "./vsan.ts";

test.each(["'", "\u2018", "\u2019", "\u201a", "\u201b"])(
  "a cluster with %s in its name cannot add a command to what is pasted into PowerShell",
  (mark) => {
    const [last = ""] = vsanSteps(`a${mark}); Stop-VM * #`, "kms").slice(-1);
    expect(last).toContain(`(Get-Cluster -Name 'a${mark}${mark}); Stop-VM * #')`);
  },
);
