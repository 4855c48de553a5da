/** A primary under test whose other copies answer by themselves. */

import type { MemberMessage, PeerMessage } from '../../../../core/messages.js';
import { entryCount } from '../../../../core/record.js';
import type { ReplicationSettings } from '../../../../core/replication/replicated-deployment.js';
import type {
  BlockNumber,
  DeploymentId,
  Generation,
  Incarnation,
  NodeId,
  Sequence,
  SessionNumber,
} from '../../../../core/types.js';
import { ORDER_ZERO } from '../../../../core/types.js';
import { dataBatch, zeroBatch } from '../../../sim/blocks.js';
import { Lab, NODE, OTHER, OTHER_LIFE, OTHER_NODE, SELF, VOLUME } from './lab.js';

export const THIRD = '00000000-0000-4000-8000-00000000000c' as DeploymentId;
export const FOURTH = '00000000-0000-4000-8000-00000000000d' as DeploymentId;
const TARGETS = [
  { deployment: THIRD, node: 'node-c' as NodeId },
  { deployment: FOURTH, node: 'node-d' as NodeId },
];
export const lifeOf = (deployment: DeploymentId) =>
  deployment === OTHER ? OTHER_LIFE : (`incarnation of ${deployment}` as Incarnation);
const session = 1 as SessionNumber;

/** What a copy that holds nothing and is quick answers. */
function answer(lab: Lab, message: PeerMessage, incarnation: Incarnation): MemberMessage | undefined {
  const header = { epoch: message.epoch, incarnation };
  const { last } = lab.store;
  switch (message.type) {
    case 'promise':
      return { type: 'promised', ...header, last, generation: 1 as Generation, unclean: false };
    case 'lease':
      return { type: 'leased', ...header, lease: message.lease };
    case 'append': {
      const end = (message.firstSequence + entryCount(message.batch) - 1) as Sequence;
      return { type: 'appended', ...header, last: end, durable: message.durable ? end : (0 as Sequence) };
    }
    case 'flush':
      return { type: 'flushed', ...header, flush: message.flush, durable: last.sequence };
    case 'sync-begin':
      return { type: 'sync-ready', ...header, sync: message.sync, base: ORDER_ZERO, dead: [] };
    case 'backfill':
      return { type: 'backfilled', ...header, sync: message.sync, number: message.number };
    case 'sync-finish':
      return { type: 'sync-finished', ...header, sync: message.sync };
    default:
      return undefined;
  }
}

/** A primary with one member, and two copies that can be synced; `mute` says what goes unanswered. */
export async function primaryWithTargets(
  mute: (to: DeploymentId, message: PeerMessage) => boolean = () => false,
  settings: Partial<ReplicationSettings> = {},
) {
  const lab = await Lab.open(settings);
  lab.deployment.onVolume({
    ...lab.deployment.spec!,
    replicas: 3,
    placements: [{ deployment: SELF, node: NODE }, { deployment: OTHER, node: OTHER_NODE }, ...TARGETS],
  });
  await lab.makePrimary();
  const frontend = await lab.session();
  const receive = (from: DeploymentId, message: MemberMessage): void => {
    const fromNode = TARGETS.find((target) => target.deployment === from)?.node ?? OTHER_NODE;
    lab.deployment.onMessage({ volume: VOLUME, from, fromNode, to: SELF, message });
  };
  const { links } = lab.deployment;
  const send = links.send.bind(links);
  links.send = (to, message) => {
    send(to, message);
    if (mute(to.deployment, message)) return;
    const reply = answer(lab, message, lifeOf(to.deployment));
    if (reply !== undefined) lab.scheduler.after(1, () => receive(to.deployment, reply));
  };
  await lab.pass(600);
  const write = (request: number, bytes = 16): void =>
    frontend.send({ type: 'write', session, request, fua: false, batch: dataBatch(request, request % 64, 1, bytes) });
  const trim = (request: number, block: number): void =>
    frontend.send({ type: 'write', session, request, fua: false, batch: zeroBatch(block, 1) });
  const written = (request: number): boolean =>
    frontend.got.some((message) => message.type === 'written' && message.request === request);
  /** Until `done`, at most `ms`; returns how long it took. */
  const until = async (done: () => boolean, ms = 20_000): Promise<number> => {
    const start = lab.scheduler.now;
    while (!done() && lab.scheduler.now - start < ms) await lab.pass(10);
    return lab.scheduler.now - start;
  };
  /** What the session was answered, and one more request of each kind. */
  const io = (act: 'write' | 'read' | 'trim', request: number): void => {
    if (act === 'write') write(request);
    else if (act === 'trim') trim(request, request % 64);
    else frontend.send({ type: 'read', session, request, block: 0 as BlockNumber, blocks: 1 });
  };
  return { lab, receive, write, trim, written, until, frontend: { got: frontend.got, io } };
}
