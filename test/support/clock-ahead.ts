/** Loaded into a node's process before its own code: its wall clock is ahead by `CLOCK_AHEAD_MS`. */
const aheadMs = Number(process.env["CLOCK_AHEAD_MS"]);
const { now } = Date;
Date.now = () => now() + aheadMs;
