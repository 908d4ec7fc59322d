import { expect, test } from "vitest";
import type { Connection, Outcome } from "../connection/connection.ts";
import type { ConnectionSettings } from "../connection/options.ts";
import { readServerInfo } from "../connection/server-info.ts";
import { checkReplicas, checkSettings } from "./settings-check.ts";

const shown =
  "redis_version:8.0.2\r\nrun_id:r\r\nrole:master\r\nredis_mode:standalone\r\naof_enabled:1\r\n";
const info = readServerInfo(shown);
const late = new Error("Command timed out");
const refused = Object.assign(new Error("ERR unknown command"), { name: "ReplyError" });

function connectionThat(answer: Outcome): Connection {
  return {
    ...{ address: "a:1", open: true, info },
    batch: async () => [answer],
    call: async () => shown,
    destroy: () => undefined,
  } as Partial<Connection> as Connection;
}

const settingsWith = (connection: Connection) =>
  ({ assumeSafe: false, connections: { to: async () => connection } }) as Partial<
    Record<keyof ConnectionSettings, unknown>
  > as ConnectionSettings;

test.each([
  ["that does not answer in time is not unsafe", { error: late }, "timeout"],
  ["that refuses to show its settings is unsafe", { error: refused }, "unsafe"],
])("a Redis %s", async (_, answer, failure) => {
  const connection = connectionThat(answer);
  const check = checkSettings(connection, settingsWith(connection));
  await expect(check).rejects.toMatchObject({ failure });
});

test("a replica that does not answer in time counts as one that cannot be reached, and one that is unsafe does not", async () => {
  const silent = settingsWith(connectionThat({ error: late }));
  expect(await checkReplicas(silent, ["r:1"])).toEqual(["r:1"]);
  const unsafe = settingsWith(connectionThat({ error: refused }));
  await expect(checkReplicas(unsafe, ["r:1"])).rejects.toMatchObject({ failure: "unsafe" });
});
