import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { localDirectory, say } from "./common.mjs";

const lockFile = join(localDirectory, "setup.lock");
const pollMs = 200;

/**
 * Runs `work` while no other set-up of this folder runs: otherwise two npm scripts started at the same
 * time would install over each other.
 * @param {() => Promise<void>} work
 */
export async function alone(work) {
  mkdirSync(localDirectory, { recursive: true });
  for (let waited = false; !takeLock(); waited = true) {
    if (!waited) say(`waiting for another set-up in this folder (${lockFile})`);
    await sleep(pollMs);
  }
  try {
    await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

/** Takes the lock, also from an owner that is gone, so that a killed set-up blocks nothing. */
function takeLock() {
  try {
    writeFileSync(lockFile, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    if (!ownerLives()) rmSync(lockFile, { force: true });
    return false;
  }
}

function ownerLives() {
  try {
    const owner = Number(readFileSync(lockFile, "utf8"));
    // The file is empty for an instant between its creation and the write.
    return owner === 0 || process.kill(owner, 0);
  } catch (error) {
    // EPERM: the owner is a running process of another user.
    return codeOf(error) === "EPERM";
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
