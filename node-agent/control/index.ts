/** The node's part of the control plane. */

import type { ActivityDeps } from '../../activities/deps.js';
import type { Volume } from '../../core/domain.js';
import type { Clock, Random, Timer } from '../../core/ports.js';
import type { NodeId, VolumeId } from '../../core/types.js';
import type { Logger, LogSettings } from '../log.js';
import type { Tracer } from '../tracing/tracer.js';
import { startActivityWorkers } from './activity-workers.js';
import { Attention } from './attention.js';
import { TemporalVolumeController } from './client.js';
import { ControlProcess } from './control-process.js';
import { ControlTallies } from './observation.js';
import { Rescuer } from './rescue.js';
import { Sweeper } from './sweeper.js';

export { TemporalVolumeController } from './client.js';

/** A node that stays dead is reported no more often than this. */
const FENCE_INTERVAL_MS = 10_000;
/** Until Temporal answers. */
const REGISTER_RETRY_MS = 5_000;

export interface ControlOptions {
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly nodeName: string;
  /** Runs the workflows, in a child process. */
  readonly controlRole: boolean;
  /** As the control process begins. */
  readonly log: LogSettings;
  readonly tracer: Tracer;
  readonly deps: Omit<ActivityDeps, 'look'>;
  /** What the watch of etcd knows. */
  readonly volumes: () => Iterable<Volume>;
  readonly volume: (id: VolumeId) => Volume | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Control {
  readonly controller: TemporalVolumeController;
  readonly tallies: ControlTallies;
  /** Of the process that runs the workflows; undefined where there is none. */
  readonly pid: number | undefined;
  /** The control process logs like this from now on. */
  configureLog(settings: LogSettings): void;
  /** Wakes a volume's workflow: returns at once, limits its rate, goes on until Temporal has taken it. */
  look(volume: VolumeId, reason: string): void;
  /** Gossip or an operator says that a node has failed: volumes that have a copy there are woken. */
  nodeFailed(node: NodeId, reason: string): void;
  /** From now on this node does activities: to be called when its copies are open and it can be asked for them. */
  serve(): void;
  /** The opposite: before the copies are closed. Volumes' workflows can still be woken. */
  withdraw(): Promise<void>;
  stop(): Promise<void>;
}

/** Returns at once; everything connects when Temporal answers. Nothing is done for others before `serve`. */
export function startControl(options: ControlOptions): Control {
  const { temporal, clock, random, logger } = options;
  const controller = new TemporalVolumeController({
    ...temporal,
    identity: `${options.deps.self}/agent`,
    describe: options.volume,
  });
  const attention = new Attention({ signal: (volume, reason) => controller.look(volume, reason), clock, logger });
  const tallies = new ControlTallies();
  let controlProcess: ControlProcess | undefined;
  let logSettings = options.log;
  const stops: (() => Promise<void> | void)[] = [];
  const reported = new Map<NodeId, number>();

  let retry: Timer | undefined;
  const registerAttributes = () => {
    controller.registerSearchAttributes().catch((err: unknown) => {
      logger.debug({ err }, 'search attributes not registered yet');
      retry = clock.after(REGISTER_RETRY_MS, registerAttributes);
    });
  };
  stops.push(() => retry?.cancel());
  const withdraw = async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
  };

  return {
    controller,
    tallies,
    get pid() {
      return controlProcess?.pid;
    },
    configureLog(settings) {
      logSettings = settings;
      controlProcess?.configureLog(settings);
    },
    look: (volume, reason) => attention.look(volume, reason),
    nodeFailed(node, reason) {
      const last = reported.get(node);
      if (last !== undefined && clock.now() - last < FENCE_INTERVAL_MS) return;
      reported.set(node, clock.now());
      controller.fenceNode({ node, reason, detach: false }).catch((err: unknown) => {
        logger.warn({ err, failed: node }, 'failure of a node not told to Temporal');
        reported.delete(node);
      });
    },
    serve() {
      const workers = startActivityWorkers({
        ...temporal,
        logger,
        tallies,
        tracer: options.tracer,
        deps: { ...options.deps, look: (volume, reason) => controller.look(volume, reason) },
      });
      stops.push(() => workers.stop());
      if (!options.controlRole) return;
      registerAttributes();
      controlProcess = new ControlProcess(
        { ...temporal, node: options.nodeName, log: logSettings },
        logger,
        ({ end: { startedMs, endedMs, workflow, result } }) =>
          tallies.workflows.observe((endedMs - startedMs) / 1000, { workflow, result }),
      );
      const running = controlProcess;
      const rescuer = new Rescuer({
        runs: controller,
        look: (volume, reason) => attention.look(volume, reason),
        clock,
        logger,
      });
      const sweeper = new Sweeper({
        volumes: function* () {
          for (const volume of options.volumes()) yield volume.id;
        },
        running: () => controller.running(),
        rescue: (running) => rescuer.sweep(running),
        look: (volume, reason) => attention.look(volume, reason),
        clock,
        random,
        logger,
      });
      stops.push(
        () => running.stop(),
        () => sweeper.stop(),
      );
    },
    withdraw,
    async stop() {
      attention.stop();
      await withdraw();
      await controller.close();
    },
  };
}
