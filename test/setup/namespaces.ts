/**
 * Hosts for a cluster's nodes: one network namespace each, on a bridge of their own, so that the networks between
 * them can be cut with packet filters. What the test process serves (etcd, Temporal) is reached through a relay at
 * the bridge's address and is cut with the rest.
 */

import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { promisify } from 'node:util';
import type { Hosts } from '../../cluster/cluster.js';

const execFileAsync = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10_000;
const BRIDGE_HOST = 254;

async function run(command: string, ...args: string[]): Promise<void> {
  await execFileAsync(command, args, { timeout: COMMAND_TIMEOUT_MS });
}

export class NamespaceNetwork implements Hosts {
  readonly #tag = `${process.pid.toString(36)}${randomInt(36).toString(36)}`;
  readonly #prefix = `10.${randomInt(200, 250)}.${randomInt(1, 250)}`;
  readonly #nodes: number;
  readonly #relays: Server[] = [];
  readonly #reachable = new Map<number, Promise<string>>();
  readonly #relayed = new Set<Socket>();

  private constructor(nodes: number) {
    this.#nodes = nodes;
  }

  /** Errors: those of `ip`, after what was made is removed again. */
  static async create(nodes: number): Promise<NamespaceNetwork> {
    const network = new NamespaceNetwork(nodes);
    try {
      await network.#build();
    } catch (error) {
      await network.destroy();
      throw error;
    }
    return network;
  }

  get #bridge(): string {
    return `sb-${this.#tag}`;
  }

  #namespace(node: number): string {
    return `storageos-${this.#tag}-${node}`;
  }

  address(node: number): string {
    return `${this.#prefix}.${node}`;
  }

  launcher(node: number): string[] {
    return ['ip', 'netns', 'exec', this.#namespace(node)];
  }

  async #build(): Promise<void> {
    await run('ip', 'link', 'add', this.#bridge, 'type', 'bridge');
    await run('ip', 'address', 'add', `${this.address(BRIDGE_HOST)}/24`, 'dev', this.#bridge);
    await run('ip', 'link', 'set', this.#bridge, 'up');
    for (let node = 1; node <= this.#nodes; node++) {
      const namespace = this.#namespace(node);
      const outside = `so${node}-${this.#tag}`;
      const inside = `si${node}-${this.#tag}`;
      await run('ip', 'netns', 'add', namespace);
      await run('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', inside);
      await run('ip', 'link', 'set', inside, 'netns', namespace);
      await run('ip', 'link', 'set', outside, 'master', this.#bridge, 'up');
      await run('ip', '-n', namespace, 'address', 'add', `${this.address(node)}/24`, 'dev', inside);
      await run('ip', '-n', namespace, 'link', 'set', inside, 'up');
      await run('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    }
  }

  reachable(port: number): Promise<string> {
    const known = this.#reachable.get(port);
    if (known !== undefined) return known;
    const relay = createServer((client) => this.#relay(client, port));
    this.#relays.push(relay);
    const listening = new Promise<string>((resolve, reject) => {
      relay.once('error', reject);
      relay.listen(0, this.address(BRIDGE_HOST), () => {
        resolve(`${this.address(BRIDGE_HOST)}:${(relay.address() as AddressInfo).port}`);
      });
    });
    this.#reachable.set(port, listening);
    return listening;
  }

  #relay(client: Socket, port: number): void {
    const server = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#relayed.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#relayed.delete(from);
        to.destroy();
      });
    }
  }

  /** Drops everything between the node and these others; with none named, and the servers, too. */
  async cut(node: number, others?: readonly number[]): Promise<void> {
    const set = others === undefined ? `${this.#prefix}.0/24` : others.map((other) => this.address(other)).join(', ');
    const namespace = this.#namespace(node);
    const rules = [
      'table inet cut {',
      `chain in { type filter hook input priority 0; iifname != "lo" ip saddr { ${set} } drop; }`,
      `chain out { type filter hook output priority 0; oifname != "lo" ip daddr { ${set} } drop; }`,
      '}',
    ].join('\n');
    await run('ip', 'netns', 'exec', namespace, 'nft', rules);
  }

  /** Undoes every cut of the node. */
  async heal(node: number): Promise<void> {
    await run('ip', 'netns', 'exec', this.#namespace(node), 'nft', 'flush ruleset');
  }

  /** Removes all; for any state, processes in the namespaces must have ended. */
  async destroy(): Promise<void> {
    for (const relay of this.#relays) relay.close();
    for (const socket of this.#relayed) socket.destroy();
    const failures: unknown[] = [];
    const attempt = async (...args: string[]): Promise<void> => {
      await run('ip', ...args).catch((error: unknown) => failures.push(error));
    };
    for (let node = 1; node <= this.#nodes; node++) await attempt('netns', 'delete', this.#namespace(node));
    await attempt('link', 'delete', this.#bridge);
    if (failures.length > 0) throw new AggregateError(failures, 'what is left of the test network');
  }
}
