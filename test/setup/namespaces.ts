/**
 * Hosts for a cluster's nodes: one network namespace each, on a bridge of their own, so that the networks between
 * them can be cut with packet filters. What the test process serves (etcd, Temporal) is reached through a relay at
 * the bridge's address and is cut with the rest.
 */

import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Hosts } from '../../cluster/cluster.js';

/** Packets that are dropped, as one node sees them. */
export interface TrafficRule {
  readonly direction: 'in' | 'out' | 'both';
  /** From or to these nodes only; if neither this nor `server` is named, from or to everybody, the servers too. */
  readonly nodes?: readonly number[];
  /** From or to what listens at this port of 127.0.0.1 only (`reachable`). */
  readonly server?: number;
  /** Datagrams only: gossip. */
  readonly udp?: boolean;
  /** 1–100: so many of a hundred, at random; all by default. */
  readonly lossPercent?: number;
}

/** Another way to the replication port of a node. */
export interface Detour {
  readonly to: number;
  /** address:port */
  readonly through: string;
}

const execFileAsync = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10_000;
/** Where `ip` keeps the names. */
const NAMESPACES = '/run/netns';
const BRIDGE_HOST = 254;
/** Of replication and frontends' sessions. */
const REDIRECTED_PORT = 5703;
const RESET_MS = 500;

async function run(command: string, ...args: string[]): Promise<void> {
  await execFileAsync(command, args, { timeout: COMMAND_TIMEOUT_MS });
}

/** Networks of processes that were killed before they could remove them. */
async function removeAbandoned(): Promise<void> {
  const names = existsSync(NAMESPACES) ? readdirSync(NAMESPACES) : [];
  for (const name of names) {
    const [, tag, pid] = /^storageos-(([0-9a-z]+)[0-9a-z])-\d+$/.exec(name) ?? [];
    if (tag === undefined || pid === undefined || existsSync(`/proc/${Number.parseInt(pid, 36)}`)) continue;
    // Another process may be at it.
    await run('ip', 'netns', 'delete', name).catch(() => undefined);
    await run('ip', 'link', 'delete', `sb-${tag}`).catch(() => undefined);
  }
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
    await removeAbandoned();
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

  /** Of this machine, on the bridge. */
  get gateway(): string {
    return this.address(BRIDGE_HOST);
  }

  launcher(node: number): string[] {
    return ['ip', 'netns', 'exec', this.#namespace(node)];
  }

  async #build(): Promise<void> {
    await run('ip', 'link', 'add', this.#bridge, 'type', 'bridge');
    await run('ip', 'address', 'add', `${this.gateway}/24`, 'dev', this.#bridge);
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
      relay.listen(0, this.gateway, () => {
        resolve(`${this.gateway}:${(relay.address() as AddressInfo).port}`);
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
    await this.impose(node, [{ direction: 'both', ...(others !== undefined && { nodes: others }) }]);
  }

  /** From now on these rules, and no others, hold for what the node sends and receives. */
  async impose(node: number, rules: readonly TrafficRule[]): Promise<void> {
    const drops = (direction: 'in' | 'out'): Promise<string[]> =>
      Promise.all(
        rules
          .filter((rule) => rule.direction === direction || rule.direction === 'both')
          .map((rule) => this.#drop(rule, direction)),
      );
    await this.#filter(node, [
      'table inet cut',
      'delete table inet cut',
      'table inet cut {',
      'chain in { type filter hook input priority 0;',
      ...(await drops('in')),
      '}',
      'chain out { type filter hook output priority 0;',
      ...(await drops('out')),
      '}',
      '}',
    ]);
  }

  async #drop(rule: TrafficRule, direction: 'in' | 'out'): Promise<string> {
    const [face, address, port] = direction === 'in' ? ['iifname', 'saddr', 'sport'] : ['oifname', 'daddr', 'dport'];
    const addresses = rule.nodes?.map((node) => this.address(node)) ?? [`${this.#prefix}.0/24`];
    const peers =
      rule.server === undefined
        ? `ip ${address} { ${addresses.join(', ')} }`
        : `ip ${address} ${this.gateway} tcp ${port} ${(await this.reachable(rule.server)).split(':')[1]}`;
    const share = rule.lossPercent === undefined ? '' : `numgen random mod 100 < ${rule.lossPercent}`;
    return `${face} != "lo" ${peers} ${rule.udp === true ? 'meta l4proto udp' : ''} ${share} drop`;
  }

  /**
   * Connections that the node makes to ports of others from now on lead to these endpoints instead; with none named,
   * all lead where they should. Those that exist are reset.
   */
  async redirect(node: number, detours: readonly Detour[]): Promise<void> {
    const resets = ['table inet resets {', 'chain out { type filter hook output priority 0;'];
    resets.push(`oifname != "lo" ip daddr ${this.#prefix}.0/24 tcp dport ${REDIRECTED_PORT} reject with tcp reset`);
    await this.#filter(node, [...resets, '}', '}']);
    await this.#filter(node, [
      'table ip detours',
      'delete table ip detours',
      ...(detours.length === 0 ? [] : ['table ip detours {', 'chain out { type nat hook output priority -100;']),
      ...detours.map(
        ({ to, through }) => `ip daddr ${this.address(to)} tcp dport ${REDIRECTED_PORT} dnat to ${through}`,
      ),
      ...(detours.length === 0 ? [] : ['}', '}']),
    ]);
    // Idle connections send something at least so often: a lease, or a question for one.
    await sleep(RESET_MS);
    await this.#filter(node, ['delete table inet resets']);
  }

  /** Undoes every cut and detour of the node. */
  async heal(node: number): Promise<void> {
    await this.#filter(node, ['flush ruleset']);
  }

  async #filter(node: number, lines: readonly string[]): Promise<void> {
    await run('ip', 'netns', 'exec', this.#namespace(node), 'nft', lines.join('\n'));
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
