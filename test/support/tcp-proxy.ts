import { connect, createServer, type Server, type Socket } from "node:net";

/** Looks at what a client sends; what it answers happens to the connection. */
export type Watch = (bytes: Buffer) => "pass" | "cut" | "hold";

/** A TCP proxy on loopback that can cut connections at a certain byte, or stop forwarding. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Asked for everything that clients send. */
  watch: Watch = () => "pass";
  /** While true nothing is forwarded in either direction; what came meanwhile is lost. */
  silent = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on a free port and forwards to `port`. */
  static async start(port: number): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on("connection", (client) => proxy.#forward(client, port));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  readonly host = "127.0.0.1";

  get port(): number {
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("the proxy is closed");
    return address.port;
  }

  /** `host:port` for clients. */
  get address(): string {
    return `${this.host}:${this.port}`;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #forward(client: Socket, port: number): void {
    const upstream = connect(port, "127.0.0.1");
    let held = false;
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (bytes) => {
      const verdict = held || this.silent ? "hold" : this.watch(bytes);
      if (verdict === "cut") client.destroy();
      else if (verdict === "hold") held ||= !this.silent;
      else upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (!this.silent) client.write(bytes);
    });
  }
}
