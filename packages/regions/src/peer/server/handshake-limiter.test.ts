import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../../testing/peer/test-peer.ts";
import { HandshakeLimiter, originOf } from "./handshake-limiter.ts";

test.each([
  ["10.1.2.3", "10.1.2.3"],
  ["::ffff:10.1.2.3", "10.1.2.3"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::6", "2001:db8:1:2::/64"],
  ["2001:db8::6", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["unknown", "unknown"],
])("%s counts as %s", (address, origin) => {
  expect(originOf(address)).toBe(origin);
});

async function listener(limits: { strangers: number; strangersOfAddress: number }) {
  const refused: string[] = [];
  const strangers = new HandshakeLimiter({ ...limits, handshakeMs: 1000 }, (address) =>
    refused.push(address),
  );
  const entered: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => undefined).resume();
    entered.push(socket);
    strangers.enter(socket, entered.length);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => {
    strangers.close();
    server.close();
  });
  const come = async (localAddress: string, bytes = "") => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    const at = entered.length;
    await eventually(() => entered.length > at);
    if (bytes !== "") {
      socket.write(bytes);
      await eventually(() => (entered[at]?.bytesRead ?? 0) > 0);
    }
    return socket;
  };
  return { strangers, refused, entered, come };
}

test("at the limit of an address a silent connection is closed first, then the oldest", async () => {
  const { strangers, come } = await listener({ strangers: 10, strangersOfAddress: 2 });
  const spoke = await come("127.0.0.2", "x");
  const silent = await come("127.0.0.2");
  const third = await come("127.0.0.2", "y");
  await eventually(() => silent.closed);
  expect(spoke.closed).toBe(false);
  await come("127.0.0.2");
  await eventually(() => spoke.closed);
  expect(third.closed).toBe(false);
  expect(strangers.size).toBe(2);
});

test("at the limit of all, a connection of the address with the most is closed", async () => {
  const { strangers, refused, come } = await listener({ strangers: 4, strangersOfAddress: 3 });
  const lonely = await come("127.0.0.2");
  const flood = [await come("127.0.0.3"), await come("127.0.0.3"), await come("127.0.0.3")];
  await come("127.0.0.4");
  await eventually(() => flood[0]?.closed === true);
  expect(lonely.closed).toBe(false);
  expect(refused).toEqual(["127.0.0.3"]);
  expect(strangers.size).toBe(4);
});

test("where every address has one, the newcomer stays", async () => {
  const { refused, come } = await listener({ strangers: 2, strangersOfAddress: 2 });
  await come("127.0.0.2");
  await come("127.0.0.3");
  const newcomer = await come("127.0.0.4");
  await eventually(() => refused.length > 0);
  expect(refused).toEqual(["127.0.0.2"]);
  expect(newcomer.closed).toBe(false);
});

test("a flood that sends the beginning of a message is not searched for each newcomer", async () => {
  const { strangers, come, entered } = await listener({ strangers: 100, strangersOfAddress: 40 });
  let looks = 0;
  const looked = (socket: Socket | undefined) => {
    const get = () => {
      looks += 1;
      return 1;
    };
    if (socket !== undefined) Object.defineProperty(socket, "bytesRead", { get });
  };
  for (let at = 0; at < 80; at += 1) {
    await come("127.0.0.2");
    looked(entered[at]);
  }
  expect(strangers.size).toBe(40);
  expect(looks).toBeLessThanOrEqual(80);
});
