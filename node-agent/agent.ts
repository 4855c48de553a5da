/** One node: every part made, connected to the others, started in order and stopped in the reverse order. */

import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { listLostVolumes, surveyLostVolume } from '../activities/lost-volumes.js';
import { surveyVolume } from '../activities/recover.js';
import type { NamespaceId, NodeId, VolumeId } from '../core/types.js';
import { DEFAULT_PLAN_SETTINGS } from '../core/volume-plan.js';
import { createApi } from './api/app.js';
import { bootstrapCluster } from './api/bootstrap.js';
import { listen } from './api/server.js';
import { TlsFiles } from './api/tls-files.js';
import { DeviceManager } from './attach/index.js';
import { NodeAttachments } from './attachments.js';
import { readBootId, systemClock, systemRandom } from './clock.js';
import { lendersOf, loadCodec } from './codec/index.js';
import { type Config, formatEndpoint, stateDirOf } from './config.js';
import { startControl } from './control/index.js';
import { listOperations } from './control/operations.js';
import { collectLocal } from './diagnostics/local.js';
import { fetchPart } from './diagnostics/peer.js';
import type { RecentLines } from './diagnostics/recent-lines.js';
import { Erasure } from './erasure.js';
import { FrontendHost } from './frontend/host.js';
import { Gossip } from './gossip/index.js';
import { clusterOf, establishIdentity } from './identity.js';
import { FileKeyStore, loadClusterKey } from './keys/index.js';
import { Licensing, loadPublicKeys } from './licence/index.js';
import type { AgentLog } from './log.js';
import { LogFollower } from './log-follower.js';
import { MeteredDisk } from './metrics/disk.js';
import { registerMetrics } from './metrics/index.js';
import { MeteredConnector } from './metrics/network.js';
import { Tally } from './metrics/tally.js';
import { followIdentity } from './pki/index.js';
import { NodeRegistration } from './registration.js';
import { PROTOCOL_VERSION, ReplicationHost } from './replication/index.js';
import { ClusterState } from './state/cluster-state.js';
import { MAX_CLOSED_COPIES } from './state/schemas.js';
import { NodeStores, openFileDisk } from './store/index.js';
import { createTracer } from './tracing/tracer.js';
import { VolumeMemory } from './volume-memory.js';

/** A deployment that does not tell its status to the workflows within this time counts as unreachable, ms. */
const STATUS_TIMEOUT_MS = 1_000;
/** The same for one whose node is dead, if gossip is right: time for a connection and an answer, ms. */
const DEAD_STATUS_TIMEOUT_MS = 200;

export interface Agent {
  readonly node: NodeId;
  /** Flushes, closes and marks everything clean. */
  stop(): Promise<void>;
}

/**
 * Resolves when the node serves. Errors: DomainError, PkiError, KeyError, CodecSetupError and those of the
 * store, each naming what to mend; what had been started is stopped again.
 */
