import { readdirSync, readFileSync } from "node:fs";

const name = "HOLDFAST_TEST_RUN";
let marks = 0;

/** Environment variable that marks every process of one test run, even those that leave its process group. */
export function newMark() {
  marks += 1;
  const value = `${process.pid}-${Date.now()}-${marks}`;
  return { mark: { [name]: value }, value };
}

/**
 * Ends processes that tests started and did not stop: finds them by the mark, and ends them by process id.
 * @param {string} value
 * @returns {number} how many were ended
 */
export function endLeftovers(value) {
  /** @type {Set<number>} */
  const ended = new Set();
  // Repeat until no new process appears: a supervisor may start another one between the listing and its end.
  for (let more = true; more; ) {
    const found = markedProcesses(value).filter((pid) => !ended.has(pid));
    for (const pid of found) {
      kill(pid);
      ended.add(pid);
    }
    more = found.length > 0;
  }
  return ended.size;
}

/**
 * @param {string} value
 * @returns {number[]}
 */
function markedProcesses(value) {
  try {
    return readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
      .filter((entry) => environmentOf(entry).includes(`${name}=${value}`))
      .map(Number);
  } catch {
    return [];
  }
}

/** @param {string} pid */
function environmentOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
