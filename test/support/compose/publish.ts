import { parseAddress } from "@holdfast/server/base";
import { Relay } from "@holdfast/testing";

/** Relays each pair's first address to the second one, like Docker's published ports. */
const addresses = process.argv.slice(2).map((text) => {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
});

for (const [at, listen] of addresses.entries()) {
  const target = addresses[at + 1];
  if (at % 2 === 0 && target !== undefined) await Relay.open(target, { listen });
}
process.stdout.write("ready\n");
