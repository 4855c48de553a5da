/** The API over a real ClusterState, with a controller that acts on etcd at once. */

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hono } from 'hono';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { LostVolumeReport, RecoveryReport, VerifyReport, VolumeController } from '../../../core/controller.js';
import { DomainError } from '../../../core/errors.js';
import type { LostVolumes, LostVolumeWishes } from '../../../core/lost-volumes.js';
import type { DeploymentStatus } from '../../../core/messages.js';
import type { Operation } from '../../../core/operation.js';
import {
  type DeploymentId,
  type Generation,
  type NodeId,
  ORDER_ZERO,
  type UserId,
  type VolumeId,
} from '../../../core/types.js';
import { createApi } from '../../../node-agent/api/app.js';
import { bootstrapCluster } from '../../../node-agent/api/bootstrap.js';
import type { ApiDependencies, NodeHealth } from '../../../node-agent/api/ports.js';
import type { ApiEnvironment } from '../../../node-agent/api/request.js';
import { TokenService } from '../../../node-agent/api/tokens.js';
import { systemClock, systemRandom } from '../../../node-agent/clock.js';
import { archivePart } from '../../../node-agent/diagnostics/tar.js';
import { Tally } from '../../../node-agent/metrics/tally.js';
import { ClusterState } from '../../../node-agent/state/cluster-state.js';
import { NO_TRACER } from '../../../node-agent/tracing/tracer.js';
import type { TestEtcd } from '../../setup/etcd.js';
import { aMembership, aNode } from '../../setup/records.js';
import { routeOf, violation } from './conformance.js';

export const ADMIN = { username: 'storageos', password: 'storageos-secret' };

/** The cluster key of all fixtures. */
export const SECRET = new Uint8Array(32).fill(7);

/** With which licences for all fixtures are signed. */
export const licenceKeys = generateKeyPairSync('ed25519');

export class TestController implements VolumeController {
  readonly calls: string[] = [];
  /** Thrown by the next call. */
  failure: DomainError | undefined;
  /** Calls return at once without having done anything, as when their time is over. */
  slow = false;
  report: VerifyReport = { identical: true, deployments: [], differingBlocks: 0, differences: [] };
  /** What a survey of any volume finds. */
  recovery: Omit<RecoveryReport, 'volume'> = { reasons: [], risks: [], recovered: false };
  lost: LostVolumes = { volumes: [], silent: [] };
  readonly #state: ClusterState;
  readonly #nodes: () => readonly NodeId[];

  constructor(state: ClusterState, nodes: () => readonly NodeId[]) {
    this.#state = state;
    this.#nodes = nodes;
  }

  async provision(id: VolumeId, options: { waitMs: number }): Promise<void> {
    this.#enter(`provision ${options.waitMs}`);
    if (this.slow) return;
    const nodes = this.#nodes();
    const { value } = await this.#state.volumes.require(id);
    if (nodes.length < value.replicas + 1) {
      await this.#state.volumes.update(id, (volume) => ({ ...volume, phase: 'failed', reason: 'too few nodes' }));
      throw new DomainError('no-capacity', 'too few suitable nodes');
    }
    const placements = nodes
      .slice(0, value.replicas + 1)
      .map((node) => ({ deployment: randomUUID() as DeploymentId, node }));
    const membership = aMembership(id);
    const [primary] = placements;
    if (primary === undefined) throw new Error('no primary');
    await this.#state.memberships.create({
      ...membership,
      primary: { ...primary, incarnation: membership.primary.incarnation },
      inSync: placements.map(({ deployment }) => deployment),
    });
    await this.#state.volumes.update(id, (volume) => ({ ...volume, phase: 'ready', placements }));
  }

  async attach(id: VolumeId, node: NodeId): Promise<void> {
    this.#enter('attach');
    await this.#state.attachments.update(id, (current) => ({
      ...current,
      node,
      generation: (current.generation + 1) as Generation,
    }));
  }

  async detach(id: VolumeId): Promise<void> {
    this.#enter('detach');
    await this.#state.attachments.update(id, ({ node: _, ...rest }) => rest);
  }

  async remove(id: VolumeId, options: { offline: boolean }): Promise<void> {
    this.#enter(options.offline ? 'remove offline' : 'remove');
    if (this.slow) return;
    await this.#state.deleteVolume(id, []);
  }

  async changed(): Promise<void> {
    this.#enter('changed');
  }

  async recover(id: VolumeId, { acceptLoss }: { acceptLoss: boolean }): Promise<RecoveryReport> {
    this.#enter(acceptLoss ? 'recover with loss' : 'recover');
    return { ...this.recovery, volume: id, recovered: this.recovery.reasons.length > 0 };
  }

  lostVolume(id: VolumeId): LostVolumeReport {
    const found = this.lost.volumes.find((volume) => volume.id === id);
    if (found === undefined) throw new DomainError('not-found', `no node has a copy of a volume ${id}`);
    const { name, namespaceName, sizeBytes, epoch, copies } = found;
    const obstacles = name === '' ? ['no node remembers its name and namespace: give both'] : [];
    return {
      volume: id,
      reasons: ['no-record'],
      risks: [],
      recovered: false,
      name,
      namespaceName,
      sizeBytes,
      obstacles,
      epoch,
      ...(copies[0] !== undefined && { primary: copies[0] }),
      inSync: copies.map(({ deployment }) => deployment),
      copies: copies.map((copy) => ({ ...copy, promised: epoch, last: { ...ORDER_ZERO, epoch }, complete: true })),
    };
  }

  async recoverLost(
    id: VolumeId,
    { acceptLoss, ...wishes }: LostVolumeWishes & { acceptLoss: boolean },
  ): Promise<LostVolumeReport> {
    this.#enter(`recover lost ${acceptLoss} ${JSON.stringify(wishes)}`);
    const found = this.lostVolume(id);
    return { ...found, name: wishes.name ?? found.name, obstacles: [], recovered: true };
  }

  async verify(): Promise<VerifyReport> {
    this.#enter('verify');
    return this.report;
  }

  #enter(call: string): void {
    this.calls.push(call);
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer.
  readonly body: any;
}

