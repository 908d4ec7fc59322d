import { createServer } from "node:net";

/** Preloaded into a node (`--import`): reports the longest event loop turn since the last request. */
const everyMs = 1;
let longestUs = 0;
let before = process.threadCpuUsage();
setInterval(() => {
  // It measures processor time, not clock time: the bench's processes use the same cores.
  const { user, system } = process.threadCpuUsage(before);
  longestUs = Math.max(longestUs, user + system);
  before = process.threadCpuUsage();
}, everyMs).unref();

createServer((socket) => {
  socket.on("error", () => undefined).end(String(longestUs));
  longestUs = 0;
})
  .listen(`${process.env["HOLDFAST_BENCH_TURNS"]}`)
  .unref();