export async function startAgent(config: Config, log: AgentLog, recent: RecentLines): Promise<Agent> {
  const { logger } = log;
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const undo of stops.splice(0).reverse()) {
      try {
        await undo();
      } catch (err) {
        logger.error({ err }, 'not stopped cleanly');
      }
    }
  };
  try {
    const node = await start(config, log, recent, stops);
    return { node, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  config: Config,
  log: AgentLog,
  recent: RecentLines,
  stops: (() => Promise<void> | void)[],
): Promise<NodeId> {
  const { logger } = log;
  const clock = systemClock;
  const random = systemRandom;
  const tracer = await createTracer(process.env, { node: config.nodeName });
  stops.push(() => tracer.close());
  const identities = await followIdentity(config.pki, {
    clock,
    onTrouble: (err) => logger.warn({ err }, "the node's changed certificate is not used"),
  });
  stops.push(() => identities.close());
  const self = identities.current.node;
  const clusterKey = await loadClusterKey(config.clusterKeyFile);
  const { licencePublicKeyFile } = config;
  const licenceKeys = licencePublicKeyFile === undefined ? [] : await loadPublicKeys(licencePublicKeyFile);
  const keys = new FileKeyStore({ directory: config.keyDir, clusterKey });
  const codec = await loadCodec({ engine: config.cipherEngine, workers: config.codecWorkers });
  stops.push(() => codec.close());
  const { engine: cipherEngine, offloadBytes } = codec;
  logger.info({ cipherEngine, workers: config.codecWorkers, offloadBytes }, 'codec ready');

  /* ---- etcd ---- */

  const state = await ClusterState.connect({
    ...config.etcd,
    clock,
    onTrouble: (err) => logger.warn({ err }, 'trouble with etcd'),
  });
  stops.push(() => state.close());
  const cluster = await bootstrapCluster({
    state,
    clock,
    random,
    clusterId: clusterOf(config.rootDir),
    ...(config.bootstrap !== undefined && { user: config.bootstrap }),
    log: config.logGiven,
  });
  await establishIdentity(config.rootDir, {
    nodeId: self,
    nodeName: config.nodeName,
    clusterId: cluster.value.id,
  });

  /* ---- data plane ---- */

  const disk = new MeteredDisk(openFileDisk(config.rootDir));
  const stores = await NodeStores.open({
    disk,
    clock,
    random,
    bootId: readBootId(),
    checksums: (volume) => codec.checksums(volume),
    reserveBytes: config.capacityReserveBytes,
    indexCacheBytes: config.indexCacheBytes,
    settings: { scrubIntervalMs: config.scrubIntervalMs, scrubBytesPerSecond: config.scrubBytesPerSecond },
    onBadBlocks: (deployment, blocks) => replication.heal(deployment, blocks),
    onDamage: (deployment, damage) =>
      logger.error({ deployment, ...damage }, 'damage on the disk, of what memory has: it is written anew'),
  });
  stops.push(() => stores.close());
  for (const damage of stores.damages) logger.error({ ...damage }, 'this copy of a volume is left as it is');
  const stateDir = stateDirOf(config.rootDir);
  await mkdir(stateDir, { recursive: true });
  const memory = await VolumeMemory.open({
    directory: join(stateDir, 'volumes'),
    namespaceName: (id) => state.namespaces.cached.get(id)?.value.name ?? '',
    logger,
  });
  stops.push(() => memory.settled());
  const replication = new ReplicationHost({
    self,
    cluster: cluster.value.id,
    etcdClusterId: state.etcdClusterId,
    identity: identities.current,
    bind: config.bind.io,
    stores,
    memberships: state.membershipStore,
    checksums: (volume) => codec.checksums(volume),
    ...lendersOf(codec.memory),
    clock,
    random,
    logger,
    attention: (volume, reason) => control.look(volume, reason),
    settings: { syncBytesPerSecond: config.syncBytesPerSecond },
    maxSyncs: config.maxSyncs,
    clusterSlots: state.syncSlots(config.maxClusterSyncs),
    memory,
  });
  const membershipOf = (volume: Parameters<typeof state.volumes.cached.get>[0]) => ({
    record: state.memberships.cached.get(volume)?.value,
    placements: state.volumes.cached.get(volume)?.value.placements ?? [],
  });
  const connector = new MeteredConnector(replication.connector, self);
  const frontends = await FrontendHost.open({
    socketDir: config.socketDir,
    stateDir,
    codec,
    connector,
    membership: membershipOf,
    clock,
    random,
    events: {
      attention: (volume, reason) => control.look(volume, reason),
      fenced: (volume) => logger.warn({ volume }, 'fenced: the volume is attached elsewhere'),
      log: (level, message, fields) => logger[level](fields, message),
    },
  });
  const devices = new DeviceManager({
    stateDir,
    deviceDir: config.deviceDir,
    log: (level, message, fields) => logger[level](fields, message),
  });
  const attachments = new NodeAttachments({ self, frontends, devices, keys, clock, logger });

  /* ---- gossip and control ---- */

  const gossip = await Gossip.start({
    node: self,
    name: config.nodeName,
    addresses: { io: formatEndpoint(config.bind.io), api: formatEndpoint(config.bind.api) },
    bind: config.bind.gossip,
    seeds: config.gossipSeeds,
    clusterKey,
    clock,
    random,
    logger,
    changed: ({ node, status }) => {
      if (status === 'dead' || status === 'left') control.nodeFailed(node, `gossip says that it is ${status}`);
    },
  });
  const gossiped = (node: NodeId) => gossip.members().find((member) => member.node === node)?.status;
  stops.push(() => gossip.leave());
  const activitySettings = {
    plan: { ...DEFAULT_PLAN_SETTINGS, graceMs: config.replacementGraceMs },
    reserveBytes: config.capacityReserveBytes,
    statusTimeoutMs: STATUS_TIMEOUT_MS,
    deadStatusTimeoutMs: DEAD_STATUS_TIMEOUT_MS,
    timestamp: () => clock.timestamp(),
  };
  const control = startControl({
    temporal: config.temporal,
    nodeName: config.nodeName,
    controlRole: config.controlRole,
    log: { level: config.logLevel, format: config.logFormat },
    tracer,
    deps: {
      self,
      state,
      replication,
      attachments,
      keys,
      nodeHealth: (node) => {
        const status = gossiped(node);
        return status === 'left' ? 'dead' : status;
      },
      settings: activitySettings,
    },
    volumes: function* () {
      for (const { value } of state.volumes.cached.values()) yield value;
    },
    volume: (id) => state.volumes.cached.get(id)?.value,
    clock,
    random,
    logger,
  });
  stops.push(() => control.stop());

  /* ---- what etcd says ---- */

  const erasure = new Erasure({
    self,
    clock,
    logger,
    holds: (deployment) => stores.holds(deployment),
    remove: (deployment) => replication.removeDeployment(deployment),
    stands: (deployment) => state.tombstones.cached.get(deployment) !== undefined,
    bury: (deployment) => state.tombstones.remove(deployment),
  });
  stops.push(() => erasure.stop());
  const tellFrontend = (volume: Parameters<typeof membershipOf>[0]) => {
    const { record, placements } = membershipOf(volume);
    frontends.onMembership(volume, record, placements);
  };
  const { level, format } = { level: config.logLevel, format: config.logFormat };
  const logFollower = new LogFollower({ level, format }, config.logGiven, (settings) => {
    log.configure(settings);
    control.configureLog(settings);
  });
  const watch = state.watch({
    cluster: (value) => logFollower.onCluster(value),
    node: (id, value) => replication.onNode(value, id),
    volume: (id, value) => {
      replication.onVolume(value, id);
      tellFrontend(id);
    },
    membership: (id, value) => {
      replication.onMembership(value, id);
      tellFrontend(id);
    },
    attachment: (id, value) => attachments.onAttachment(id, value),
    tombstone: (_id, value) => erasure.onTombstone(value),
  });
  stops.push(() => watch.close());
  await replication.start();
  identities.follow((identity) => {
    replication.setIdentity(identity);
    logger.info({ notAfter: identity.notAfter }, "the node's certificate was renewed");
  });
  stops.push(() => replication.stop());

  /* ---- the node shows itself ---- */

  const registration = await NodeRegistration.start({
    state,
    clock,
    logger,
    node: {
      id: self,
      name: config.nodeName,
      ioEndpoint: formatEndpoint(config.bind.io),
      apiEndpoint: formatEndpoint(config.bind.api),
      gossipEndpoint: formatEndpoint(config.bind.gossip),
      labels: {},
      computeOnly: false,
      cordoned: false,
    },
    run: randomUUID(),
    capacity: () => stores.capacity(),
    copies: () => ({
      unusableCopies: stores.unreadable + replication.unopened,
      closed: replication.closed().slice(0, MAX_CLOSED_COPIES),
    }),
    reported: ({ totalBytes, availableBytes }) =>
      gossip.tell({ protocol: PROTOCOL_VERSION, capacity: { totalBytes, availableBytes } }),
    admit: () => new Licensing({ state, clock, publicKeys: licenceKeys }).admitNode(),
  });
  stops.push(() => registration.stop());
  control.serve();
  stops.push(() => control.withdraw());
  await devices.removeLeftovers();
  stops.push(() => attachments.closeAll());
  // Not waited for: a device shows itself when its volume has a primary, and this node may be needed for that.
  void attachments.restore(
    [...state.attachments.cached.values()].map(({ value }) => value),
    (id) => state.volumes.cached.get(id)?.value,
  );

  const metrics = new Registry();
  const volumes = {
    volume: (id: VolumeId) => state.volumes.cached.get(id)?.value,
    namespaceName: (id: NamespaceId) => state.namespaces.cached.get(id)?.value.name ?? '',
  };
  const requests = new Tally('operation', 'status');
  const surveyDeps = { state, replication, keys, settings: activitySettings };
  registerMetrics(metrics, {
    ...volumes,
    attached: () => frontends.list(),
    network: () => connector.stats(frontends.list().map(({ volume }) => volume)),
    copies: () => replication.copies(),
    disk,
    backends: () => disk.copies(stores.statistics()),
    capacity: () => stores.capacity(),
    devices: () => stores.devices(),
    throttled: () => stores.throttled,
    index: () => stores.indexMemory,
    statistics: () => stores.statistics(),
    codec,
    stateReachable: () => state.reachable,
    queries: state.queries,
    gossip: {
      members: () => gossip.members(),
      healthScore: () => gossip.healthScore,
      counters: () => gossip.counters,
    },
    requests,
    ...control.tallies,
    processes: () => ({ dataplane: process.pid, control: control.pid }),
  });
  const app = createApi({
    state,
    controller: control.controller,
    operations: () => listOperations(control.controller.client, Date.now),
    schedulerExtender: config.schedulerExtender,
    diagnostics: {
      local: () =>
        collectLocal({
          node: self,
          config,
          codec,
          clock,
          metrics,
          deployments: () => replication.statuses(),
          attached: () => frontends.list(),
          members: () => gossip.members(),
          log: () => recent.text(),
        }),
      remote: (node, authorization) => fetchPart({ apiTls: config.apiTls }, node, authorization),
    },
    secret: clusterKey,
    licenceKeys,
    self: { node: self },
    deploymentStatus: (deployment, timeoutMs) => replication.remoteStatus(deployment, timeoutMs),
    survey: (volume) => surveyVolume(surveyDeps, volume),
    lostVolumes: {
      list: () => listLostVolumes(surveyDeps),
      survey: (volume) => surveyLostVolume(surveyDeps, volume),
    },
    nodeHealth: (node) => {
      const status = gossiped(node);
      if (status === undefined) return state.liveness.cached.get(node) === undefined ? 'offline' : 'online';
      return status === 'alive' || status === 'suspect' ? 'online' : 'offline';
    },
    codec,
    metrics,
    requests,
    tracer,
    logger,
    clock,
    random,
  });
  const onTrouble = (err: unknown) => logger.warn({ err }, "the API's changed certificate is not used");
  const tls = config.apiTls && (await TlsFiles.open({ ...config.apiTls, clock, onTrouble }));
  const api = await listen(app, { ...config.bind.api, ...(tls !== undefined && { tls }) });
  stops.push(() => api.close());
  for (const { volume } of replication.statuses()) control.look(volume, 'a node with a copy has started');
  return self;
}
