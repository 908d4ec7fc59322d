import { once } from "node:events";
import { reasonOf } from "../base/operator-error.ts";
import { machine } from "../base/system.ts";
import { describeCause } from "../observe/log.ts";
import { type RunningNode, startNode } from "./node.ts";
import { notifySystemd } from "./notify-systemd.ts";

/** Runs a node until SIGTERM or SIGINT, drains it and exits 0; SIGHUP reads certificates and instances again. */
export async function serve(configFile: string): Promise<void> {
  let node: RunningNode | undefined;
  const fault = (cause: unknown): void => {
    if (node === undefined) process.stderr.write(`holdfast: unexpected: ${reasonOf(cause)}\n`);
    else
      node.log.say("error", "an unexpected error ends this process", {
        cause: describeCause(cause),
      });
    void Promise.resolve(node?.log.close()).finally(() => process.exit(1));
  };
  process.on("uncaughtException", fault);
  process.on("unhandledRejection", fault);
  process.on("SIGHUP", () => void node?.reload());
  const { environment } = machine;
  const running = await startNode(configFile, environment);
  node = running;
  const notify = async (state: "READY=1" | "STOPPING=1"): Promise<void> => {
    const reason = await notifySystemd(state, environment);
    if (reason !== undefined) running.log.say("warn", "systemd cannot be notified", { reason });
  };
  // Without waiting: a signal that comes meanwhile drains the node.
  void notify("READY=1");
  // A second signal finds no listener and ends the process at once.
  await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  await Promise.all([notify("STOPPING=1"), running.drain()]);
  await running.log.close();
  process.exit(0);
}
