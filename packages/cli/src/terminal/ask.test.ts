import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const script = "/usr/bin/script";
const module = join(import.meta.dirname, "ask.ts");

/** Types `keys` at a question on a terminal; returns the exit code and what the terminal shows. */
async function typed(keys: string): Promise<{ readonly code: unknown; readonly shown: string }> {
  const work = `import { ask } from "${module}"; console.log("got", JSON.stringify(await ask("Name?")));`;
  const command = `"${process.execPath}" --input-type=module -e '${work}'`;
  const child = spawn(script, ["-qec", command, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let shown = "";
  let sent = false;
  child.stdout.on("data", (bytes: Buffer) => {
    shown += bytes.toString();
    if (sent || !shown.includes("Name?")) return;
    sent = true;
    child.stdin.write(keys);
  });
  const [code] = await once(child, "close");
  return { code, shown };
}

test.skipIf(!existsSync(script))(
  "a question at a terminal accepts an answer, Ctrl-C and Ctrl-D (needs script from util-linux)",
  async () => {
    expect(await typed("kmip-prod\r")).toMatchObject({
      code: 0,
      shown: expect.stringContaining('got "kmip-prod"'),
    });
    // Ctrl-C ends the command; Ctrl-D is an empty line.
    expect(await typed("\u0003")).toMatchObject({ code: 130 });
    expect(await typed("\u0004")).toMatchObject({
      code: 0,
      shown: expect.stringContaining('got ""'),
    });
  },
);