export interface Fixture {
  readonly app: Hono<ApiEnvironment>;
  readonly state: ClusterState;
  readonly controller: TestController;
  readonly nodes: NodeId[];
  readonly offline: Set<NodeId>;
  readonly statuses: Map<DeploymentId, DeploymentStatus>;
  /** What the control plane is doing. */
  readonly operations: Operation[];
  /** Between the API and etcd. */
  readonly troubles: readonly string[];
  /** Of all keys in etcd. */
  readonly etcdPrefix: string;
  /** Of the default namespace. */
  readonly namespace: string;
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  login(username: string, password: string): Promise<string>;
  /** A token as that of a login now, without the time that one takes. */
  tokenOf(user: UserId): Promise<string>;
  close(): void;
}

export interface FixtureOptions extends Partial<ApiDependencies> {
  /** How many; 3. */
  readonly nodes?: number;
}

export async function startFixture(
  etcd: TestEtcd,
  { nodes: nodeCount = 3, ...patch }: FixtureOptions = {},
): Promise<Fixture> {
  const etcdPrefix = `test/${randomUUID()}`;
  const troubles: string[] = [];
  const state = await ClusterState.connect({
    endpoints: [etcd.endpoint],
    namespace: etcdPrefix,
    clock: systemClock,
    onTrouble: (error) => troubles.push(String(error)),
  });
  await bootstrapCluster({ state, clock: systemClock, random: systemRandom, user: ADMIN });
  const offline = new Set<NodeId>();
  const nodes: NodeId[] = [];
  for (let n = 1; n <= nodeCount; n++) {
    const { value } = await state.registerNode(aNode({ name: `node-${n}` }));
    nodes.push(value.id);
  }
  // Names of nodes come from what the watch has seen.
  while (state.nodes.cached.size < nodes.length) await sleep(5);
  const controller = new TestController(state, () => nodes.filter((node) => !offline.has(node)));
  const statuses = new Map<DeploymentId, DeploymentStatus>();
  const operations: Operation[] = [];
  const health = (node: NodeId): NodeHealth => (offline.has(node) ? 'offline' : 'online');
  const app = createApi({
    state,
    controller,
    operations: async () => operations,
    secret: SECRET,
    licenceKeys: [licenceKeys.publicKey],
    self: { node: nodes[0] as NodeId },
    deploymentStatus: async ({ deployment }) => {
      const status = statuses.get(deployment);
      if (status === undefined) throw new DomainError('node-unavailable', 'no answer');
      return status;
    },
    survey: async (volume) => ({ ...controller.recovery, volume }),
    lostVolumes: { list: async () => controller.lost, survey: async (volume) => controller.lostVolume(volume) },
    nodeHealth: health,
    codec: { engine: 'wasm', offloadBytes: Number.POSITIVE_INFINITY },
    schedulerExtender: true,
    diagnostics: {
      local: async () => ({ files: [], problems: [] }),
      remote: async () => ({ part: await archivePart([], systemClock.timestamp()), complete: true }),
    },
    metrics: new Registry(),
    requests: new Tally('operation', 'status'),
    tracer: NO_TRACER,
    logger: pino({ level: 'silent' }),
    clock: systemClock,
    random: systemRandom,
    ...patch,
  });
  const send = async (method: string, path: string, body: unknown, headers: Record<string, string>) => {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await app.request(path, { method, headers, ...(text !== undefined && { body: text }) });
    const content = await response.text();
    const json = response.headers.get('content-type')?.includes('json') === true && content !== '';
    const answered = json ? JSON.parse(content) : content;
    const route = routeOf(method, path);
    const wrong = route && violation(route, response.status, content === '' ? undefined : answered);
    if (wrong !== undefined) throw new Error(wrong);
    return { status: response.status, headers: response.headers, body: answered };
  };
  const login = async (username: string, password: string) => {
    const answer = await send('POST', '/v2/auth/login', { username, password }, {});
    return answer.body.session?.token as string;
  };
  const tokens = new TokenService(SECRET, systemRandom);
  const tokenOf = async (user: UserId) => tokens.issue((await state.users.require(user)).value, Date.now());
  const admin = (await state.users.findByName(ADMIN.username))!.value;
  // Issued anew for each request: those of a login are over after five minutes, and a busy machine takes longer.
  const asAdmin = async () => ({ authorization: `Bearer ${await tokens.issue(admin, Date.now())}` });
  const request: Fixture['request'] = async (method, path, body, headers) =>
    send(method, `/v2${path}`, body, headers ?? (await asAdmin()));
  const namespace = (await request('GET', '/namespaces')).body[0].id;
  const close = () => state.close();
  const world = { app, state, controller, nodes, offline, statuses, operations, troubles, etcdPrefix, namespace };
  return { ...world, request, login, tokenOf, close };
}
