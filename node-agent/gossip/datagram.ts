/** Gossip messages as JSON, validated before the protocol sees them. */

import { z } from 'zod';
import type { GossipMessage, MemberInfo, Update } from '../../core/gossip/types.js';
import { isUuid, type NodeId } from '../../core/types.js';

/** More than fit into a datagram. */
const MAX_UPDATES = 64;
/** A host name of 253 characters, brackets, a colon and a port. */
const MAX_ADDRESS = 262;

const node = z
  .string()
  .refine(isUuid)
  .transform((text) => text as NodeId);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const address = z.string().min(1).max(MAX_ADDRESS);

const state = z.object({ protocol: count, capacity: z.object({ totalBytes: count, availableBytes: count }) });

/** Agents that know no state leave it out, and ignore it. */
const info = z
  .object({
    node,
    name: z.string().min(1).max(253),
    addresses: z.object({ gossip: address, io: address, api: address }),
    state: state.optional(),
  })
  .transform(({ state: told, ...rest }): MemberInfo => (told === undefined ? rest : { ...rest, state: told }));

const update = z
  .object({
    node,
    status: z.enum(['alive', 'suspect', 'dead', 'left']),
    incarnation: count,
    by: node,
    info: info.optional(),
  })
  .transform(({ info: about, ...rest }): Update => (about === undefined ? rest : { ...rest, info: about }));

const common = { from: node, updates: z.array(update).max(MAX_UPDATES) };

const message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ping'), ...common, number: count, to: node }),
  z.object({ type: z.literal('ack'), ...common, number: count }),
  z.object({ type: z.literal('ping-request'), ...common, number: count, target: node, address }),
  z.object({ type: z.literal('nack'), ...common, number: count }),
  z.object({ type: z.literal('rumours'), ...common }),
  z.object({ type: z.literal('state'), ...common, reply: z.boolean() }),
]) satisfies z.ZodType<GossipMessage>;

export function encodeMessage(value: GossipMessage): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Undefined if it is no gossip message. */
export function decodeMessage(bytes: Buffer): GossipMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  const parsed = message.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Bytes that an update adds to a message. */
export function measureUpdate(value: Update): number {
  return Buffer.byteLength(JSON.stringify(value)) + 1;
}
