import type { PlantedFault } from "./fault.ts";
import { accessFaults } from "./faults/access.ts";
import { approvalFaults } from "./faults/approvals.ts";
import { deletionFaults } from "./faults/deletion.ts";
import { destructionFaults } from "./faults/destruction.ts";
import { dutyFaults } from "./faults/duty.ts";
import { engineFaults } from "./faults/engine.ts";
import { importFaults } from "./faults/imports.ts";
import { joinFaults } from "./faults/join.ts";
import { memoryFaults } from "./faults/memory.ts";
import { peerFaults } from "./faults/peers.ts";
import { protocolFaults } from "./faults/protocol.ts";
import { rekeyFaults } from "./faults/rekey.ts";
import { replayFaults } from "./faults/replays.ts";
import { restFaults } from "./faults/rest.ts";
import { revocationFaults } from "./faults/revocation.ts";
import { scriptFaults } from "./faults/script.ts";
import { servingFaults } from "./faults/serving.ts";
import { sessionFaults } from "./faults/session.ts";
import { storageKeyFaults } from "./faults/storage-keys.ts";
import { valueFaults } from "./faults/values.ts";

/** Every fault that is planted. */
export const faults: readonly PlantedFault[] = [
  ...protocolFaults,
  ...servingFaults,
  ...joinFaults,
  ...sessionFaults,
  ...storageKeyFaults,
  ...memoryFaults,
  ...scriptFaults,
  ...valueFaults,
  ...engineFaults,
  ...dutyFaults,
  ...deletionFaults,
  ...rekeyFaults,
  ...destructionFaults,
  ...importFaults,
  ...revocationFaults,
  ...accessFaults,
  ...restFaults,
  ...peerFaults,
  ...approvalFaults,
  ...replayFaults,
];
