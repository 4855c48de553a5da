/**
 * Gossip: who is alive, found out by the members themselves (SWIM: Das, Gupta, Motivala, DSN 2002) with Lifeguard's
 * refinements (Dadgar, Phillips, Currey, 2018), as HashiCorp's memberlist has them. A rumour changes nothing
 * durable: it makes others look.
 */

import type { NodeId } from '../types.js';

/** `left`: said goodbye. */
export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left';

/** What a member tells of itself and changes while it lives; for people, and for what may be a little late. */
export interface MemberState {
  /** The newest version of the replication protocol that it speaks. */
  readonly protocol: number;
  /** Of its disks, bytes. */
  readonly capacity: { readonly totalBytes: number; readonly availableBytes: number };
}

export interface MemberInfo {
  readonly node: NodeId;
  readonly name: string;
  /** host:port */
  readonly addresses: { readonly gossip: string; readonly io: string; readonly api: string };
  /** Absent until it has told. */
  readonly state?: MemberState;
}

export interface Member extends MemberInfo {
  /** Raised by the member itself only, to overrule what is said about it. */
  readonly incarnation: number;
  readonly status: MemberStatus;
}

/** What one node says about a member. */
export interface Update {
  readonly node: NodeId;
  readonly status: MemberStatus;
  readonly incarnation: number;
  /** Who says so; counts independent suspicions. */
  readonly by: NodeId;
  /** Always with `alive`. */
  readonly info?: MemberInfo;
}

interface FromNode {
  readonly from: NodeId;
  readonly updates: readonly Update[];
}

export type GossipMessage =
  /** Are you there? */
  | (FromNode & { readonly type: 'ping'; readonly number: number; readonly to: NodeId })
  | (FromNode & { readonly type: 'ack'; readonly number: number })
  /** Ask `target` for me. */
  | (FromNode & {
      readonly type: 'ping-request';
      readonly number: number;
      readonly target: NodeId;
      readonly address: string;
    })
  /** It did not answer me either; so at least I am there. */
  | (FromNode & { readonly type: 'nack'; readonly number: number })
  | (FromNode & { readonly type: 'rumours' })
  /** A part of all that the sender knows. `reply`: tell me what you know. */
  | (FromNode & { readonly type: 'state'; readonly reply: boolean });

export interface GossipSettings {
  /** One member is probed in each period. */
  readonly probeMs: number;
  /** A probe is answered directly within this time, or others are asked to try. */
  readonly probeTimeoutMs: number;
  /** How many others are asked. */
  readonly indirectProbes: number;
  /** Shortest suspicion = this × probeMs × max(1, log10 of the cluster's size). */
  readonly suspicionFactor: number;
  /** Longest suspicion, while nobody confirms it, in shortest ones. */
  readonly suspicionMaxFactor: number;
  /** An update is sent this × ⌈log10(size + 1)⌉ times. */
  readonly retransmitFactor: number;
  readonly rumourMs: number;
  /** To how many members rumours are sent at a time. */
  readonly rumourFanout: number;
  /** How often all that is known is exchanged with one other member. */
  readonly exchangeMs: number;
  /** How often somebody who is lost, or a seed, is tried; also how often a node that is alone tries to join. */
  readonly reconnectMs: number;
  /** The dead are remembered for so long. */
  readonly forgetMs: number;
  /** A timer that fires later than this shows that this process stood still. */
  readonly lagMs: number;
  /** The local health score is 0 (well) to this. Time-outs are multiplied by one more than the score. */
  readonly maxHealthScore: number;
  readonly maxMembers: number;
  /** Bytes of updates in one message. */
  readonly updateBytes: number;
}

export const DEFAULT_GOSSIP_SETTINGS: GossipSettings = {
  probeMs: 500,
  probeTimeoutMs: 250,
  indirectProbes: 3,
  suspicionFactor: 4,
  suspicionMaxFactor: 6,
  retransmitFactor: 4,
  rumourMs: 100,
  rumourFanout: 3,
  exchangeMs: 15_000,
  reconnectMs: 1000,
  forgetMs: 24 * 3600 * 1000,
  lagMs: 100,
  maxHealthScore: 8,
  maxMembers: 1024,
  updateBytes: 1100,
};
