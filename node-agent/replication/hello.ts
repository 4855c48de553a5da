/** How two nodes introduce themselves on a new connection: JSON, as nothing here is frequent. */

import { z } from 'zod';
import { type DeploymentId, isUuid, type NodeId, type VolumeId } from '../../core/types.js';
import { FRAME, type Frame, MAX_HELLO_BYTES, OLDEST_VERSION, PROTOCOL_VERSION, WireError } from './wire.js';
import { type EncodedFrame, HeadWriter } from './wire-fields.js';

const PROTOCOL = 'storageos-replication';

const id = z.string().refine(isUuid, 'a UUID');
const node = id.transform((text) => text as NodeId);

const hello = z.object({
  protocol: z.literal(PROTOCOL),
  oldestVersion: z.number().int().min(1).max(0xffff),
  newestVersion: z.number().int().min(1).max(0xffff),
  node,
  /** Whom the sender means to reach: an address may have a new tenant. */
  to: node,
  cluster: id,
  purpose: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('peer') }),
    z.object({
      kind: z.literal('session'),
      volume: id.transform((text) => text as VolumeId),
      deployment: id.transform((text) => text as DeploymentId),
    }),
  ]),
});

const GOODBYES = [
  /** Both dialled at once; this connection gives way to the other. */
  'duplicate',
  'version',
  'wrong-node',
  'wrong-cluster',
] as const;

export type Goodbye = (typeof GOODBYES)[number];
export type Purpose = z.infer<typeof hello>['purpose'];
export type Hello = z.infer<typeof hello>;

const welcome = z.object({ version: z.number().int().min(OLDEST_VERSION).max(PROTOCOL_VERSION) });
const goodbye = z.object({ reason: z.enum(GOODBYES) });

function encode(type: number, value: unknown): EncodedFrame {
  const body = Buffer.from(JSON.stringify(value));
  return new HeadWriter(body.length).bytes(body).seal(type);
}

function decode<T>(frame: Frame, schema: z.ZodType<T>): T {
  if (frame.head.length > MAX_HELLO_BYTES) throw new WireError('too-long', 'introduction');
  let value: unknown;
  try {
    value = JSON.parse(frame.head.toString('utf8'));
  } catch {
    throw new WireError('malformed', 'introduction is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new WireError('malformed', `introduction: ${parsed.error.issues[0]?.path.join('.')}`);
  return parsed.data;
}

/** `newestVersion`: that this node admits to. */
export function encodeHello(
  self: NodeId,
  to: NodeId,
  cluster: string,
  purpose: Purpose,
  newestVersion = PROTOCOL_VERSION,
): EncodedFrame {
  return encode(FRAME.hello, {
    protocol: PROTOCOL,
    oldestVersion: OLDEST_VERSION,
    newestVersion,
    node: self,
    to,
    cluster,
    purpose,
  });
}

/** Errors: WireError if the frame is no hello or a malformed one. */
export function decodeHello(frame: Frame): Hello {
  if (frame.type !== FRAME.hello) throw new WireError('unexpected', `frame type ${frame.type} before hello`);
  return decode(frame, hello);
}

/** The version to speak, or undefined if there is none in common. */
export function commonVersion(hello: Hello, newestVersion = PROTOCOL_VERSION): number | undefined {
  const version = Math.min(hello.newestVersion, newestVersion);
  return version >= Math.max(hello.oldestVersion, OLDEST_VERSION) ? version : undefined;
}

export function encodeWelcome(version: number): EncodedFrame {
  return encode(FRAME.welcome, { version });
}

export function encodeGoodbye(reason: Goodbye): EncodedFrame {
  return encode(FRAME.goodbye, { reason });
}

/** The answer to a hello. Errors: WireError. */
export function decodeAnswer(frame: Frame): { version: number } | { goodbye: Goodbye } {
  if (frame.type === FRAME.welcome) return decode(frame, welcome);
  if (frame.type === FRAME.goodbye) return { goodbye: decode(frame, goodbye).reason };
  throw new WireError('unexpected', `frame type ${frame.type} in answer to hello`);
}
