import { createServer } from "node:net";

/** Preloaded into a node (`--import`): tells on a socket what the longest turn of its event loop was since it was last asked. */
const everyMs = 1;
let longestUs = 0;
let before = process.threadCpuUsage();
setInterval(() => {
  // Processor time and no clock's: the bench's own processes want the same cores.
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
