import { findExecutable } from "../redis-path.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { say } from "./common.mjs";

/** Brings Prometheus for the dashboards where this user may; who needs it says what to do where not. */
export async function bringPrometheus() {
  if (findExecutable("prometheus") !== undefined || !canInstallSystemPackages()) return;
  say("bringing Prometheus");
  await aptInstall(["prometheus"]);
}
