import type { Command } from "commander";
import { addApprovalCommands } from "./admin/approval-commands.ts";
import { addAdminCommands } from "./admin/build.ts";
import { addMoveRoots } from "./admin/move-roots.ts";
import { addApply } from "./apply/apply.ts";
import { addCompletion, instancesFor } from "./complete.ts";
import { addDecode } from "./kmip/decode.ts";
import { addKmip } from "./kmip/kmip.ts";
import { addMigrateCommands } from "./migrate/migrate-commands.ts";
import { addProfileCommands } from "./sites/profile-commands.ts";
import { addSupportBundle } from "./support-bundle.ts";
import { addTop } from "./top/top.ts";
import { addVcenterCommands } from "./vcenter/vcenter-commands.ts";

/** The commands that ask a service, and `decode`. */
export async function addServiceCommands(program: Command, args: readonly string[]): Promise<void> {
  addDecode(program);
  addKmip(program);
  addAdminCommands(program);
  addApprovalCommands(program);
  addMoveRoots(program);
  addApply(program);
  addMigrateCommands(program);
  addProfileCommands(program);
  addSupportBundle(program);
  addTop(program);
  addVcenterCommands(program);
  addCompletion(program, await instancesFor(args));
}
